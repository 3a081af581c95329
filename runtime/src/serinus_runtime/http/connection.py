"""One caller's connection: requests in, answers out in their order.

It is never closed first while it serves: the proxy would meet a reset with a request already on its way. It is closed
after an answer that said `connection: close`, when it lies idle for hours, or when it is broken. Nor is it closed over
bytes that nobody has read, which would reset it, and lose the answer: see `refuse`.

It is in one of four states, by what has happened to the request that it is to answer next:

    idle       it has not arrived, or only a part of it
    queued     it has arrived, and waits for its turn in the server's queue
    pending    its answer comes later, with a batch; no other request is answered before
    refused    the last answer was sent: what still arrives is thrown away

Beside that, no more is read while the caller does not read its answers, or while it has sent far ahead.
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
"""Pipelined requests that one connection is answered before the others have their turn."""
_MOST_PIPELINED = 1 << 18
"""Bytes of requests that wait their turn before no more of them are read."""
_MEMORY = 1 / 16
"""Weight of the last answer in the mean of what one takes."""


class Connection(asyncio.Protocol):
    """`waiting_since`: when the first byte of a request that is not complete arrived, or None. `leaving`: the next
    answer is the last. `refused_at`: when the last answer was sent while the caller may still be sending, or None."""

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
        """Nothing has arrived that is not answered."""
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
        """The caller may have closed its sending side only: it still gets its answers."""
        if self.refused_at is not None:
            self.close()
        self._half_closed = True
        self._proceed()
        return True

    # --- from requests to answers

    def _proceed(self) -> None:
        """Answers what is complete, now or in turn."""
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
        """With the next request, unless that is refused at once."""
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
        """Answers up to `_BURST` requests; one, where all have to wait for their turn."""
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
        """The next request that has arrived; None: there is none, what comes is not one, or its answer could not be
        sent now."""
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
            # The handler's own errors are bugs; the caller and its neighbours are not to suffer more than this answer.
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
        # In turn, not at once: this may be one of many answers of a batch.
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
        """`reading`: only this side is closed, as the other may still be sending."""
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
        """Answers with the error, and reads no further request: what still arrives is thrown away until the caller
        closes its side, or the server the connection."""
        self._send(error_response(error.status, str(error)), close=True, reading=not self._half_closed)

    def give_up(self) -> None:
        """The request has not arrived in time."""
        self.refuse(self._parser.refusal or ProtocolError("the request took too long to arrive", 408))

    def close(self) -> None:
        """Sends what was answered, then closes."""
        if self._transport is not None:
            self._transport.close()
