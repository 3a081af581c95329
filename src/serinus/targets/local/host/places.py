"""Queues that the releases of one host share: for loading a worker, and for running one beside that of an earlier
host."""

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
"""The number of releases, in multiples of the cores, that may be starting at a time where callers wait for them."""


@dataclass(frozen=True)
class Places:
    """The queues. Releases for which somebody waits are not delayed by others."""

    starts: Turns
    """For loading a worker."""
    successions: Turns
    """For a worker beside one of an earlier host, from the start of the new one to the end of the old one."""

    @classmethod
    def of(cls, limits: Limits) -> Places:
        """Returns queues with these limits."""
        starts = Turns(limits.cores, limits.cores * _STARTS_ON_CALL)
        return cls(starts, Turns(limits.succeeding, sys.maxsize))

    @asynccontextmanager
    async def start(self, listener: socket.socket, old: Process | None, urgent: bool) -> AsyncIterator[None]:
        """Waits for a place. `urgent`: somebody waits for the release. Otherwise it becomes urgent as soon as a caller
        waits at `listener` and `old`, the worker of an earlier host, has ended."""
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
    """Keeps the place among the successions until `old` has ended."""
    async with place:
        await asyncio.wait({old.exited})
