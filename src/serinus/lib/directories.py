"""Directories that appear as a whole."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serinus.lib import files, locks

_SUFFIX = ".new"
_THERE = (errno.EEXIST, errno.ENOTEMPTY)


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yields an empty directory (0700) beside `path`, which is renamed to `path` with its contents when the block ends.

    It is removed where the block raises. Where another process has created `path` meanwhile, that one stays, so the
    content must be the same whoever creates it. Everything is synced to disk before it is renamed, so that a power
    failure leaves no empty file. The remains of a killed process are removed by the next one that creates `path`.
    Raises OSError.
    """
    new, descriptor = _claimed(path)
    try:
        _sweep(path)
        yield new
        _sync(new)
        try:
            new.rename(path)
        except OSError as error:
            if error.errno not in _THERE or not path.is_dir():
                raise
        files.sync_directory(path.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)  # After the renaming there is nothing left.
        os.close(descriptor)


@contextmanager
def passing(path: Path) -> Iterator[Path]:
    """Creates an empty directory (0700) beside `path`, and removes it when the block ends. The next call for the same
    `path` removes what a killed process has left. Raises OSError."""
    new, descriptor = _claimed(path)
    try:
        _sweep(path)
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)
        os.close(descriptor)


def _claimed(path: Path) -> tuple[Path, int]:
    """Creates a directory and locks it while this process lives, so that others can tell it from remains."""
    while True:
        new = Path(tempfile.mkdtemp(prefix=_prefix(path), suffix=_SUFFIX, dir=path.parent))
        with suppress(FileNotFoundError):  # Another process has removed it before it was locked.
            descriptor = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if locks.try_lock(descriptor) and new.is_dir():
                return new, descriptor
            os.close(descriptor)


def _sweep(path: Path) -> None:
    for left in path.parent.iterdir():
        if left.name.startswith(_prefix(path)) and left.name.endswith(_SUFFIX):
            with suppress(FileNotFoundError, NotADirectoryError):
                descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    if locks.try_lock(descriptor):
                        shutil.rmtree(left, ignore_errors=True)
                finally:
                    os.close(descriptor)


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _sync(root: Path) -> None:
    for directory, _, names in os.walk(root):
        for file in (Path(directory, name) for name in names):
            if stat.S_ISREG(file.lstat().st_mode):
                with file.open("rb") as content:
                    os.fsync(content.fileno())
        files.sync_directory(Path(directory))
