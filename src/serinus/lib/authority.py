"""A certificate for one server, signed by a private authority that is made for it and then forgotten.

The library `cryptography` is only imported where a certificate is made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

LASTS = timedelta(days=3650)
_EARLIER = timedelta(hours=1)
"""The certificates are valid from a little before, because clocks of other machines differ."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Certificates and a private key in PEM."""

    authority: bytes
    """The certificate of the authority. Its private key is kept nowhere, so that nothing else is ever signed by it."""
    certificate: bytes
    key: bytes = field(repr=False)


def issue(name: str, now: datetime) -> Identity:
    """Returns a certificate for a server called `name`, valid for ten years from `now` on."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])

    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = named(f"authority of {name}")

    def begun(subject: x509.Name, public: Any, *, authority: bool) -> x509.CertificateBuilder:
        identifier = x509.SubjectKeyIdentifier.from_public_key
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _EARLIER)
            .not_valid_after(now + LASTS)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
            .add_extension(_usage(x509, authority=authority), critical=True)
            .add_extension(identifier(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )

    root = begun(authority_name, authority_key.public_key(), authority=True).sign(authority_key, SHA256())
    server = (
        begun(named(name), key.public_key(), authority=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority_key, SHA256())
    )
    return Identity(
        root.public_bytes(Encoding.PEM),
        server.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _usage(x509: Any, *, authority: bool) -> Any:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
