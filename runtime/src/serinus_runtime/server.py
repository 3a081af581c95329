"""The listening side: one thread, one event loop, answers in the order of the requests.

A kept connection is never closed first while it serves: the proxy would meet a reset with a request already on its
way. It is closed after an answer that said `connection: close`, when it lies idle for hours, or when it is broken.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import traceback
from typing import Callable

from serinus_runtime.errors import ProtocolError
from serinus_runtime.http1 import Parser, Request

JSON = b"application/json"
_REASONS = {
    200: b"OK", 400: b"Bad Request", 404: b"Not Found", 405: b"Method Not Allowed", 408: b"Request Timeout",
    413: b"Content Too Large", 415: b"Unsupported Media Type", 417: b"Expectation Failed",
    431: b"Request Header Fields Too Large", 500: b"Internal Server Error", 501: b"Not Implemented",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
}  # fmt: skip
_STATUS_LINES = {status: b"HTTP/1.1 %d %s\r\n" % (status, reason) for status, reason in _REASONS.items()}

_BURST = 16
"""Pipelined requests that one connection is answered before the others have their turn."""
_BACKLOG = 4096
_MOST_PIPELINED = 1 << 18
"""Bytes of requests that wait their turn before no more of them are read."""


class Response:
    """`headers` are whole lines, each with its CR LF."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: bytes = b"", content_type: bytes = JSON) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.content_type = content_type

    def encode(self, close: bool, without_body: bool = False) -> bytes:
        return b"%scontent-type: %s\r\n%scontent-length: %d\r\n%s\r\n%s" % (
            _STATUS_LINES[self.status],
            self.content_type,
            self.headers,
            len(self.body),
            b"connection: close\r\n" if close else b"",
            b"" if without_body else self.body,
        )


Handler = Callable[[Request], Response]


class Server:
    """Answers on `listener` with `handler`, which must not raise."""

    def __init__(
        self, listener: socket.socket, handler: Handler, most_body: int, *, slow: float = 10.0, idle: float = 7200.0
    ) -> None:
        """`slow`: seconds that a request may take to arrive. `idle`: seconds that a connection may be silent; well
        above the proxy's own hour, so that the proxy closes first."""
        self.handler = handler
        self.most_body = most_body
        self.draining = False
        self._listener = listener
        self._slow = slow
        self._idle = idle
        self._server: asyncio.AbstractServer | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self.connections: set[Connection] = set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self, loop), sock=self._listener, backlog=_BACKLOG)
        self._sweep()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self.connections):
            if connection.waiting_since is not None and now - connection.waiting_since > self._slow:
                connection.refuse(ProtocolError("the request took too long to arrive", 408))
            elif connection.waiting_since is None and now - connection.last_used > self._idle:
                connection.close()
        self._sweeper = loop.call_later(min(1.0, self._slow / 4), self._sweep)

    async def drain(self, patience: float = 4.0, quiet: float = 1.0) -> None:
        """Answers what is there and what still comes in, each with `connection: close`; done when nobody is connected,
        when all have been silent for `quiet` seconds, or after `patience` seconds."""
        loop = asyncio.get_running_loop()
        self.draining = True
        began = loop.time()
        await asyncio.sleep(0.05)  # connections that wait in the listener's backlog come in
        while self.connections and loop.time() - began < patience:
            last = max(began, *(connection.last_used for connection in self.connections))
            if loop.time() - last > quiet:
                break
            await asyncio.sleep(0.02)
        if self._server is not None:
            self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.close()
        await asyncio.sleep(0)


class Connection(asyncio.Protocol):
    """One caller. `waiting_since`: when the first byte of a request that is not complete arrived, or None."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._parser = Parser(server.most_body)
        self._transport: asyncio.Transport | None = None
        self._blocked = False
        """The caller does not read its answers."""
        self._reading = True
        self._scheduled = False
        self._ended = False
        """The caller will send no more."""
        self.waiting_since: float | None = None
        self.last_used = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._transport = None
        self._server.connections.discard(self)

    def pause_writing(self) -> None:
        self._blocked = True
        self._read_on(False)

    def resume_writing(self) -> None:
        self._blocked = False
        self._read_on(True)
        if not self._scheduled:
            self._serve()

    def _read_on(self, wanted: bool) -> None:
        if self._transport is None or self._ended or wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self.last_used = self._loop.time()
        self._parser.feed(data)
        if not self._scheduled:
            self._serve()

    def eof_received(self) -> bool:
        """The caller may have closed its sending side only: it still gets its answers."""
        self._ended = True
        if not self._scheduled:
            self._serve()
        return True

    def close(self) -> None:
        """Sends what was answered, then closes."""
        if self._transport is not None:
            self._transport.close()

    def refuse(self, error: ProtocolError) -> None:
        self._send(error_response(error.status, str(error)), close=True)

    def _serve(self) -> None:
        self._scheduled = False
        for _ in range(_BURST):
            if self._blocked or self._transport is None or self._transport.is_closing():
                return
            try:
                request = self._parser.next_request()
            except ProtocolError as error:
                self.refuse(error)
                return
            if request is None:
                self._wait()
                return
            close = self._server.draining or not request.keep_alive
            self._send(self._answer(request), close, request.method == b"HEAD")
        self._scheduled = True
        if self._parser.buffered > _MOST_PIPELINED:
            self._read_on(False)
        self._loop.call_soon(self._serve)

    def _answer(self, request: Request) -> Response:
        try:
            return self._server.handler(request)
        except Exception:  # noqa: BLE001
            # The handler's own errors are bugs; the caller and its neighbours are not to suffer more than this answer.
            traceback.print_exc(file=sys.stderr)
            return error_response(500, "the worker failed on this request")

    def _wait(self) -> None:
        if self._ended:
            if self._parser.idle:
                self.close()
            else:
                self.refuse(ProtocolError("the connection ended in the middle of a request"))
            return
        self._read_on(True)
        if self._parser.idle:
            self.waiting_since = None
        elif self.waiting_since is None:
            self.waiting_since = self.last_used
        if self._parser.take_expectation() and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _send(self, response: Response, close: bool, without_body: bool = False) -> None:
        self.waiting_since = None
        if self._transport is None:
            return
        self._transport.write(response.encode(close, without_body))
        if close:
            self._transport.close()


def error_response(status: int, message: str, headers: bytes = b"") -> Response:
    """`{"error": message}`"""
    return Response(status, json.dumps({"error": message}).encode(), headers)
