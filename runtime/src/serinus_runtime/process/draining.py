"""What a worker and its host say to each other while it serves: how much it does, and when it may go.

On the report pipe, at most once a second and only where something has changed, cumulative since the start:

    {"state": "stats", "requests": answered, "waiting": read but not answered, "connections": open}

SIGUSR1: leave when nobody is connected. The worker accepts nobody any more, says `connection: close` with each answer,
and waits until its callers have gone: it never closes first, so that no request meets a closed connection. A proxy
closes those that it does not use (Envoy by its idle timeout). SIGUSR2: another worker has come to help; half of the
connections are closed with their next answer, so that they are spread anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from serinus_runtime.http.server import Server

_EVERY = 1.0
"""Seconds between two looks at what has changed."""
_ACCEPTED = 0.05
"""Seconds that an accepted connection may take to be among the server's."""
_LOOK = 0.02
"""Seconds between two looks at who is still connected."""


class Rest:
    """Of one server, in its event loop. `left` is called once when nobody can reach it any more."""

    def __init__(self, server: Server, report: int, left: Callable[[], None]) -> None:
        self._server = server
        self._report = report
        self._room = select.poll()  # a pipe that can be written to has room for a page, which is more than a line
        self._room.register(report, select.POLLOUT)
        self._left = left
        self._said = (0, 0, 0)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self._leave)
        loop.add_signal_handler(signal.SIGUSR2, self._shed)
        self._tasks.append(asyncio.ensure_future(self._tell()))

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _tell(self) -> None:
        await asyncio.sleep(_EVERY)
        while self._say():
            await asyncio.sleep(_EVERY)

    def _say(self) -> bool:
        """False: nobody listens any more."""
        server = self._server
        now = (server.answered, server.waiting, len(server.connections))
        if now == self._said:
            return True
        line = json.dumps({"state": "stats", **dict(zip(("requests", "waiting", "connections"), now))}) + "\n"
        if not self._room.poll(0):  # the host is busy; the next line says it all
            return True
        try:
            os.write(self._report, line.encode())
        except OSError:
            return False
        self._said = now
        return True

    def _shed(self) -> None:
        for connection in list(self._server.connections)[::2]:
            connection.leaving = True

    def _leave(self) -> None:
        if not self._server.draining:
            self._server.draining = True
            self._server.stop_accepting()
            self._tasks.append(asyncio.ensure_future(self._wait_until_alone()))

    async def _wait_until_alone(self) -> None:
        await asyncio.sleep(_ACCEPTED)
        while self._server.connections:
            await asyncio.sleep(_LOOK)
        self._left()
