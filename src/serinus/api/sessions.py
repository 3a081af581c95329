"""Sessions of browsers: a signed cookie that names a token and does not contain it.

A session survives a restart of the control process, and ends when its token is revoked. It belongs to one home.
Browsers share the cookies of 127.0.0.1 among all ports, so two homes on one machine must not use the same name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from serinus.core.home import Home
from serinus.core.keys import session_key
from serinus.core.people import Access, Actor
from serinus.core.ports import Clock, Tokens

LASTS = timedelta(hours=12)
LINK_LASTS = timedelta(hours=1)
LINKS = 100
"""The number of links that may wait to be used. The oldest are dropped."""


class Sessions:
    """Signs and checks cookies. Raises OSError where the home has no secret yet."""

    def __init__(self, home: Home, tokens: Tokens, clock: Clock) -> None:
        self._key = session_key(home.secret.read_text())
        self._tokens = tokens
        self._clock = clock
        self._links: dict[str, tuple[str, str, datetime]] = {}
        """Digest of a link's code -> its token's name, when the token was issued, and when the link expires."""
        self._lock = threading.Lock()
        self.cookie = f"serinus-{hashlib.sha256(str(home.path).encode()).hexdigest()[:8]}"

    def open(self, token: str) -> str | None:
        """Returns the value of a cookie. None: there is no such token."""
        actor = self._tokens.whose_token(token)
        row = self._valid(actor.name) if actor else None
        return self._cookie(actor.name, str(row["issued_at"])) if actor and row else None

    def link(self, actor: Actor) -> str | None:
        """Returns a code that opens one session of the actor's token, once and within an hour. None: the token was
        revoked."""
        row = self._valid(actor.name)
        if row is None:
            return None
        code, now = secrets.token_urlsafe(32), self._clock.now()
        with self._lock:
            waiting = [item for item in self._links.items() if item[1][2] > now]
            self._links = dict(waiting[-LINKS + 1 :])
            self._links[_digest(code)] = (actor.name, str(row["issued_at"]), now + LINK_LASTS)
        return code

    def follow(self, code: str) -> str | None:
        """Returns the value of a cookie. None: the code is unknown, used or expired, or its token is revoked."""
        with self._lock:
            name, issued_at, ends = self._links.pop(_digest(code), ("", "", self._clock.now()))
        row = self._valid(name) if self._clock.now() < ends else None
        return self._cookie(name, issued_at) if row and str(row["issued_at"]) == issued_at else None

    def _cookie(self, name: str, issued_at: str) -> str:
        ends = (self._clock.now() + LASTS).timestamp()
        content = _encode(json.dumps([name, issued_at, ends]).encode())
        return f"{content}.{self._sign(content)}"

    def whose(self, value: str) -> Actor | None:
        """Returns the actor of a session. None: the session is forged or expired, or its token is revoked."""
        content, _, signature = value.partition(".")
        if not hmac.compare_digest(self._sign(content).encode(), signature.encode()):
            return None
        name, issued_at, ends = _decode(content)
        row = self._valid(name)
        if row is None or str(row["issued_at"]) != issued_at or self._clock.now().timestamp() >= ends:
            return None
        return Actor(name, Access(row["access"]), owner=row["owner"])

    def _valid(self, name: str) -> Any:
        return self._tokens.token(name)

    def _sign(self, content: str) -> str:
        return _encode(hmac.digest(self._key, content.encode(), "sha256"))


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _decode(content: str) -> Sequence[Any]:
    values: Sequence[Any] = json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))
    return values
