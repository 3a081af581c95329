"""The API on a Unix socket of the home, for the command line.

Unlike a port, no other user of the machine can take it over or connect to it. Clients still need a token.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serinus.lib import unix_sockets

_BACKLOG = 64


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Yields a socket that listens at `path`, 0600, and replaces that of an earlier process. It is removed at the end.
    Raises OSError."""
    with unix_sockets.listen_beside(path, _BACKLOG) as listener:
        unix_sockets.publish(path)
        mine = path.stat().st_ino
        try:
            yield listener
        finally:
            with suppress(OSError):
                if path.stat().st_ino == mine:
                    path.unlink()
