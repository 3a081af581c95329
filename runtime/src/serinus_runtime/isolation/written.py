"""Safe access to directories and files that confined code may have written. Links are not followed."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def opened(directory: Path) -> int:
    """Returns a descriptor of a directory that this user owns. Raises OSError where it is a link, something else, or
    another user's."""
    descriptor = os.open(directory, DIRECTORY)
    if os.fstat(descriptor).st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(1, "it belongs to another user", str(directory))
    return descriptor


def content(file: Path, most_bytes: int) -> bytes:
    """Returns the content of a regular file in a plain directory. Raises OSError, and ValueError for any other file or
    a longer one."""
    with plain(file) as stream:
        found = stream.read(most_bytes + 1)
    if len(found) > most_bytes:
        raise ValueError(f"{file.name} is longer than {most_bytes} bytes")
    return found


def plain(file: Path) -> BinaryIO:
    """Opens a regular file in a plain directory for reading. Raises OSError, and ValueError where it is not one."""
    directory = opened(file.parent)
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(file.name, flags, dir_fd=directory)
    finally:
        os.close(directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{file.name} is not a regular file")
    return os.fdopen(descriptor, "rb")
