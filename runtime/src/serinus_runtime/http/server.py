"""The listening side: one thread with one event loop.

Requests are answered as they are read. Where responses take long, connections with a request wait in a queue instead,
and new bytes are read between two responses. So the number of waiting requests is known, and each has its turn.
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
"""The mean duration of a response, in seconds, from which on connections are queued."""
_SLICE = 1e-3
"""Seconds of responses before new bytes are read."""

_LINGER = 5.0
"""Seconds for which bytes of a refused caller are read and discarded."""

Handler = Callable[[Request], Union[Response, Pending]]
Refuse = Callable[[Request, int, float], Optional[Response]]


def _never(request: Request, waiting: int, each: float) -> None:  # noqa: ARG001
    return None


class Server:
    """Answers requests on `listener` by `handler`, which must not raise.

    `answered` is the number of requests so far, `service_seconds` the running mean of their durations, and `pending`
    the number of responses that come later.
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
        """`refuse` is called for a request that must wait, with the number of requests before it and their mean
        duration. It returns a response if the request must not wait, and must not raise. `slow` is the time in seconds
        in which a request must arrive. `idle` is the idle timeout in seconds, well above the proxy's one hour, so that
        the proxy closes first."""
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
        """The number of requests that are read and not answered, at most one for each connection."""
        return len(self._queue) + self.pending

    @property
    def queueing(self) -> bool:
        """Whether responses take so long that connections are queued."""
        return self.service_seconds > _SLOW or self._serving

    async def start(self) -> None:
        """Starts listening."""
        loop = asyncio.get_running_loop()
        # uvloop distinguishes Unix and TCP sockets. asyncio's function for Unix sockets would remove the file at the
        # end.
        unix = self._listener.family == socket.AF_UNIX and not isinstance(loop, asyncio.SelectorEventLoop)
        create = loop.create_unix_server if unix else loop.create_server
        self._server = await create(lambda: Connection(self, loop), sock=self._listener, backlog=_BACKLOG)
        self._sweep()

    def stop_accepting(self) -> None:
        """Closes this process's descriptor of the listening socket. Connections stay open."""
        server, self._server = self._server, None
        if server is None:
            return
        loop = asyncio.get_running_loop()
        if isinstance(loop, asyncio.SelectorEventLoop):
            # asyncio makes a connection in the step after it has accepted it, and loses it if the server is closed by
            # then. uvloop makes it at once.
            loop.remove_reader(self._listener.fileno())
            loop.call_soon(server.close)
        else:
            server.close()

    def enqueue(self, connection: Connection) -> None:
        """Queues a connection, whose `serve` is called when it is its turn."""
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
        """Answers all requests, each with `connection: close`. Returns when there are no connections, when all were
        silent for `quiet` seconds, or after `patience` seconds."""
        loop = asyncio.get_running_loop()
        self.draining = True
        began = loop.time()
        if self._server is not None:
            await asyncio.sleep(0.05)  # Connections in the backlog of the listener are accepted.
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
