"""The API on a Unix socket in the home, for the command line: no other user of the machine can take its place, as they
can a port's, or connect to it. Whoever is connected still shows a token, as everywhere."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_BACKLOG = 64


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at `path`, 0600, in place of what an earlier process has left there; removed at the end.
    Raises OSError."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(new))
        new.chmod(0o600)  # before it listens
        listener.listen(_BACKLOG)
        new.replace(path)
        mine = path.stat().st_ino
        try:
            yield listener
        finally:
            with suppress(OSError):
                if path.stat().st_ino == mine:
                    path.unlink()
