"""Reads Envoy's file of local replies into the log, exactly once, and rotates it when it has grown.

Every stretch becomes a frame that says how far it reaches, so the log itself holds the position. A rotated file is read
to its end. It is deleted once Envoy writes to a new one and the log has begun to read that.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Protocol

from serinus.predictions.segments.marks import RouterOffset

log = logging.getLogger(__name__)

TURN_OVER_BYTES = 16 * 1024 * 1024
_CHUNK = 1024 * 1024


class Keeper(Protocol):
    """Keeps what was read: `ReplyLog` where the collector runs beside Envoy, `Forwarder` elsewhere."""

    async def keep(self, upto: RouterOffset, lines: bytes) -> None:
        """Returns once `lines`, which end at `upto`, can no longer be lost."""
        ...


class RouterLog:
    """Reads the file. `admin` is Envoy's admin interface: `host:port`, a URL or the path of a Unix socket. None: no
    rotation."""

    def __init__(
        self,
        path: Path,
        offset: RouterOffset | None,
        keeper: Keeper,
        admin: str | None,
        turn_over_bytes: int = TURN_OVER_BYTES,
    ) -> None:
        self._path, self._old = path, path.with_name(path.name + ".1")
        self._at = offset
        self._keeper, self._admin, self._turn_over_bytes = keeper, admin, turn_over_bytes
        self.malformed = 0
        """The number of lines that were too long to be read."""
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
        await self._keeper.keep(upto, lines)
        self._at = upto

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
