"""Where workers listen: each has a slot, which is a socket of its own on the port that all share.

The kernel spreads new connections over the sockets that listen (SO_REUSEPORT, socket(7)). On one socket for all, the
worker that happens to wake first would take every connection that waits. A socket listens from the moment when its
first worker serves. The supervisor holds it as well: who has connected to a worker that died waits for the next one.
"""

from __future__ import annotations

import socket
from typing import Any

from serinus_runtime.process.apology import Apology


class Slot:
    """`socket` is bound, and listens once a worker has served on it."""

    def __init__(self, port: int) -> None:
        """Raises OSError: the port is taken."""
        self.socket = bound(port, shared=True)
        self._apology: Apology | None = None

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def refuse(self, seconds: float) -> None:
        """Callers who wait, and who come, are answered 503, with the seconds until it is worth to try again."""
        if self._apology is None:
            self._apology = Apology(self.socket)
            self._apology.begin(seconds)

    def await_worker(self) -> None:
        """Callers wait for a worker."""
        if self._apology is not None:
            self._apology.end()
            self._apology = None

    def leave(self) -> None:
        """New callers come to other slots, until a worker serves on this one. Who has connected and waits is reset, and
        may try again. Where the port cannot be bound anew, nothing changes."""
        try:
            other = bound(self.port, shared=True)
        except OSError:
            return
        self.close()
        self.socket = other

    def close(self) -> None:
        """This process's descriptor. A worker keeps its own."""
        self.await_worker()
        self.socket.close()


def bound(port: int, *, shared: bool = False) -> socket.socket:
    """A socket on all addresses, of IPv4 and of IPv6 where the kernel has it, which does not listen yet. `shared`:
    others of this user may be bound to the same port. Raises OSError."""
    try:
        found = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        address: Any = ("::", port)
    except OSError:
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        address = ("0.0.0.0", port)  # noqa: S104  the pod's own address
    try:
        if found.family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind(address)
        found.setblocking(False)
    except OSError:
        found.close()
        raise
    return found
