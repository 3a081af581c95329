"""A release's listening socket."""

from __future__ import annotations

from pathlib import Path

from serinus.lib import unix_sockets
from serinus.targets.local.host.sockets import Sockets

BACKLOG = 4096
"""How many callers may wait while there is no worker. 16 was measured to refuse 83 of 100."""

_SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


def backlog_warning() -> str:
    """What to tell the operator where the kernel lets fewer callers wait; empty where it does not."""
    most = int(_SOMAXCONN.read_text())
    if most >= BACKLOG:
        return ""
    refused = "callers of a release that is scaled to zero are refused beyond that"
    return f"net.core.somaxconn is {most}: {refused}; {BACKLOG} is better"


class Listener:
    """Belongs to the host and is inherited by one worker after another; open while there is none, so callers wait.

    It is bound beside `path` and takes its place when published, in one step: no caller ever finds nothing there. With
    `sockets` it outlives the host: the next one goes on with the one that an earlier one has published (`inherited`).
    """

    def __init__(self, path: Path, sockets: Sockets | None = None) -> None:
        self._path = path
        self._sockets = sockets
        before = sockets.taken(path) if sockets else None
        self.inherited = self._published = before is not None
        self.socket = unix_sockets.listen_beside(path, BACKLOG) if before is None else before
        self.socket.setblocking(False)

    def publish(self) -> None:
        if not self._published:
            unix_sockets.publish(self._path)
            self._published = True
            if self._sockets is not None:
                self._sockets.keep(self._path, self.socket)

    def withdraw(self) -> None:
        """New callers find nothing any more; those that are connected stay."""
        if self._sockets is not None:
            self._sockets.drop(self._path)
        unix_sockets.withdraw(self._path)

    def close(self) -> None:
        self.socket.close()
