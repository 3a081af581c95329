"""Certificates for tests, made when they are needed."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Identity:
    certificate: x509.Certificate
    key: Key
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        return b"".join(one.public_bytes(Encoding.PEM) for one in (self.certificate, *self.chain))

    @property
    def serial(self) -> int:
        return self.certificate.serial_number

    def key_pem(self, passphrase: bytes | None = None) -> bytes:
        how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)

    def written(self, directory: Path, name: str = "server") -> tuple[str, str]:
        """Paths of the certificate and of the key, 0600. Each is moved into place, as tools for renewal do."""
        paths = []
        for path, content in (
            (directory / f"{name}.pem", self.pem),
            (directory / f"{name}-key.pem", self.key_pem()),
        ):
            new = path.with_suffix(".part")
            new.touch(0o600)
            new.write_bytes(content)
            new.replace(path)
            paths.append(str(path))
        return paths[0], paths[1]


class Authority:
    """Signs certificates of servers and callers."""

    def __init__(self, name: str = "test authority") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._identity = Identity(_signed(name, key, name, key, authority=True), key)

    @property
    def pem(self) -> bytes:
        return self._identity.pem

    def written(self, path: Path) -> str:
        path.write_bytes(self.pem)
        return str(path)

    def issue(
        self,
        name: str = "serinus.test",
        *,
        key: Key | None = None,
        begins: timedelta = timedelta(minutes=-5),
        lasts: timedelta = timedelta(days=90),
    ) -> Identity:
        """For `name`, localhost and 127.0.0.1."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        issuer = self._identity
        issued = _signed(name, key, issuer.certificate.subject, issuer.key, begins=begins, lasts=lasts)
        return Identity(issued, key, (issuer.certificate,))


def shown_serial(port: int, trusting: ssl.SSLContext) -> int:
    """Of the certificate that a new connection to this machine is shown. Raises OSError."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
        trusting.wrap_socket(connection, server_hostname="localhost") as encrypted,
    ):
        shown = encrypted.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


def _signed(
    name: str,
    key: Key,
    issuer: str | x509.Name,
    issuers_key: Key,
    *,
    authority: bool = False,
    begins: timedelta = timedelta(minutes=-5),
    lasts: timedelta = timedelta(days=90),
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer if isinstance(issuer, x509.Name) else _name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + lasts)
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
    )
    if not authority:
        names = [x509.DNSName(name), x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuers_key, SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
