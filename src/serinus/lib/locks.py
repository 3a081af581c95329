"""Locks among processes and threads: flock(2) on a file that stays where it is.

The kernel lets go when the last copy of the descriptor is closed, so also when every process that has one is killed.
A child that is to keep the lock is started with the descriptor in `pass_fds`; no other child has it.
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
"""The mode of a lock file in a directory that confined processes may read: to open a file is enough to lock it."""
_PAUSE = 0.02


def try_lock(descriptor: int) -> bool:
    """Whether the open file is this caller's now, until the descriptor is closed. Raises OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take(path: Path, *, seconds: float = math.inf, mode: int = 0o600) -> int | None:
    """The descriptor of the lock at `path`, to be closed by the caller. None: another has held it for `seconds`.

    The file is made where there is none, and gets `mode` where it has another. Its directory must be there. What is in
    it is the holder's. Raises OSError.
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
    """As `take`, and closed at the end."""
    descriptor = take(path, seconds=seconds, mode=mode)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether somebody holds it; to find out takes it for a moment where nobody does. Raises OSError."""
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
