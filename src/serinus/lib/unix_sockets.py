"""Unix sockets that other processes find by a path."""

from __future__ import annotations

import socket
from pathlib import Path


def listen_beside(path: Path, backlog: int) -> socket.socket:
    """Returns a listening socket of this user alone (0600), which `publish` then moves to `path` in one step.

    So nobody finds a missing socket, one that does not listen yet, or one that others may connect to. The socket of an
    earlier process stays usable until then. `backlog` is the number of callers that may wait to be accepted. Raises
    OSError.
    """
    new = _beside(path)
    new.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(str(new))
        new.chmod(0o600)  # It does not listen yet, so nobody can have connected.
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made


def publish(path: Path) -> None:
    """Moves the socket to `path`. Raises OSError."""
    _beside(path).replace(path)


def withdraw(path: Path) -> None:
    """Removes the socket from `path`, whether it was published or not. Open connections stay. Raises OSError."""
    for one in (path, _beside(path)):
        one.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")
