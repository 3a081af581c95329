"""How many bytes files take on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

Inode = tuple[int, int]
Blocks = Mapping[Inode, int]
"""Each file once, however many names it has -> its bytes on the disk."""

_BLOCK = 512
"""Bytes of `st_blocks`."""


def blocks(paths: Iterable[Path]) -> Blocks:
    """The disk blocks of files, and of directories with everything in them. What goes away meanwhile is not counted."""
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
        except OSError:  # gone meanwhile, or a file: there is nothing in it
            continue
    return found
