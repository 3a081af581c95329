"""How a worker gives its connections up to other workers while it serves, as the host asks it to by signals.

SIGUSR1: drain. The worker accepts no connection any more, says `connection: close` with each answer, and ends when
nobody is connected. It never closes first, so that no request meets a closed connection. A proxy closes those that it
does not use (Envoy by its idle timeout). SIGUSR2: another worker has come to help. Half of the connections are closed
with their next answer, so that they are spread anew.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from serinus_runtime.http.server import Server

_ACCEPTED = 0.05
"""Seconds that an accepted connection may take to be among the server's."""
_LOOK = 0.02
"""Seconds between two looks at who is still connected."""


class Draining:
    """Drains one server, in its event loop. `drained` is called once when nobody can reach it any more."""

    def __init__(self, server: Server, drained: Callable[[], None]) -> None:
        self._server = server
        self._drained = drained
        self._waiting: asyncio.Task[None] | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self._drain)
        loop.add_signal_handler(signal.SIGUSR2, self._rebalance)

    def stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def _rebalance(self) -> None:
        for connection in list(self._server.connections)[::2]:
            connection.leaving = True

    def _drain(self) -> None:
        if not self._server.draining:
            self._server.draining = True
            self._server.stop_accepting()
            self._waiting = asyncio.ensure_future(self._wait_until_alone())

    async def _wait_until_alone(self) -> None:
        await asyncio.sleep(_ACCEPTED)
        while self._server.connections:
            await asyncio.sleep(_LOOK)
        self._drained()
