"""Directories that appear whole."""

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
    """An empty directory (0700) beside `path`, which gets that name when the block ends, with what is in it by then.

    It is removed where the block ends with an exception. Where another one has made `path` meanwhile, that one stays:
    this is for content that is the same whoever makes it. All of it is on disk before it has its name, so that a loss
    of power leaves no file empty under a name that says what is in it. What a killed process has left beside `path` is
    removed by the next one who makes it. Raises OSError.
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
        shutil.rmtree(new, ignore_errors=True)  # where it has got its name, nothing is there
        os.close(descriptor)


def _claimed(path: Path) -> tuple[Path, int]:
    """It is locked for as long as its maker lives, by which others know it from one that was left."""
    while True:
        new = Path(tempfile.mkdtemp(prefix=_prefix(path), suffix=_SUFFIX, dir=path.parent))
        with suppress(FileNotFoundError):  # one who sweeps was here between the two lines
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
