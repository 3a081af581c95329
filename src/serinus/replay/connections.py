"""Persistent connections with one request at a time on each, without a task or coroutine for each request."""

from __future__ import annotations

import asyncio
import ssl
from typing import NamedTuple, Protocol, cast

from serinus.lib.backoff import Backoff
from serinus.replay.answers import Answer, Malformed, parse

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
IDLE = 3.0
"""Seconds for which a connection may be free before it is replaced. Servers wait longer, so that a request does not
meet the closing of its connection: Envoy waits 5 s for the first request on it here, and 120 s for each later one."""


class Sent(NamedTuple):
    """A request in flight."""

    due: float
    at: float
    """When it was due and when it was written, in the event loop's time."""
    id: str
    label: float | None


class Owner(Protocol):
    """Receives the results of requests."""

    def answered(self, connection: Connection, sent: Sent, answer: Answer) -> None:
        """The request was answered."""

    def failed(self, sent: Sent, kind: str) -> None:
        """The request failed."""

    def opened(self, connection: Connection) -> None:
        """The connection was opened."""

    def lost(self, connection: Connection) -> None:
        """The connection was lost."""

    def refused(self) -> None:
        """No connection could be opened."""


class Connection(asyncio.Protocol):
    """A connection that reconnects with growing pauses whenever it is lost, until it is closed.

    It is replaced when it was free for `idle` seconds.
    """

    def __init__(
        self, owner: Owner, host: str, port: int, context: ssl.SSLContext | None = None, *, idle: float = IDLE
    ) -> None:
        self._owner, self._host, self._port, self._context = owner, host, port, context
        self._idle = idle
        self._until: asyncio.TimerHandle | None = None
        self._usable = False
        """Whether the owner may send a request on it."""
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._keeper: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self.sent: Sent | None = None
        self.free_since = 0.0

    def start(self) -> None:
        """Opens the connection."""
        self._keeper = asyncio.get_running_loop().create_task(self._keep_open())

    async def _keep_open(self) -> None:
        loop, backoff = asyncio.get_running_loop(), Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            self._lost.clear()
            try:
                await loop.create_connection(lambda: self, self._host, self._port, ssl=self._context)
            except OSError:
                self._owner.refused()
            else:
                backoff.reset()
                await self._lost.wait()
            await asyncio.sleep(backoff.pause())

    def send(self, request: bytes, sent: Sent) -> None:
        """Sends a request. The connection must be free."""
        assert self._transport is not None
        self.sent = sent
        self._rest()
        self._transport.write(request)

    def give_up(self, kind: str) -> None:
        """Ends the request in flight, and the connection with it."""
        sent, self.sent = self.sent, None
        if sent is not None:
            self._owner.failed(sent, kind)
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Closes the connection."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of other event loops have a different class.
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""
        self.free_since = asyncio.get_running_loop().time()
        self._usable = True
        self._wait()
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        self._buffer = data = self._buffer + data if self._buffer else data
        try:
            answer = parse(data)
        except Malformed:
            return self.give_up("malformed")
        if answer is None:
            return None
        if self.sent is None or len(data) > answer.size:  # The server has sent more than one response.
            return self.give_up("malformed")
        sent, self.sent, self._buffer = self.sent, None, b""
        if answer.close and self._transport is not None:
            self._transport.close()
        else:
            self._wait()
        self._owner.answered(self, sent, answer)
        return None

    def eof_received(self) -> None:
        """The server closes the connection. asyncio calls `connection_lost` later, and a request must not be sent until
        then."""
        if self.sent is None:
            self._leave()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - any loss is a reset
        self._transport = None
        sent, self.sent = self.sent, None
        self._rest()
        if sent is not None:
            self._owner.failed(sent, "reset")
        self._leave()
        self._lost.set()

    # --- while it is free ---------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Starts the time for which the connection may be free."""
        self._rest()
        self._until = asyncio.get_running_loop().call_later(self._idle, self._replace)

    def _rest(self) -> None:
        if self._until is not None:
            self._until.cancel()
            self._until = None

    def _replace(self) -> None:
        self._leave()
        if self._transport is not None:
            self._transport.close()

    def _leave(self) -> None:
        """Tells the owner once that no request can be sent on the connection."""
        if self._usable:
            self._usable = False
            self._owner.lost(self)
