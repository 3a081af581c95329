"""What confined code may write in its scratch directory, and its end. Nothing confined runs this.

Whoever owns a directory may make it unreadable, nest it beyond any path's length, and put links in it.
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
"""Directories within each other, each of which is held open while those below it are looked at."""
_CLOSED = "a directory that cannot be looked into"


@dataclass(frozen=True)
class Bounds:
    """Limits on what a process may have in a directory."""

    bytes: int
    files: int
    """Directories included."""


def excess(directory: Path, bounds: Bounds, but: Collection[str] = ()) -> str:
    """What exceeds `bounds` below `directory`, in words ("more than 2048 MiB"); empty where nothing does. Follows no
    link, and stops looking where it has seen enough. `but`: entries of `directory` that are not counted."""
    try:
        descriptor = opened(directory)
    except FileNotFoundError:  # it has not been made yet
        return ""
    except OSError:
        return _CLOSED
    try:
        return _excess(descriptor, bounds, [0, 0], 1, but)
    finally:
        os.close(descriptor)


def _excess(directory: int, bounds: Bounds, seen: list[int], depth: int, but: Collection[str] = ()) -> str:
    """`seen`: bytes and files until now."""
    inner = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name in but:
                continue
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
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
        except OSError:  # removed, or something else by now
            continue
        try:
            if found := _excess(descriptor, bounds, seen, depth + 1):
                return found
        finally:
            os.close(descriptor)
    return ""


def remove(directory: Path, *, itself: bool = True, but: Collection[str] = ()) -> None:
    """Removes what lies in `directory`, all `but` some entries, and the directory `itself`, whatever their modes and
    however deep they are. Follows no link. Where it is not there, nothing happens. Raises OSError: somebody has written
    there meanwhile."""
    try:
        parent = os.open(directory.parent, DIRECTORY)
    except FileNotFoundError:
        return
    try:
        descriptor = _directory(directory.name, parent)
    finally:
        os.close(parent)
    if descriptor is None:  # a link, or nothing
        directory.unlink(missing_ok=True)
        return
    try:
        _empty(descriptor, but)
    finally:
        os.close(descriptor)
    if itself and not but:
        directory.rmdir()


def _empty(top: int, but: Collection[str]) -> None:
    """Directories are moved up and then removed, so that two descriptors are enough for any depth."""
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
    """A descriptor of the directory, which its owner may list and change from now on. None: it is none."""
    try:
        path = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except (NotADirectoryError, FileNotFoundError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link
            return None
        raise
    try:
        if os.fstat(path).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{path}", 0o700)  # noqa: PTH101
        return os.open(".", DIRECTORY, dir_fd=path)
    finally:
        os.close(path)
