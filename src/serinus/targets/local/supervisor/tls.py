"""The certificate that the API and Envoy serve: where the operator keeps it, and the last valid one, which the home
keeps. A file that is replaced only partly, or by a wrong one, changes nothing. `certificates` reads and checks the
files."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from serinus.core.errors import InvalidInput
from serinus.core.home import Home
from serinus.lib import files

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
_AGAIN = "`serinus down`, then `serinus up`."


@dataclass(frozen=True, slots=True)
class Files:
    """The paths of the operator's files."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def state(self) -> Sequence[tuple[int, ...] | None]:
        """It differs whenever a file was written or replaced."""
        return [_state(path) for path in (self.cert, self.key, self.client_ca) if path is not None]


@dataclass(frozen=True, slots=True)
class Material:
    """PEM texts that were checked, each by itself and all together."""

    chain: str
    key: str
    client_ca: str | None
    """A caller of a model must show a certificate of one of these authorities. None: callers need no certificate."""

    def __repr__(self) -> str:
        return "Material(...)"  # The key must not get into a log.


def keep(home: Home, material: Material) -> None:
    """Writes the material completely or not at all, and only if this machine's OpenSSL accepts it. Raises InvalidInput
    and OSError."""
    home.tls.mkdir(mode=0o700, exist_ok=True)
    _write(home.tls_server, material.key + material.chain, _loaded)
    if material.client_ca is None:
        home.tls_callers.unlink(missing_ok=True)
    else:
        _write(home.tls_callers, material.client_ca)


def kept(home: Home, *, with_callers: bool = False) -> Material:
    """Returns the material that `keep` was given last. Raises InvalidInput where there is none. `with_callers` requires
    an authority for callers, since without one no caller may be let in."""
    try:
        text = home.tls_server.read_text("ascii")
        authorities = home.tls_callers.read_text("ascii") if home.tls_callers.exists() else None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{home.tls_server} cannot be read", hint=_AGAIN) from error
    chain = _CERTIFICATE.findall(text)
    if not chain:
        raise InvalidInput(f"{home.tls_server} holds no certificate", hint=_AGAIN)
    if with_callers and not authorities:
        raise InvalidInput(f"{home.tls_callers} is gone", hint=_AGAIN)
    return Material("".join(chain), text[: text.index(chain[0])], authorities)


def forget(home: Home) -> None:
    """Removes the key from a home that does not use it."""
    for path in (home.tls_server, home.tls_callers):
        path.unlink(missing_ok=True)


class ServerContext:
    """The context of the API. `context` is for the server. `renew` has it answer new connections with what is kept
    now."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._now, self.context = self._made(), self._made()
        # If it were loaded into the same context, a key of another kind would be served beside the former one.
        self.context.sni_callback = self._choose

    def renew(self) -> None:
        """Loads the certificate that is kept now. Open connections are not affected."""
        self._now = self._made()

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._home.tls_server)
        return context

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._now


def own_context(home: Home) -> ssl.SSLContext:
    """For this home's own clients. They accept only a server that has the key of the kept certificate, whatever its
    names are."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # The certificate itself is compared.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    [leaf, *_] = _CERTIFICATE.findall(kept(home).chain)
    context.load_verify_locations(cadata=leaf)
    return context


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode


def _loaded(path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
    except ssl.SSLError as error:
        raise InvalidInput("OpenSSL does not accept the certificate and its key", hint=str(error.reason)) from error


def _write(path: Path, text: str, check: Callable[[Path], None] = lambda _path: None) -> None:
    with files.replacing(path) as file:
        file.write(text.encode("ascii"))
        file.flush()
        check(Path(file.name))
