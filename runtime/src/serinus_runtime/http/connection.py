"""One caller's connection: requests in, responses out in the same order.

The server does not close it first while it serves, because the proxy could have sent a request already. It is closed
after a response with `connection: close`, when it was idle for hours, or when it is broken. It is not closed while
there are unread bytes, which would reset it and lose the response (see `refuse`).

It is in one of four states, by the request that is answered next:

    idle       it has not arrived, or only a part of it
    queued     it has arrived, and waits in the server's queue
    pending    its response comes later, with a batch; no other request is answered before
    refused    the last response was sent, and further bytes are discarded

Besides, reading stops while the caller does not read its responses, or has sent many requests ahead.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from time import perf_counter
from typing import TYPE_CHECKING

from serinus_runtime.base.errors import ProtocolError, RequestError
from serinus_runtime.base.messages import Pending, Request, Response, error_response
from serinus_runtime.http.http1 import Parser

if TYPE_CHECKING:
    from serinus_runtime.http.server import Server

_BURST = 16
"""The number of pipelined requests of one connection that are answered before it is the turn of others."""
_MOST_PIPELINED = 1 << 18
"""The number of bytes of waiting requests from which on no more are read."""
_MEMORY = 1 / 16
"""The weight of the last response in the mean duration."""


class Connection(asyncio.Protocol):
    """`waiting_since` is the time of the first byte of an incomplete request, or None. `leaving`: the next response is
    the last. `refused_at` is the time of the last response while the caller may still be sending, or None."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._parser = Parser(server.most_body)
        self._transport: asyncio.Transport | None = None
        self._queued = False
        """`serve` will be called."""
        self._first: Request | None = None
        """The request that is queued; where there is none, it is still in the parser."""
        self._pending: Request | None = None
        """The request whose answer comes later."""
        self._blocked = False
        """The caller does not read its answers."""
        self._reading = True
        self._half_closed = False
        """The caller will send no more."""
        self.leaving = False
        self.refused_at: float | None = None
        self.waiting_since: float | None = None
        self.last_used = loop.time()

    @property
    def silent(self) -> bool:
        """Whether everything that has arrived is answered."""
        return self.waiting_since is None and self._pending is None and not self._queued

    # --- what the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is of no class of asyncio's
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._transport = None
        self._server.connections.discard(self)

    def pause_writing(self) -> None:
        self._blocked = True
        self._set_reading(False)

    def resume_writing(self) -> None:
        self._blocked = False
        self._set_reading(True)
        self._proceed()

    def data_received(self, data: bytes) -> None:
        if self.refused_at is not None:
            return
        self.last_used = self._loop.time()
        self._parser.feed(data)
        self._proceed()

    def eof_received(self) -> bool:
        """Keeps the connection open, because the caller may have closed only its sending side."""
        if self.refused_at is not None:
            self.close()
        self._half_closed = True
        self._proceed()
        return True

    # --- from requests to answers

    def _proceed(self) -> None:
        """Answers complete requests, now or in turn."""
        if self.refused_at is not None:
            return
        if self._queued or self._pending is not None:
            if self._parser.buffered > _MOST_PIPELINED:
                self._set_reading(False)
        elif self._server.queueing:
            self._enter_queue()
        else:
            self.serve()

    def _enter_queue(self) -> None:
        """Queues the next request, unless that is refused at once."""
        server = self._server
        while True:
            request = self._next_request()
            if request is None:
                return
            refusal = server.refuse(request, server.waiting, server.service_seconds)
            if refusal is None:
                self._first, self._queued = request, True
                server.enqueue(self)
                return
            self._finish(refusal, request)

    def serve(self) -> None:
        """Answers up to `_BURST` requests, or one where connections are queued."""
        self._queued = False
        server, parser = self._server, self._parser
        for _ in range(_BURST):
            request = self._next_request()
            if request is None:
                return
            began = perf_counter()
            response = self._answer(request)
            server.service_seconds += (perf_counter() - began - server.service_seconds) * _MEMORY
            if isinstance(response, Pending):
                self._answer_later(response, request)
                return
            self._finish(response, request)
            if parser.idle and not self._half_closed:
                self._set_reading(True)
                return
            if server.queueing:
                break
        self._queued = True
        if parser.buffered > _MOST_PIPELINED:
            self._set_reading(False)
        server.enqueue(self)

    def _next_request(self) -> Request | None:
        """Returns the next complete request. None: there is none, it is malformed, or its response could not be sent
        now."""
        if self._blocked or self._transport is None or self._transport.is_closing():
            return None
        request, self._first = self._first, None
        if request is not None:
            return request
        try:
            request = self._parser.next_request()
        except ProtocolError as error:
            self.refuse(error)
            return None
        if request is None:
            self._wait_for_more()
        return request

    def _answer(self, request: Request) -> Response | Pending:
        try:
            return self._server.handler(request)
        except Exception:  # noqa: BLE001
            # Errors of the handler are defects. They must not affect more than this response.
            traceback.print_exc(file=sys.stderr)
            return error_response(500, "the worker failed on this request")

    def _answer_later(self, pending: Pending, request: Request) -> None:
        self._pending = request
        self.waiting_since = None
        self._server.pending += 1
        pending.then(self._complete)

    def _complete(self, response: Response) -> None:
        request, self._pending = self._pending, None
        self._server.pending -= 1
        if request is None or self._transport is None:
            return
        self._finish(response, request)
        # It is queued, because this may be one of many responses of a batch.
        self._queued = True
        self._server.enqueue(self)

    def _finish(self, response: Response, request: Request) -> None:
        self._server.answered += 1
        close = self._server.draining or self.leaving or not request.keep_alive
        self._send(response, close, request.method == b"HEAD")

    def _wait_for_more(self) -> None:
        if self._half_closed:
            if self._parser.idle:
                self.close()
            else:
                self.refuse(ProtocolError("the connection ended in the middle of a request"))
            return
        self._set_reading(True)
        if self._parser.idle:
            self.waiting_since = None
        elif self.waiting_since is None:
            self.waiting_since = self.last_used
        if self._parser.take_expectation() and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # --- its two directions, and its end

    def _set_reading(self, wanted: bool) -> None:
        if wanted == self._reading or self._transport is None or self._half_closed:
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _send(self, response: Response, close: bool, without_body: bool = False, reading: bool = False) -> None:
        """Sends a response. `reading`: only this side is closed, because the other one may still be sending."""
        self.waiting_since = None
        transport = self._transport
        if transport is None:
            return
        transport.write(response.encode(close, without_body))
        if close and reading:
            transport.write_eof()
            self._set_reading(True)
            self.refused_at = self._loop.time()
        elif close:
            transport.close()

    def refuse(self, error: ProtocolError | RequestError) -> None:
        """Sends the error, and reads no further request. Bytes are discarded until the caller closes its side, or the
        server closes the connection."""
        self._send(error_response(error.status, str(error)), close=True, reading=not self._half_closed)

    def give_up(self) -> None:
        """Ends the connection, because the request has not arrived in time."""
        self.refuse(self._parser.refusal or ProtocolError("the request took too long to arrive", 408))

    def close(self) -> None:
        """Sends what was answered, and closes the connection."""
        if self._transport is not None:
            self._transport.close()
