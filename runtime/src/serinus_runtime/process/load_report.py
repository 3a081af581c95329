"""What a worker reports of its load while it serves: what the host scales it by.

On the socket to the host, at most once a second and only where something has changed (unless it is to report always),
cumulative since the start:

    {"state": "stats", "requests": answered, "waiting": read but not answered, "connections": open}
"""

from __future__ import annotations

import asyncio
import json
import os
import select
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from serinus_runtime.http.server import Server

_EVERY = 1.0
"""Seconds between two looks at what has changed."""


class Load(NamedTuple):
    """The fields of a report."""

    requests: int = 0
    waiting: int = 0
    connections: int = 0


class LoadReports:
    """Reports the load of one server, in its event loop. `always`: also where nothing has changed."""

    def __init__(self, server: Server, descriptor: int, *, always: bool = False) -> None:
        self._server = server
        self._always = always
        self._descriptor = descriptor
        self._room = select.poll()  # a pipe that can be written to has room for a page, which is more than a line
        self._room.register(descriptor, select.POLLOUT)
        self._reported = Load()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        await asyncio.sleep(_EVERY)
        while self._report():
            await asyncio.sleep(_EVERY)

    def _report(self) -> bool:
        """False: nobody listens any more."""
        server = self._server
        now = Load(server.answered, server.waiting, len(server.connections))
        if now == self._reported and not self._always:
            return True
        line = json.dumps({"state": "stats", **now._asdict()}) + "\n"
        if not self._room.poll(0):  # the host is busy; the next line says it all
            return True
        try:
            os.write(self._descriptor, line.encode())
        except OSError:
            return False
        self._reported = now
        return True
