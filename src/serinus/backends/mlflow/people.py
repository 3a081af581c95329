"""The clients of the bundled MLflow server: the home's own user by the password, others by their Serinus tokens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import httpx

from serinus.core.errors import Unavailable
from serinus.core.home import MLFLOW_USERNAME
from serinus.core.people import Access
from serinus.lib.plain_http import NO_TLS

_TOKEN = "srn_"
_KNOWN_FOR = 2.0
"""Seconds for which the answer about a token is cached. A revoked token is not accepted for longer."""
_MOST_KNOWN = 256
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Person:
    """A client."""

    name: str
    writes: bool
    """Whether the client may change anything."""
    owner: str = ""
    """The owner of the token. Empty for the password, which everybody has who may read the home's file."""


class People:
    """Authenticates clients. `password` is the home's, `api` the control process's Unix socket (None: tokens are not
    accepted), `host` the Host header of requests to it."""

    def __init__(self, password: str, api: Path | None = None, host: str = "127.0.0.1") -> None:
        self._password = password.encode()
        transport = httpx.AsyncHTTPTransport(uds=str(api), retries=1, verify=NO_TLS) if api else None
        self._api = httpx.AsyncClient(transport=transport, base_url=f"http://{host}", timeout=_PATIENCE, verify=NO_TLS)
        self._asks = api is not None
        self._known: dict[bytes, tuple[float, Person | None]] = {}

    async def who(self, authorizations: Iterable[bytes]) -> Person | None:
        """Returns the client by the values of the `Authorization` headers. None: unknown, or there is more than one
        header.

        Raises Unavailable where tokens cannot be checked.
        """
        sent = tuple(authorizations)
        if len(sent) != 1:
            return None
        scheme, _, credentials = sent[0].partition(b" ")
        match scheme.lower():
            case b"bearer":
                return await self._by_secret(credentials.strip(), MLFLOW_USERNAME)
            case b"basic":
                user, _, secret = _decoded(credentials).partition(b":")
                return await self._by_secret(secret, user.decode("latin-1"))
        return None

    async def _by_secret(self, secret: bytes, user: str) -> Person | None:
        """Returns the client of a token, whatever the user name that the browser sent with it."""
        if hmac.compare_digest(secret, self._password) and user == MLFLOW_USERNAME:
            return Person(MLFLOW_USERNAME, writes=True)
        if not self._asks or not secret.startswith(_TOKEN.encode()):
            return None
        key, now = hashlib.sha256(secret).digest(), time.monotonic()
        until, person = self._known.get(key, (0.0, None))
        if until <= now:
            person = await self._ask(secret)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = (now + _KNOWN_FOR, person)
        return person

    async def _ask(self, token: bytes) -> Person | None:
        try:
            answer = await self._api.get("/v1/me", headers={b"authorization": b"Bearer " + token})
            if answer.status_code in (401, 403):
                return None
            told = answer.raise_for_status().json()
            writes = Access(told["access"]) is not Access.VIEW
            return Person(str(told["name"]), writes, str(told["owner"]))
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise Unavailable(
                f"The control process does not answer whose token this is ({type(error).__name__}).",
                hint="`serinus status` shows whether it is running.",
            ) from None


def _decoded(basic: bytes) -> bytes:
    try:
        return base64.b64decode(basic.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
