"""The sockets on which the workers listen. Each worker has a slot: a socket of its own on the port that all share.

The kernel spreads new connections over the listening sockets (SO_REUSEPORT, socket(7)). On a single shared socket, the
worker that wakes first would accept all waiting connections. A socket starts to listen when its first worker serves.
The supervisor keeps it open as well, so that callers who have connected to a dead worker wait for the next one.
"""

from __future__ import annotations

import socket
from typing import Any

from serinus_runtime.process.apology import Apology


class Slot:
    """One slot. `socket` is bound, and listens once a worker has served on it."""

    def __init__(self, port: int) -> None:
        """Raises OSError if the port is taken."""
        self.socket = bound(port, shared=True)
        self._apology: Apology | None = None

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def refuse(self, seconds: float) -> None:
        """Answers waiting and new callers with 503, and tells them to try again after `seconds`."""
        if self._apology is None:
            self._apology = Apology(self.socket)
            self._apology.begin(seconds)

    def await_worker(self) -> None:
        """Lets callers wait for a worker again."""
        if self._apology is not None:
            self._apology.end()
            self._apology = None

    def leave(self) -> None:
        """Sends new callers to the other slots until a worker serves on this one. Connections that wait here are reset,
        and their callers may try again. Nothing changes if the port cannot be bound again."""
        try:
            other = bound(self.port, shared=True)
        except OSError:
            return
        self.close()
        self.socket = other

    def close(self) -> None:
        """Closes the descriptor of this process. A worker keeps its own."""
        self.await_worker()
        self.socket.close()


def bound(port: int, *, shared: bool = False) -> socket.socket:
    """Returns a socket that is bound to all IPv4 and IPv6 addresses and does not listen yet. With `shared`, other
    sockets of the same user can be bound to the same port. Raises OSError."""
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
