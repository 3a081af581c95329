"""Answers callers in the place of a worker that cannot start: an immediate 503 is better than waiting in vain."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

_PATIENCE = 1.0
"""Seconds for the caller to send its request, and to read the answer."""
_MOST = 1 << 16
"""The number of bytes of a request that are read before it is answered."""
_AT_ONCE = 256
"""The number of callers that are answered at a time."""


class Apology:
    """While it is active, everybody who connects to `listener` gets a 503 with Retry-After."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._seconds = 1
        self._callers: set[asyncio.Task[None]] = set()
        self._on = False

    def begin(self, seconds: float) -> None:
        """Activates it. `seconds` is the value of Retry-After."""
        self._seconds = max(1, round(seconds))
        self._on = True
        self._listen()

    def end(self) -> None:
        """Ends it. New callers wait from then on, and those that were accepted still get their answer."""
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
        except OSError:  # The caller has gone, or there is no descriptor left. It is tried again.
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
        # If it were closed with unread bytes, the caller would see a broken connection instead of the answer.
        while await loop.sock_recv(caller, _MOST):
            pass

    def _said(self) -> bytes:
        body = b'{"error":"the release does not come up; see its status"}'
        return (
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: %d\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (self._seconds, len(body), body)
        )
