"""A cache of batches between their arrival and counting, so that they are parsed once."""

from __future__ import annotations

from threading import Lock

from serinus.predictions.segments.columns import Columns

Key = tuple[str, str, int]
"""The release, the boot and the sequence number."""


class Parsed:
    """Holds batches with at most `most_bytes` of bodies. Others are read from the log. Thread-safe."""

    def __init__(self, most_bytes: int = 16 * 1024 * 1024) -> None:
        self._lock = Lock()
        self._room = most_bytes
        self._batches: dict[Key, tuple[Columns, int]] = {}

    def put(self, key: Key, records: Columns, size: int) -> None:
        """Adds a batch. `size` is that of its body in bytes."""
        with self._lock:
            if size <= self._room and key not in self._batches:
                self._room -= size
                self._batches[key] = records.without_inputs(), size

    def take(self, key: Key) -> Columns | None:
        """Removes and returns a batch. None: it is not in the cache."""
        with self._lock:
            records, size = self._batches.pop(key, (None, 0))
            self._room += size
        return records
