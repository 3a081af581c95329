"""The listening socket of a release."""

from __future__ import annotations

from pathlib import Path

from serinus.lib import unix_sockets
from serinus.targets.local.host.sockets import Sockets

BACKLOG = 4096
"""The number of callers that may wait while there is no worker. With 16, 83 of 100 callers were refused in a test."""

_SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


def backlog_warning() -> str:
    """Returns a warning where the kernel allows fewer callers to wait. Empty: it does not."""
    most = int(_SOMAXCONN.read_text())
    if most >= BACKLOG:
        return ""
    refused = "callers of a release that is scaled to zero are refused beyond that"
    return f"net.core.somaxconn is {most}: {refused}; {BACKLOG} is better"


class Listener:
    """A socket that belongs to the host. Workers inherit it one after the other. It is open while there is none, so
    callers wait.

    It is bound beside `path` and moved there when published, in one step, so that callers always find a socket. With
    `sockets` it outlives the host. The next host continues with the one that an earlier host has published
    (`inherited`).
    """

    def __init__(self, path: Path, sockets: Sockets | None = None) -> None:
        self._path = path
        self._sockets = sockets
        before = sockets.taken(path) if sockets else None
        self.inherited = self._published = before is not None
        self.socket = unix_sockets.listen_beside(path, BACKLOG) if before is None else before
        self.socket.setblocking(False)

    def publish(self) -> None:
        """Moves the socket to its path."""
        if not self._published:
            unix_sockets.publish(self._path)
            self._published = True
            if self._sockets is not None:
                self._sockets.keep(self._path, self.socket)

    def withdraw(self) -> None:
        """Removes the socket from its path. Connected callers stay."""
        if self._sockets is not None:
            self._sockets.drop(self._path)
        unix_sockets.withdraw(self._path)

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close()
