"""Unix sockets that other processes find by a path."""

from __future__ import annotations

import socket
from pathlib import Path


def listen_beside(path: Path, backlog: int) -> socket.socket:
    """A socket of this user alone (0600) that listens, and is not at `path` yet: `publish` puts it there in one step.

    So nobody finds nothing there, or a socket that does not listen, or that others may connect to; and what an earlier
    process has left there goes on until then. `backlog`: callers that may wait to be accepted. Raises OSError.
    """
    new = _beside(path)
    new.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(str(new))
        new.chmod(0o600)  # before it listens: nobody can have connected
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made


def publish(path: Path) -> None:
    """Raises OSError."""
    _beside(path).replace(path)


def withdraw(path: Path) -> None:
    """New callers find nothing any more, whether it was published or not; those that are connected stay. Raises
    OSError."""
    for one in (path, _beside(path)):
        one.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")
