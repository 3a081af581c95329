"""Forwards what the workers print to the standard error of this process, and keeps the end of it for each worker."""

from __future__ import annotations

import asyncio
import io
import os
import select
from contextlib import suppress

from serinus_runtime.process.last_words import last_words

_KEPT = 64 << 10
_AT_ONCE = 64 << 10
_PIECE = select.PIPE_BUF
"""The number of bytes that a pipe accepts without blocking once it is writable."""
_PAUSE = 0.05
"""Seconds until the next try if the reader of our output is too slow. A worker that prints has to wait meanwhile."""


class Output:
    """Writes to `descriptor` without ever waiting for its reader."""

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)

    def write(self, data: bytes) -> bytes:
        """Writes as much as there is room for, and returns the rest."""
        try:
            while data and self._room.poll(0):
                data = data[os.write(self._descriptor, data[:_PIECE]) :]
        except BlockingIOError:
            return data
        except OSError:  # nobody reads any more
            return b""
        return data

    def say(self, text: str) -> None:
        """Writes a line of the supervisor itself. It is lost if there is no room."""
        self.write(f"serinus: {text}\n".encode())


class Printed:
    """Reads the output of one child. `end` is the descriptor for the child; the caller closes it."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._descriptor, self.end = os.pipe()
        os.set_blocking(self._descriptor, False)
        self._kept = b""
        self._rest = b""
        self._timer: asyncio.TimerHandle | None = None
        self._open = True
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def last_words(self) -> str:
        """Returns the error that the child printed last, or an empty string."""
        self._read()
        return last_words(io.BytesIO(self._kept), errors_alone=True)

    def close(self) -> None:
        """Forwards what there is still room for, and stops reading."""
        self._read()
        if self._timer is not None:
            self._timer.cancel()
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)

    def _read(self) -> None:
        if not self._open or self._rest:
            return
        part = b""
        with suppress(BlockingIOError):
            part = os.read(self._descriptor, _AT_ONCE)
            if not part:  # nobody has the other end open any more
                asyncio.get_running_loop().remove_reader(self._descriptor)
        self._kept = (self._kept + part)[-_KEPT:]
        self._pass_on(part)

    def _pass_on(self, data: bytes) -> None:
        self._rest = self._output.write(data)
        if self._rest:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._descriptor)
            self._timer = loop.call_later(_PAUSE, self._again)

    def _again(self) -> None:
        self._pass_on(self._rest)
        if not self._rest and self._open:
            asyncio.get_running_loop().add_reader(self._descriptor, self._read)
