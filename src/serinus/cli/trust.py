"""TLS of the command line: the certificate authorities that it trusts, and its own certificate."""

from __future__ import annotations

import ssl
from pathlib import Path

from serinus.core.errors import InvalidInput


def trusting(authorities: Path | None) -> ssl.SSLContext:
    """Returns a TLS context that trusts the authorities in the file, or the system's. Raises InvalidInput."""
    try:
        return ssl.create_default_context(cafile=authorities)
    except OSError as error:  # ssl.SSLError is a subclass of OSError.
        why = error.strerror if not isinstance(error, ssl.SSLError) else "it contains no certificate in PEM"
        raise InvalidInput(
            f"--ca {authorities} cannot be read: {why}", hint="Name a file with certificates in PEM."
        ) from error


def present(context: ssl.SSLContext, certificate: str | None, key: str | None) -> ssl.SSLContext:
    """Adds the caller's own certificate to `context`, if there is one. Raises InvalidInput."""
    if certificate is None:
        return context
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise InvalidInput(
            "SERINUS_CLIENT_CERT and SERINUS_CLIENT_KEY do not name a certificate and its key",
            hint="Both must be PEM files, and the key must not be encrypted.",
        ) from error
    return context


def refusal(error: BaseException) -> str:
    """Returns why a TLS connection failed, in words. Empty: the reason was another one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({seen.verify_message})"
        if isinstance(seen, ssl.SSLError) and seen.reason and "CERTIFICATE_REQUIRED" in seen.reason:
            return "it requires a certificate of its callers"
        if isinstance(seen, ssl.SSLError) and seen.reason:
            return f"TLS failed ({seen.reason.lower().replace('_', ' ')})"
        seen = seen.__cause__ or seen.__context__
    return ""
