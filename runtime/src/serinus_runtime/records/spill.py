"""A queue of byte strings in a file: what does not fit into memory while the collector is away."""

from __future__ import annotations

import tempfile
from collections import deque
from pathlib import Path
from typing import IO


class Spill:
    """First in, first out; at most `most_bytes`. The file has no name: it goes when the process goes."""

    def __init__(self, directory: Path, most_bytes: int) -> None:
        self._directory = directory
        self.most_bytes = most_bytes
        self._file: IO[bytes] | None = None
        self._entries: deque[tuple[int, int]] = deque()
        """Number and length of each."""
        self._start = self._end = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def room(self) -> int:
        return self.most_bytes - self._end

    def put(self, number: int, data: bytes) -> bool:
        """False: there is no room, here or on the disk."""
        if self._end + len(data) > self.most_bytes:
            return False
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115  until close
            self._file.seek(self._end)
            written = self._file.write(data)
        except OSError:
            return False
        if written != len(data):  # the disk, or the largest file, ended in the middle
            return False
        self._entries.append((number, len(data)))
        self._end += len(data)
        return True

    def take(self) -> tuple[int, bytes] | None:
        """The first with its number; None: what was written does not come back, and is lost."""
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
        if self._file is not None:
            self._file.close()
