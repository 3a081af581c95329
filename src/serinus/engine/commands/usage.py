"""The disk space that files take."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

Inode = tuple[int, int]
Blocks = Mapping[Inode, int]
"""The disk space in bytes of each inode, so that a file with several names counts once."""

_BLOCK = 512
"""The unit of `st_blocks`, in bytes."""


def blocks(paths: Iterable[Path]) -> Blocks:
    """Returns the disk space of files, and of directories with all their contents. Files that disappear are not
    counted."""
    found: dict[Inode, int] = {}
    waiting = [os.fspath(path) for path in paths]
    while waiting:
        path = waiting.pop()
        try:
            seen = os.lstat(path)
            found[seen.st_dev, seen.st_ino] = seen.st_blocks * _BLOCK
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                        continue
                    seen = entry.stat(follow_symlinks=False)
                    found[seen.st_dev, seen.st_ino] = seen.st_blocks * _BLOCK
        except OSError:  # The path has disappeared, or is a file.
            continue
    return found
