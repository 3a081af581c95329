"""Append-only files of frames. They are the first place of the log, and the queue for counting and roll-ups.

A frame is `length, crc32` (big-endian, 32 bits each), then a JSON object (`meta`), a newline and the body as it
arrived. An interrupted write leaves a torn tail, which `repair` cuts off. It was never acknowledged. Segments are
numbered without gaps, and the one with the highest number is being written.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from serinus.lib import files

log = logging.getLogger(__name__)

_HEADER = struct.Struct(">II")
_SUFFIX = ".segment"


class Position(NamedTuple):
    """The end of a frame. With offset 0 it is the beginning of a segment."""

    segment: int
    offset: int


class Frame(NamedTuple):
    """A frame and its end."""

    meta: Mapping[str, Any]
    body: bytes
    end: Position


def encode(meta: Mapping[str, Any], body: bytes) -> bytes:
    """Returns the bytes of a frame."""
    payload = json.dumps(meta, separators=(",", ":")).encode() + b"\n" + body
    return _HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def path_of(directory: Path, number: int) -> Path:
    """Returns the path of a segment."""
    return directory / f"{number:012d}{_SUFFIX}"


def numbers(directory: Path) -> list[int]:
    """Returns the numbers of the existing segments in ascending order."""
    return sorted(int(path.stem) for path in directory.glob(f"*{_SUFFIX}"))


def size_from(directory: Path, first: int) -> int:
    """Returns the bytes of the segments from the number `first` on."""
    found = 0
    for number in numbers(directory):
        if number >= first:
            with suppress(FileNotFoundError):  # It is rolled up meanwhile.
                found += path_of(directory, number).stat().st_size
    return found


def read_frames(directory: Path, start: Position, until: Position | None = None) -> Iterator[Frame]:
    """Yields frames after `start`, up to `until` or the end, in the order of writing.

    A torn tail is left out, and so are segments that are rolled up and removed in the meantime.
    """
    for number in numbers(directory):
        if number < start.segment or (until and number > until.segment):
            continue
        end = until.offset if until and number == until.segment else None
        yield from _frames_of(directory, number, start.offset if number == start.segment else 0, end)


def _frames_of(directory: Path, number: int, offset: int, end: int | None) -> Iterator[Frame]:
    try:
        file = path_of(directory, number).open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        while end is None or offset < end:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return
            length, checksum = _HEADER.unpack(header)
            payload = file.read(length)
            if len(payload) < length or zlib.crc32(payload) != checksum:
                return
            offset += _HEADER.size + length
            meta, _, body = payload.partition(b"\n")
            yield Frame(json.loads(meta), body, Position(number, offset))


def repair(directory: Path) -> None:
    """Cuts off the torn tail of every segment and removes empty segments. To be called before writing starts."""
    for number in numbers(directory):
        path, good = path_of(directory, number), 0
        for frame in _frames_of(directory, number, 0, None):
            good = frame.end.offset
        torn = path.stat().st_size - good
        if torn:
            log.warning("segment %d: cut off a torn tail of %d bytes that was never acknowledged", number, torn)
            os.truncate(path, good)
        if not good:
            path.unlink()
    files.sync_directory(directory)


class SegmentWriter:
    """Appends to one segment after another. A segment ends after the append that exceeds `most_bytes`, and none is
    begun while all of them have `most_waiting` bytes. A directory may have one writer only. Not thread-safe."""

    def __init__(
        self,
        directory: Path,
        first: int,
        most_bytes: int = 16 * 1024 * 1024,
        most_waiting: int = 4 * 1024**3,
    ) -> None:
        self._directory, self._most_bytes, self._most_waiting = directory, most_bytes, most_waiting
        self._number = first
        self._file: int | None = None
        self._good = 0

    @property
    def durable(self) -> Position:
        """The end of the last frame that is on disk."""
        return Position(self._number, self._good)

    def append(self, frames: Sequence[bytes]) -> None:
        """Appends all of `frames` durably. Raises OSError where none of them was appended. The call may be repeated."""
        if self._good >= self._most_bytes:
            self.seal()
        if self._file is None:
            self._open()
        assert self._file is not None
        os.ftruncate(self._file, self._good)  # The remains of a failed attempt.
        blob = memoryview(b"".join(frames))
        written = 0
        while written < len(blob):
            written += os.pwrite(self._file, blob[written:], self._good + written)
        os.fdatasync(self._file)
        self._good += written

    def seal(self) -> None:
        """Has the next append begin a new segment."""
        if not self._good:
            return
        self.close()
        self._number, self._good = self._number + 1, 0

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> None:
        if size_from(self._directory, 0) >= self._most_waiting:
            raise OSError(errno.EDQUOT, f"{self._most_waiting >> 20} MiB wait for the table, and no more may")
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(path_of(self._directory, self._number), flags, 0o600)
        files.sync_directory(self._directory)
