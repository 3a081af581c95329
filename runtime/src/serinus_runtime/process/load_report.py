"""A worker's reports of its load, by which the host scales it.

They are sent on the socket to the host at most once a second, and only after a change (unless the worker must always
report). Numbers are cumulative since the start:

    {"state": "stats", "requests": answered, "waiting": read but not answered, "connections": open}
"""

from __future__ import annotations

import asyncio
import json
import os
import select
from typing import TYPE_CHECKING, Callable, NamedTuple

if TYPE_CHECKING:
    from serinus_runtime.http.server import Server

_EVERY = 1.0
"""Seconds between two checks for changes."""


class Load(NamedTuple):
    """The fields of a report."""

    requests: int = 0
    waiting: int = 0
    connections: int = 0


class LoadReports:
    """Reports the load of one server in its event loop. `always`: also without changes, and `unread` is called once
    nobody reads the reports."""

    def __init__(self, server: Server, descriptor: int, unread: Callable[[], None], *, always: bool = False) -> None:
        self._server = server
        self._unread = unread
        self._always = always
        self._descriptor = descriptor
        self._room = select.poll()  # A pipe that is writable has room for a page, which is more than a line.
        self._room.register(descriptor, select.POLLOUT)
        self._reported = Load()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts reporting."""
        self._task = asyncio.ensure_future(self._run())

    def stop(self) -> None:
        """Stops reporting."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        await asyncio.sleep(_EVERY)
        while self._report():
            await asyncio.sleep(_EVERY)
        if self._always:
            self._unread()

    def _report(self) -> bool:
        """Sends a report. Returns False where nobody reads any more."""
        server = self._server
        now = Load(server.answered, server.waiting, len(server.connections))
        if now == self._reported and not self._always:
            return True
        line = json.dumps({"state": "stats", **now._asdict()}) + "\n"
        if not self._room.poll(0):  # The host is busy. The next report includes everything.
            return True
        try:
            os.write(self._descriptor, line.encode())
        except OSError:
            return False
        self._reported = now
        return True
