"""A queue of byte strings in a file, for batches that do not fit into memory while the collector is away."""

from __future__ import annotations

import tempfile
from collections import deque
from pathlib import Path
from typing import IO


class Spill:
    """A queue of at most `most_bytes`, first in, first out. The file has no name, so it disappears with the process."""

    def __init__(self, directory: Path, most_bytes: int) -> None:
        self._directory = directory
        self.most_bytes = most_bytes
        self._file: IO[bytes] | None = None
        self._entries: deque[tuple[int, int]] = deque()
        """The number and the length of each batch."""
        self._start = self._end = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def room(self) -> int:
        """The free space in bytes."""
        return self.most_bytes - self._end

    def put(self, number: int, data: bytes) -> bool:
        """Adds data. Returns False where there is no room, here or on the disk."""
        if self._end + len(data) > self.most_bytes:
            return False
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115  until close
            self._file.seek(self._end)
            written = self._file.write(data)
        except OSError:
            return False
        if written != len(data):  # The disk is full, or the file has reached its limit.
            return False
        self._entries.append((number, len(data)))
        self._end += len(data)
        return True

    def take(self) -> tuple[int, bytes] | None:
        """Returns the first data with its number. None: it could not be read back, and is lost."""
        number, length = self._entries.popleft()
        assert self._file is not None
        try:
            self._file.seek(self._start)
            data = self._file.read(length)
        except OSError:
            data = b""
        self._start += length
        if not self._entries:
            self._start = self._end = 0
        return (number, data) if len(data) == length else None

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
