"""A browser's session: a signed cookie that names a token, never the token itself.

It outlives a restart of the control process, ends with its token's revocation, and is of one home: cookies of
127.0.0.1 are shared by every port, so two homes on one machine must not share a name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from serinus.core.home import Home
from serinus.core.ports import Clock, Store
from serinus.core.values import Access, Actor

LASTS = timedelta(hours=12)


class Sessions:
    """Raises OSError where the home has no secret yet."""

    def __init__(self, home: Home, store: Store, clock: Clock) -> None:
        self._key = hmac.digest(home.secret.read_bytes().strip(), b"session", "sha256")
        self._store = store
        self._clock = clock
        self.cookie = f"serinus-{hashlib.sha256(str(home.path).encode()).hexdigest()[:8]}"

    def open(self, token: str) -> str | None:
        """The cookie's value; None: no such token."""
        actor = self._store.whose_token(token)
        row = self._valid(actor.name) if actor else None
        if actor is None or row is None:
            return None
        ends = (self._clock.now() + LASTS).timestamp()
        content = _encode(json.dumps([actor.name, str(row["issued_at"]), ends]).encode())
        return f"{content}.{self._sign(content)}"

    def whose(self, value: str) -> Actor | None:
        """None: forged, expired, or its token is revoked."""
        content, _, signature = value.partition(".")
        if not hmac.compare_digest(self._sign(content).encode(), signature.encode()):
            return None
        name, issued_at, ends = _decode(content)
        row = self._valid(name)
        if row is None or str(row["issued_at"]) != issued_at or self._clock.now().timestamp() >= ends:
            return None
        return Actor(name, Access(row["access"]), owner=row["owner"])

    def _valid(self, name: str) -> Any:
        rows = (row for row in self._store.tokens() if row["name"] == name and row["plane"] == "control")
        return next((row for row in rows if row["revoked_at"] is None), None)

    def _sign(self, content: str) -> str:
        return _encode(hmac.digest(self._key, content.encode(), "sha256"))


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _decode(content: str) -> Sequence[Any]:
    values: Sequence[Any] = json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))
    return values
