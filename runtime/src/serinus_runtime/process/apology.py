"""Answers callers in the place of a worker that does not come up: better a 503 at once than a wait for nothing."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

_PATIENCE = 1.0
"""Seconds for the caller to send its request, and to read the answer."""
_MOST = 1 << 16
"""Bytes of a request that are read before it is answered."""
_AT_ONCE = 256
"""Callers that are answered at a time."""


class Apology:
    """While it is on, whoever connects to `listener` gets a 503 with Retry-After."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._seconds = 1
        self._callers: set[asyncio.Task[None]] = set()
        self._on = False

    def begin(self, seconds: float) -> None:
        """`seconds` until it is worth to try again."""
        self._seconds = max(1, round(seconds))
        self._on = True
        self._listen()

    def end(self) -> None:
        """From now on callers wait; those that have been accepted still get their answer."""
        if self._on:
            self._on = False
            asyncio.get_running_loop().remove_reader(self._listener.fileno())

    def _listen(self) -> None:
        if self._on:
            asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        if len(self._callers) >= _AT_ONCE:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            return
        try:
            caller, _ = self._listener.accept()
        except OSError:  # gone again, or no descriptor is left: the next look tells
            return
        task = asyncio.ensure_future(self._answer(caller))
        self._callers.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._callers.discard(task)
        self._listen()

    async def _answer(self, caller: socket.socket) -> None:
        caller.setblocking(False)
        with caller, suppress(asyncio.TimeoutError, OSError):
            await asyncio.wait_for(self._exchange(caller), _PATIENCE)

    async def _exchange(self, caller: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_recv(caller, _MOST)
        await loop.sock_sendall(caller, self._said())
        caller.shutdown(socket.SHUT_WR)
        # Closed with something unread, the caller would find a broken connection in place of the answer.
        while await loop.sock_recv(caller, _MOST):
            pass

    def _said(self) -> bytes:
        body = b'{"error":"the release does not come up; see its status"}'
        return (
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: %d\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (self._seconds, len(body), body)
        )
