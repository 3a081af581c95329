"""Files that are replaced in one step."""

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
    """A new file, open for writing, that takes the place of `path` when the block ends; the old one stays where it ends
    with an exception, and where the process is killed or the disk is full.

    Who reads `path` finds the old content or the new one, never a part. Of several writers the last one wins; with
    `alone` BlockingIOError is raised where another one writes. The new file lies beside `path`, as `file.name`: `.new`
    is added to the name. What a killed writer has left there is used again by the next one; what else lies there is
    left alone, and another name taken.

    `mode`: of the file, whatever the umask; None: as the umask has it. `durable`: the content is on disk before the
    file has its name, and the name before the block returns, so that a loss of power leaves the old file or the new
    one. Without it such a loss may leave an empty file.

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
    """Replaces the file by this content; text is written as UTF-8."""
    with replacing(path, mode=mode, durable=durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def update(path: Path, content: str) -> None:
    """As `write`, but only where the content is another one, so that a full disk stops nobody who changes nothing."""
    if not path.exists() or path.read_bytes() != content.encode():
        write(path, content)


def sync_directory(directory: Path) -> None:
    """Makes the creation, renaming or removal of files in it durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _claimed(path: Path, mode: int, alone: bool) -> tuple[Path, int]:
    """An empty file beside `path`, and its descriptor, which holds its lock. Where another writer has the first name,
    the next one is taken: nobody waits for a writer, or for who only holds the lock."""
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
    """None: what lies there is no file of this user's alone. Raises BlockingIOError: another writer has it; OSError."""
    while True:
        with ExitStack() as undo:
            try:
                # No link is followed, and nothing waits for the reader of a pipe.
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
            if _is_at(new, descriptor):  # else the other has moved it to its place since it was opened here
                os.ftruncate(descriptor, 0)
                undo.pop_all()
                return descriptor


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
