"""Gives up connections of a worker while it serves, at signals of the host.

SIGUSR1: drain. The worker accepts no more connections, sends `connection: close` with each response, and ends when
nobody is connected. It does not close connections first, so that no request meets a closed one. A proxy closes unused
connections (Envoy by its idle timeout). SIGUSR2: another worker was started. Half of the connections are closed with
their next response, so that they are distributed again.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from serinus_runtime.http.server import Server

_ACCEPTED = 0.05
"""Seconds until an accepted connection is among the server's."""
_LOOK = 0.02
"""Seconds between two checks of the connections."""


class Draining:
    """Drains a server in its event loop. `drained` is called once when nobody can reach it any more."""

    def __init__(self, server: Server, drained: Callable[[], None]) -> None:
        self._server = server
        self._drained = drained
        self._waiting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Handles the signals."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self._drain)
        loop.add_signal_handler(signal.SIGUSR2, self._rebalance)

    def stop(self) -> None:
        """Stops handling the signals."""
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
