"""The API on a Unix socket in the home, for the command line: no other user of the machine can take its place, as they
can a port's, or connect to it. Whoever is connected still shows a token, as everywhere."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serinus.lib import unix_sockets

_BACKLOG = 64


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at `path`, 0600, in place of what an earlier process has left there; removed at the end.
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
