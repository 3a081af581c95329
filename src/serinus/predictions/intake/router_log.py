"""Reads Envoy's file of local replies into the log, exactly once, and rotates it when it has grown.

Every stretch becomes a frame that says how far it reaches, so the log itself holds the position. A rotated file is read
to its end. It is deleted once Envoy writes to a new one and the log has begun to read that.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from serinus.predictions.counts.ledger import RouterOffset
from serinus.predictions.segments.sources import router_meta, router_replies

log = logging.getLogger(__name__)

TURN_OVER_BYTES = 16 * 1024 * 1024
_CHUNK = 1024 * 1024


class Commit(Protocol):
    """Takes what was read: `GroupCommit` where the collector runs beside Envoy, `Forwarder` elsewhere."""

    async def offer(self, meta: Mapping[str, Any], body: bytes, done: Callable[[], None]) -> bool:
        """Calls `done` once `body` can no longer be lost."""
        ...


class RouterLog:
    """Reads the file. `admin` is Envoy's admin interface: `host:port`, a URL or the path of a Unix socket. None: no
    rotation."""

    def __init__(
        self,
        path: Path,
        offset: RouterOffset | None,
        commit: Commit,
        admin: str | None,
        turn_over_bytes: int = TURN_OVER_BYTES,
    ) -> None:
        self._path, self._old = path, path.with_name(path.name + ".1")
        self._at = offset
        self._commit, self._admin, self._turn_over_bytes = commit, admin, turn_over_bytes
        self.received = 0
        self.malformed = 0
        self.trouble = ""
        self._lock = asyncio.Lock()

    async def step(self) -> bool:
        """Reads the next stretch. Returns whether there was one, after it is durable."""
        async with self._lock:
            return await self._step()

    async def _step(self) -> bool:
        path = self._current()
        if path is None:
            return False
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            at = self._at
            if at is None or at.inode != state.st_ino or at.offset > state.st_size:
                at = RouterOffset(state.st_ino, 0)
            file.seek(at.offset)
            chunk = file.read(_CHUNK)
        lines = chunk[: chunk.rfind(b"\n") + 1]
        if lines:
            await self._take(lines, RouterOffset(at.inode, at.offset + len(lines)))
        elif len(chunk) == _CHUNK:  # No line of the access log is that long.
            self.malformed += 1
            await self._take(b"", RouterOffset(at.inode, at.offset + len(chunk)))
        elif path == self._old:
            await self._finish_old()
        elif at.offset >= self._turn_over_bytes and self._admin:
            self._path.rename(self._old)
            await self._ask_to_reopen(self._admin)
        return bool(lines)

    def _current(self) -> Path | None:
        """Returns the file to read: the rotated file until the log has begun to read the new one."""
        if self._old.exists():
            if self._path.exists() and self._at is not None and self._at.inode == self._path.stat().st_ino:
                self._old.unlink()
            else:
                return self._old
        return self._path if self._path.exists() else None

    async def _finish_old(self) -> None:
        if self._path.exists():  # Envoy closes the old file before it opens the new one.
            await self._take(b"", RouterOffset(self._path.stat().st_ino, 0))
        elif self._admin:
            await self._ask_to_reopen(self._admin)

    async def _take(self, lines: bytes, upto: RouterOffset) -> None:
        replies, malformed = router_replies(lines)
        durable = asyncio.Event()
        await self._commit.offer(router_meta(*upto), lines, durable.set)
        await durable.wait()
        self._at = upto
        self.received += len(replies)
        self.malformed += malformed

    async def _ask_to_reopen(self, admin: str) -> None:
        import httpx  # This module takes as long to import as all others together, and is rarely needed.

        uds = admin if admin.startswith("/") else None
        base = "http://envoy" if uds else admin if "://" in admin else f"http://{admin}"
        try:
            async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=uds), base_url=base) as client:
                (await client.post("/reopen_logs", timeout=2.0)).raise_for_status()
        except httpx.HTTPError as error:
            self.trouble = f"Envoy did not reopen its log of local replies: {type(error).__name__}"
            log.warning("%s; asking again", self.trouble)
        else:
            self.trouble = ""
