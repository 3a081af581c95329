"""Locks among processes and threads, by flock(2) on a file that is never removed.

The kernel releases a lock when the last copy of the descriptor is closed, also when its processes are killed. Only a
child that gets the descriptor in `pass_fds` keeps the lock.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WRITE_ONLY = 0o200
"""The mode of a lock file in a directory that confined processes may read, because whoever can open a file can lock
it."""
_PAUSE = 0.02


def try_lock(descriptor: int) -> bool:
    """Locks the open file until the descriptor is closed. Returns False where another holds it. Raises OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take(path: Path, *, seconds: float = math.inf, mode: int = 0o600) -> int | None:
    """Returns the descriptor of the lock at `path`, which the caller must close. None: another held it for `seconds`.

    The file is created where it does not exist, and gets `mode`. Its directory must exist. Its content belongs to the
    holder. Raises OSError.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)
        if _locked(descriptor, seconds):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


@contextmanager
def held(path: Path, *, seconds: float = math.inf, mode: int = 0o600) -> Iterator[int | None]:
    """A context manager for `take`."""
    descriptor = take(path, seconds=seconds, mode=mode)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether the lock is held. The check takes the lock for a moment where it is free. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int, seconds: float) -> bool:
    if seconds == math.inf:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return True
    deadline = time.monotonic() + seconds
    while not try_lock(descriptor):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE)
    return True
