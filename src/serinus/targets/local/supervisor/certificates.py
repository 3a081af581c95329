"""Reads the operator's certificate files, and reports in a sentence what is wrong with them."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from serinus_runtime.isolation.confine import own_directories

from serinus.core.errors import InvalidInput, Refused
from serinus.targets.local.supervisor.tls import Files, Material

EXPIRES_SOON = timedelta(days=14)
_LARGEST = 1 << 20
_LEAST_RSA_BITS = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_READ_BY_MODELS = ("/usr", "/lib", "/lib64", "/bin")
"""System directories that a confined model may read, including their contents."""
_TLS = "Give --tls-cert FILE and --tls-key FILE as PEM."


def read(files: Files, now: datetime) -> Material:
    """Returns the certificates. Raises InvalidInput where a file is malformed, and Refused where its mode or directory
    exposes the key."""
    chain = _certificates("--tls-cert", files.cert)
    for certificate in chain:
        _check_time("--tls-cert", files.cert, certificate, now)
    key = _key(files.key)
    _check_pair(files, chain[0], key)
    authorities = None
    if files.client_ca is not None:
        found = _certificates("--client-ca", files.client_ca)
        for certificate in found:
            _check_time("--client-ca", files.client_ca, certificate, now)
        authorities = _pem(found)
    return Material(_pem(chain), key, authorities)


def trouble(served: Material, now: datetime) -> str:
    """Returns what is wrong with the certificates in use, in words. Empty: nothing."""
    chain = x509.load_pem_x509_certificates(served.chain.encode())
    until = min(certificate.not_valid_after_utc for certificate in chain)
    day = f"{until:%Y-%m-%d %H:%M} UTC"
    if until <= now:
        return f"the TLS certificate expired on {day}: callers refuse to connect"
    return f"the TLS certificate expires on {day}" if until - now < EXPIRES_SOON else ""


def _certificates(option: str, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_content(option, path))
    except ValueError as error:
        raise InvalidInput(f"{option} {path} contains no certificate in PEM", hint=_TLS) from error


def _check_time(option: str, path: Path, certificate: x509.Certificate, now: datetime) -> None:
    if certificate.not_valid_after_utc <= now:
        when = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        raise InvalidInput(f"{option} {path} holds a certificate that expired on {when}", hint="Renew it.")
    if certificate.not_valid_before_utc > now:
        when = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise InvalidInput(f"{option} {path} holds a certificate that is not valid before {when}", hint=_CLOCK)


_CLOCK = "Check the clock of this machine."


def _key(path: Path) -> str:
    content = _content("--tls-key", path, secret=True)
    try:
        key = load_pem_private_key(content, None)
    except TypeError as error:
        raise InvalidInput(
            f"--tls-key {path} is encrypted, and a restart cannot ask for its passphrase",
            hint="Store it decrypted, readable by this user alone: `openssl pkey -in FILE -out NEW`.",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInput(f"--tls-key {path} contains no private key in PEM", hint=_TLS) from error
    strong = isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _LEAST_RSA_BITS
    if not (strong or (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES))):
        raise InvalidInput(
            f"--tls-key {path} is of a type that Envoy does not support",
            hint="Use RSA of at least 2048 bits, or ECDSA on P-256, P-384 or P-521.",
        )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def _check_pair(files: Files, leaf: x509.Certificate, key: str) -> None:
    of_key = load_pem_private_key(key.encode(), None).public_key()
    ours, said = (
        one.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for one in (of_key, leaf.public_key())
    )
    if ours != said:
        raise InvalidInput(
            f"--tls-key {files.key} is not the key of the first certificate in --tls-cert {files.cert}",
            hint="Put the server's own certificate first, followed by its chain.",
        )


def _content(option: str, path: Path, *, secret: bool = False) -> bytes:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InvalidInput(f"{option} {path} is not a file", hint=_TLS)
            if secret:
                _check_secret(path, found)
            content = file.read(_LARGEST + 1)
    except IsADirectoryError as error:
        raise InvalidInput(f"{option} {path} is not a file", hint=_TLS) from error
    except OSError as error:
        raise InvalidInput(f"{option} {path} cannot be read: {error.strerror}", hint=_TLS) from error
    if len(content) > _LARGEST or not content.isascii():
        raise InvalidInput(f"{option} {path} is not a PEM file", hint=_TLS)
    return content


def _check_secret(path: Path, found: os.stat_result) -> None:
    if found.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise Refused(
            f"--tls-key {path} may be used by other users: its mode is {stat.S_IMODE(found.st_mode):04o}",
            hint=f"`chmod 600 {path}`; mode 0640 is accepted, too, where a group may read it.",
        )
    real = path.resolve()
    open_to_models = (*map(Path, _READ_BY_MODELS), *own_directories())
    inside = next((one for one in open_to_models if real.is_relative_to(one.resolve())), None)
    if inside is not None:
        raise Refused(
            f"--tls-key {path} lies in {inside}, which models may read",
            hint="Keep it in another directory, such as /etc/serinus.",
        )


def _pem(certificates: Sequence[x509.Certificate]) -> str:
    return "".join(one.public_bytes(Encoding.PEM).decode("ascii") for one in certificates)
