"""The socket between a worker and its host: reports go out on it, connections to the collector come in.

A worker makes no connection itself, and could not while it is confined. The host makes each one, says on it whose
records will come, and hands it over; again whenever it was lost, and also where another host follows the first.
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

_MESSAGE = 16
"""Bytes: what a connection comes with says nothing."""


_REPORT_SECONDS = 5
"""For which a worker waits that reports more than anybody reads: nobody does while there is no host."""


def pair() -> tuple[socket.socket, socket.socket]:
    """The host's end of a new wire, and the worker's, which blocks."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setblocking(False)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _REPORT_SECONDS, 0))
    return ours, theirs


class Reporter:
    """Tells the host, a JSON line a state. The host may die and leave the worker serving: then nobody listens."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, state: str, **details: Any) -> None:
        line = json.dumps({"state": state, **details}) + "\n"
        left = memoryview(line.encode())
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            sys.stderr.write(f"the host does not read what is reported ({error.strerror}): {line}")


class Wire:
    """The incoming side, in the running event loop: `take` is called with each connection that the host hands in."""

    def __init__(self, descriptor: int, take: Callable[[socket.socket], None]) -> None:
        # Reports go out on the descriptor itself.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=os.dup(descriptor))
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._read)

    def close(self) -> None:
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
        elif not said:  # the host is gone, and nobody keeps its end for the next one
            self._loop.remove_reader(self._socket.fileno())


def send(control: socket.socket, message: bytes, descriptors: Sequence[int]) -> None:
    """Sends one message that carries `descriptors`. Raises OSError. (`socket.send_fds` came with Python 3.9.)"""
    control.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])


def received(control: socket.socket, longest: int, most: int, flags: int = 0) -> tuple[bytes, list[int]]:
    """One message and the descriptors that it carries, closed on exec. Of those that are more than `most` none stays
    open. Raises OSError."""
    found = array.array("i")
    space = socket.CMSG_SPACE(most * found.itemsize)
    message, ancillary, _, _ = control.recvmsg(longest, space, socket.MSG_CMSG_CLOEXEC | flags)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    # The kernel's room for descriptors is rounded up, and what is beyond it never becomes one of ours.
    for extra in found[most:]:
        with contextlib.suppress(OSError):
            os.close(extra)
    return message, list(found[:most])
