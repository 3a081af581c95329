"""TLS at the gateway: the files of a mounted Secret, which the kubelet replaces when it is renewed.

Named as in Secrets of the type kubernetes.io/tls: `tls.crt`, `tls.key`, and `ca.crt` where callers need certificates.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from serinus.backends.envoy import Certificates, publish
from serinus.core.errors import InvalidInput
from serinus.core.home import Home

log = logging.getLogger(__name__)

SECONDS = 5.0
"""Between two looks at the files."""
_PEM = "Put them as PEM into the Secret that the gateway names."


def read(directory: Path, *, callers: bool) -> Certificates:
    """`callers`: they need certificates. Raises InvalidInput: which file, and what is wrong with it."""
    chain, key = directory / "tls.crt", directory / "tls.key"
    authorities = directory / "ca.crt" if callers else None
    texts = [_text(path) for path in (chain, key, *([authorities] if authorities else []))]
    try:
        # OpenSSL reads both, and says whether they are a pair.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        raise InvalidInput(f"{chain.name} and {key.name} are no certificate with its key.", hint=_PEM) from error
    if authorities is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(authorities)
        except ssl.SSLError as error:
            raise InvalidInput(f"{authorities.name} contains no certificate.", hint=_PEM) from error
    return Certificates(texts[0], texts[1], texts[2] if authorities else None)


class Renewal:
    """Has Envoy serve by the files as they are; connections that are open go on by those before."""

    def __init__(self, home: Home, directory: Path, *, callers: bool) -> None:
        self._home = home
        self._directory, self._callers = directory, callers
        self._served: Certificates | None = None
        self.trouble = ""
        """Why the files are not served; empty: they are."""

    def look(self) -> None:
        """What is wrong with the files is told by `trouble`, and what was served before goes on being served."""
        try:
            found = read(self._directory, callers=self._callers)
            if found != self._served:
                publish(self._home, found)
                if self._served is not None:
                    log.info("the TLS certificate is renewed")
                self._served = found
        except (InvalidInput, OSError) as error:
            said = error.message if isinstance(error, InvalidInput) else f"{error.filename}: {error.strerror}"
            if said != self.trouble:
                log.warning("the TLS certificate cannot be served: %s", said)
            self.trouble = said
        else:
            self.trouble = ""

    @property
    def served(self) -> Certificates | None:
        return self._served


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise InvalidInput(f"There is no {path.name}.", hint=_PEM) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path.name} is no PEM.", hint=_PEM) from error
