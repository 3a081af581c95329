"""What the releases of one host share: turns to load a worker, and to have one beside that of an earlier host."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.processes import Process
from serinus.targets.local.host.turns import Turns

_STARTS_ON_CALL = 4
"""Times the cores: how many releases may come up at a time, where callers wait for them."""


@dataclass(frozen=True)
class Places:
    """Those that somebody waits for are not held up by the others."""

    starts: Turns
    """To load a worker."""
    successions: Turns
    """To have a worker beside one of an earlier host, from the new one's start to the old one's end."""

    @classmethod
    def of(cls, limits: Limits) -> Places:
        starts = Turns(limits.cores, limits.cores * _STARTS_ON_CALL)
        return cls(starts, Turns(limits.succeeding, sys.maxsize))

    @asynccontextmanager
    async def start(self, listener: socket.socket, old: Process | None, urgent: bool) -> AsyncIterator[None]:
        """`urgent`: somebody waits for it; else it becomes so as soon as somebody waits at `listener` and `old`, the
        worker of an earlier host, has ended."""
        if urgent:
            async with self.starts.one(lambda: True):
                yield
            return
        missed = asyncio.create_task(self._until_missed(listener, old))
        try:
            async with self.starts.one(missed.done):
                missed.cancel()
                yield
        finally:
            missed.cancel()

    async def _until_missed(self, listener: socket.socket, old: Process | None) -> None:
        if old is not None:
            await asyncio.wait({old.exited})
        loop, called = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(listener.fileno(), called.set)
        try:
            await called.wait()
        finally:
            loop.remove_reader(listener.fileno())
        loop.call_soon(self.starts.look)


async def until_gone(old: Process, place: AsyncExitStack) -> None:
    """Keeps its place among the successions."""
    async with place:
        await asyncio.wait({old.exited})
