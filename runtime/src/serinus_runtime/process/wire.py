"""The socket between a worker and its host. Reports go out, and connections to the collector come in.

A confined worker cannot make connections. The host makes each one, says on it whose records will come, and passes it
on. It does so again after a connection was lost, and after another host has taken over.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import socket
import struct
import sys
from typing import Any, Callable, Sequence

FORMAT = 2
"""The format of the batches of records. The first line on a connection to the collector names it."""
_MESSAGE = 16
"""The size in bytes of the message with a connection, which has no meaning."""


_REPORT_SECONDS = 5
"""Seconds that a worker waits to send a report that nobody reads, as while there is no host."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Returns the host's end of a new socket pair, and the worker's, which blocks."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setblocking(False)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _REPORT_SECONDS, 0))
    return ours, theirs


class Reporter:
    """Reports states to the host as lines of JSON. If the host has died, nobody reads them and the worker continues."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, state: str, **details: Any) -> None:
        """Sends a report."""
        line = json.dumps({"state": state, **details}) + "\n"
        left = memoryview(line.encode())
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            sys.stderr.write(f"the host does not read what is reported ({error.strerror}): {line}")


class Wire:
    """The incoming side, in the running event loop. `take` is called with each connection from the host."""

    def __init__(self, descriptor: int, take: Callable[[socket.socket], None]) -> None:
        # Reports go out on the descriptor itself.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=os.dup(descriptor))
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._read)

    def close(self) -> None:
        """Stops reading."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        try:
            said, carried = received(self._socket, _MESSAGE, 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            said, carried = b"", []
        if carried:
            self._take(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=carried[0]))
        elif not said:  # The host has ended, and nobody keeps its end for the next one.
            self._loop.remove_reader(self._socket.fileno())


def send(control: socket.socket, message: bytes, descriptors: Sequence[int]) -> None:
    """Sends one message with `descriptors`. Raises OSError. (`socket.send_fds` exists since Python 3.9.)"""
    control.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])


def received(control: socket.socket, longest: int, most: int, flags: int = 0) -> tuple[bytes, list[int]]:
    """Returns one message and its descriptors, which are closed on exec. Descriptors beyond `most` are closed. Raises
    OSError."""
    found = array.array("i")
    space = socket.CMSG_SPACE(most * found.itemsize)
    message, ancillary, _, _ = control.recvmsg(longest, space, socket.MSG_CMSG_CLOEXEC | flags)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    # The kernel rounds up the space for descriptors. Those beyond it are never installed in this process.
    for extra in found[most:]:
        with contextlib.suppress(OSError):
            os.close(extra)
    return message, list(found[:most])
