"""Group commit: records of several connections become durable with one fsync, and are acknowledged after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from serinus.predictions.segments.files import Position, SegmentWriter, encode

log = logging.getLogger(__name__)

GATHER = 0.1
"""Seconds that the first record of a group waits for others."""
_RETRY = 0.5
_MOST_PENDING = 64 * 1024 * 1024
_MOST_WRITERS = 10_000


class _Pending(NamedTuple):
    frame: bytes
    """Empty where the log has it already."""
    done: Callable[[], None]


class GroupCommit:
    """Writes records in groups. It runs on the event loop, except for the write, which has a thread of its own.

    On a full disk nothing is acknowledged, and nothing more is accepted once `_MOST_PENDING` bytes wait. Writing is
    tried again until it succeeds.
    """

    def __init__(
        self,
        writer: SegmentWriter,
        seqs: Mapping[tuple[str, str], int],
        now: Callable[[], float],
    ) -> None:
        self._writer, self._now = writer, now
        self._last = dict(seqs)
        self._pending: list[_Pending] = []
        self._bytes = 0
        self._wanted, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._lock = asyncio.Lock()
        self.durable: Position = writer.durable
        self.trouble = ""
        """Why nothing is being written, or empty if nothing is wrong."""

    @property
    def pending_bytes(self) -> int:
        """The number of bytes that wait."""
        return self._bytes

    async def offer(
        self,
        meta: Mapping[str, Any],
        body: bytes,
        done: Callable[[], None],
        *,
        writer: tuple[str, str] | None = None,
        seq: int = 0,
    ) -> bool:
        """Calls `done` once the record is durable. Returns whether it is new. Waits while too much is pending.

        `writer` numbers its records upwards. A record that it has offered before is not written again.
        """
        while not self._room.is_set():
            await self._room.wait()
        new = writer is None or seq > self._last.get(writer, -1)
        if writer is not None and new:
            self._remember(writer, seq)
        self._pending.append(_Pending(encode({"at": self._now(), **meta}, body) if new else b"", done))
        self._bytes += len(self._pending[-1].frame)
        if self._bytes > _MOST_PENDING:
            self._room.clear()
        self._wanted.set()
        return new

    async def run(self) -> None:
        """Writes records until it is cancelled."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(GATHER)
            await self.flush()

    async def flush(self) -> None:
        """Waits until all records that were offered are durable."""
        async with self._lock:
            group, self._pending = self._pending, []
            self._wanted.clear()
            frames = [pending.frame for pending in group if pending.frame]
            if frames:
                await self._write(frames)
            self._bytes -= sum(map(len, frames))
            self._room.set()
            for pending in group:
                pending.done()

    async def seal(self) -> None:
        """Has the next record begin a new segment."""
        async with self._lock:
            self._writer.seal()
            self.durable = self._writer.durable

    async def _write(self, frames: list[bytes]) -> None:
        while True:
            try:
                await asyncio.to_thread(self._writer.append, frames)
            except OSError as error:
                if not self.trouble:
                    log.error("the prediction log cannot be written: %s; trying again", error.strerror)
                self.trouble = f"cannot write: {error.strerror}"
                await asyncio.sleep(_RETRY)
            else:
                self.durable = self._writer.durable
                self.trouble = ""
                return

    def _remember(self, writer: tuple[str, str], seq: int) -> None:
        self._last.pop(writer, None)  # Recent writers are moved to the end.
        self._last[writer] = seq
        if len(self._last) > _MOST_WRITERS:
            del self._last[next(iter(self._last))]
