"""Scratch directories of confined code: their limits, and their removal. Unconfined code only.

The owner of a directory may make it unreadable, nest it beyond the length of any path, and create links in it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Collection

from serinus_runtime.isolation.written import DIRECTORY, opened

_DEEPEST = 64
"""The deepest nesting. Each directory is held open while those below it are examined."""
_CLOSED = "a directory that cannot be looked into"


@dataclass(frozen=True)
class Bounds:
    """Limits for the contents of a directory."""

    bytes: int
    files: int
    """Includes directories."""


def excess(directory: Path, bounds: Bounds, but: Collection[str] = ()) -> str:
    """Returns what exceeds `bounds` below `directory`, in words ("more than 2048 MiB"). Empty: nothing does.

    Links are not followed, and the search ends when a limit is exceeded. `but` are entries of `directory` that do not
    count.
    """
    try:
        descriptor = opened(directory)
    except FileNotFoundError:  # It has not been created yet.
        return ""
    except OSError:
        return _CLOSED
    try:
        return _excess(descriptor, bounds, [0, 0], 1, but)
    finally:
        os.close(descriptor)


def _excess(directory: int, bounds: Bounds, seen: list[int], depth: int, but: Collection[str] = ()) -> str:
    """`seen` are the bytes and files so far."""
    inner = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name in but:
                continue
            with contextlib.suppress(FileNotFoundError):  # It was removed meanwhile.
                status = entry.stat(follow_symlinks=False)
                seen[0] += status.st_blocks * 512
                seen[1] += 1
                if stat.S_ISDIR(status.st_mode):
                    inner.append(entry.name)
            if seen[0] > bounds.bytes:
                return f"more than {bounds.bytes >> 20} MiB"
            if seen[1] > bounds.files:
                return f"more than {bounds.files} files"
    if inner and depth == _DEEPEST:
        return f"directories more than {_DEEPEST} deep"
    for name in inner:
        try:
            descriptor = os.open(name, DIRECTORY, dir_fd=directory)
        except PermissionError:
            return _CLOSED
        except OSError:  # It was removed, or is something else by now.
            continue
        try:
            if found := _excess(descriptor, bounds, seen, depth + 1):
                return found
        finally:
            os.close(descriptor)
    return ""


def remove(directory: Path, *, itself: bool = True, but: Collection[str] = ()) -> None:
    """Removes the contents of `directory` except `but`, and with `itself` the directory, whatever their modes and
    depth.

    Links are not followed. Does nothing where it does not exist. Raises OSError where somebody has written there
    meanwhile.
    """
    try:
        parent = os.open(directory.parent, DIRECTORY)
    except FileNotFoundError:
        return
    try:
        descriptor = _directory(directory.name, parent)
    finally:
        os.close(parent)
    if descriptor is None:  # It is a link, or does not exist.
        directory.unlink(missing_ok=True)
        return
    try:
        _empty(descriptor, but)
    finally:
        os.close(descriptor)
    if itself and not but:
        directory.rmdir()


def _empty(top: int, but: Collection[str]) -> None:
    """Moves directories up before it removes them, so that two descriptors suffice for any depth."""
    mine, numbers = os.urandom(8).hex(), itertools.count()
    while names := [name for name in os.listdir(top) if name not in but]:
        for name in names:
            inner = _directory(name, top)
            if inner is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=top)
                continue
            try:
                for below in os.listdir(inner):  # noqa: PTH208  a descriptor
                    if (lower := _directory(below, inner)) is None:
                        os.unlink(below, dir_fd=inner)
                    else:
                        os.close(lower)
                        os.rename(below, f".{mine}-{next(numbers)}", src_dir_fd=inner, dst_dir_fd=top)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)


def _directory(name: str, parent: int) -> int | None:
    """Returns a descriptor of the directory after making it readable and writable for its owner. None: it is not
    one."""
    try:
        path = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except (NotADirectoryError, FileNotFoundError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # It is a link.
            return None
        raise
    try:
        if os.fstat(path).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{path}", 0o700)  # noqa: PTH101
        return os.open(".", DIRECTORY, dir_fd=path)
    finally:
        os.close(path)
