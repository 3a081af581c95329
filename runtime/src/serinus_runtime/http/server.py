"""The listening side: one thread, one event loop.

Requests are answered as they are read. Where answers take long, connections with a request wait in a queue instead, and
what arrives meanwhile is read between two answers: so it is known how many wait, and all have their turn.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from typing import Callable, Optional, Union

from serinus_runtime.base.messages import Pending, Request, Response, error_response
from serinus_runtime.http.connection import Connection

__all__ = ["Handler", "Pending", "Response", "Server", "error_response"]

_BACKLOG = 4096
_SLOW = 3e-4
"""Seconds that an answer takes on the average from which on connections wait in the queue."""
_SLICE = 1e-3
"""Seconds of answers before what has arrived meanwhile is read."""

_LINGER = 5.0
"""Seconds for which what a refused caller still sends is read and thrown away."""

Handler = Callable[[Request], Union[Response, Pending]]
Refuse = Callable[[Request, int, float], Optional[Response]]


def _never(request: Request, waiting: int, each: float) -> None:  # noqa: ARG001
    return None


class Server:
    """Answers on `listener` with `handler`, which must not raise.

    `answered`: requests so far. `service_seconds`: what one takes, a running mean. `pending`: answers that come later.
    """

    def __init__(
        self,
        listener: socket.socket,
        handler: Handler,
        most_body: int,
        *,
        refuse: Refuse = _never,
        slow: float = 10.0,
        idle: float = 7200.0,
    ) -> None:
        """`refuse`: asked about a request that would have to wait for its turn, with how many are before it and what
        each of them takes: its answer if it is not to wait. Must not raise either. `slow`: seconds that a request may
        take to arrive. `idle`: seconds that a connection may be silent; well above the proxy's own hour, so that the
        proxy closes first."""
        self.handler = handler
        self.refuse = refuse
        self.most_body = most_body
        self.draining = False
        self.answered = 0
        self.pending = 0
        self.service_seconds = 0.0
        self.connections: set[Connection] = set()
        self._listener = listener
        self._slow = slow
        self._idle = idle
        self._server: asyncio.AbstractServer | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._queue: deque[Connection] = deque()
        self._serving = False

    @property
    def waiting(self) -> int:
        """Requests that are read and not answered, one for each connection."""
        return len(self._queue) + self.pending

    @property
    def queueing(self) -> bool:
        """Answers take so long that connections are to wait for their turn."""
        return self.service_seconds > _SLOW or self._serving

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        # uvloop keeps Unix and TCP sockets apart; asyncio's own way for Unix sockets would remove the file at the end.
        unix = self._listener.family == socket.AF_UNIX and not isinstance(loop, asyncio.SelectorEventLoop)
        create = loop.create_unix_server if unix else loop.create_server
        self._server = await create(lambda: Connection(self, loop), sock=self._listener, backlog=_BACKLOG)
        self._sweep()

    def stop_accepting(self) -> None:
        """Closes this process's descriptor of the listening socket. Connections live on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def enqueue(self, connection: Connection) -> None:
        """`connection.serve` is called in its turn."""
        self._queue.append(connection)
        if not self._serving:
            self._serving = True
            asyncio.get_running_loop().call_soon(self._serve_queue)

    def _serve_queue(self) -> None:
        end = time.perf_counter() + _SLICE
        try:
            while self._queue and time.perf_counter() < end:
                self._queue.popleft().serve()
        finally:
            self._serving = bool(self._queue)
            if self._serving:
                asyncio.get_running_loop().call_soon(self._serve_queue)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self.connections):
            if connection.refused_at is not None:
                if now - connection.refused_at > _LINGER:
                    connection.close()
            elif connection.waiting_since is not None and now - connection.waiting_since > self._slow:
                connection.give_up()
            elif connection.silent and now - connection.last_used > self._idle:
                connection.close()
        self._sweeper = loop.call_later(min(1.0, self._slow / 4), self._sweep)

    async def drain(self, patience: float = 4.0, quiet: float = 1.0) -> None:
        """Answers what is there and what still comes in, each with `connection: close`; done when nobody is connected,
        when all have been silent for `quiet` seconds, or after `patience` seconds."""
        loop = asyncio.get_running_loop()
        self.draining = True
        began = loop.time()
        if self._server is not None:
            await asyncio.sleep(0.05)  # connections that wait in the listener's backlog come in
        while self.connections and loop.time() - began < patience:
            last = max(began, *(connection.last_used for connection in self.connections))
            if loop.time() - last > quiet and not self.waiting:
                break
            await asyncio.sleep(0.02)
        self.stop_accepting()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.close()
        await asyncio.sleep(0)
