"""Atomic replacement of files, and their modes."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from serinus.lib import locks


@contextmanager
def replacing(path: Path, *, mode: int | None = 0o600, durable: bool = True, alone: bool = False) -> Iterator[BinaryIO]:
    """Opens a new file for writing, which replaces `path` when the block ends.

    The old file stays where the block raises, the process is killed or the disk is full. Readers see the old content or
    the new one, never a part. Of several writers the last one wins. With `alone`, BlockingIOError is raised where
    another one is writing. The new file lies beside `path` and is named `<name>.new`. A killed writer's remains of that
    name are used again. Any other file of that name is left alone, and another name is used.

    `mode` is that of the file, whatever the umask. None: the umask applies. With `durable`, the content is on disk
    before the file is renamed, and the new name before the block returns, so that a power failure leaves the old file
    or the new one. Without it, a power failure may leave an empty file.

    Raises OSError.
    """
    new, descriptor = _claimed(path, 0o666 if mode is None else mode, alone)
    with open(new, "wb", opener=lambda *_: descriptor) as file:
        try:
            if mode is not None:
                os.fchmod(descriptor, mode)
            yield file
            file.flush()
            if durable:
                os.fsync(descriptor)
            new.replace(path)
        except BaseException:
            if _is_at(new, descriptor):
                new.unlink()
            raise
    if durable:
        sync_directory(path.parent)


def write(path: Path, content: bytes | str, *, mode: int | None = 0o600, durable: bool = True) -> None:
    """Replaces the file by this content. Text is written as UTF-8."""
    with replacing(path, mode=mode, durable=durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def update(path: Path, content: str) -> None:
    """Replaces the file only where the content differs, so that a full disk does not matter where nothing changes."""
    if not path.exists() or path.read_bytes() != content.encode():
        write(path, content)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Sets the umask within the block. It is that of the whole process, and programs started there inherit it."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def sync_directory(directory: Path) -> None:
    """Makes the creation, renaming and removal of files in it durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _claimed(path: Path, mode: int, alone: bool) -> tuple[Path, int]:
    """Returns an empty file beside `path` and its descriptor, which holds its lock.

    Where another writer has the first name, the next one is used, so that nobody waits.
    """
    for number in itertools.count():
        new = path.with_name(f"{path.name}.{number}.new" if number else f"{path.name}.new")
        try:
            descriptor = _claim(new, mode)
        except BlockingIOError:
            if alone:
                raise
        else:
            if descriptor is not None:
                return new, descriptor
    raise AssertionError("there is always another name")


def _claim(new: Path, mode: int) -> int | None:
    """Returns the descriptor. None: another kind of file has this name, or it is not this user's alone.

    Raises BlockingIOError where another writer has it, and OSError.
    """
    while True:
        with ExitStack() as undo:
            try:
                # Links are not followed, and opening a pipe does not block.
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
                descriptor = os.open(new, flags, mode)
            except OSError:
                if os.path.lexists(new):
                    return None
                raise
            undo.callback(os.close, descriptor)
            seen = os.fstat(descriptor)
            if not stat.S_ISREG(seen.st_mode) or seen.st_uid != os.geteuid() or seen.st_nlink > 1:
                return None
            if not locks.try_lock(descriptor):
                raise BlockingIOError(errno.EWOULDBLOCK, "another writes it", str(new))
            if _is_at(new, descriptor):  # Otherwise the other writer has renamed it since it was opened here.
                os.ftruncate(descriptor, 0)
                undo.pop_all()
                return descriptor


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
