"""Batches between their arrival and their being counted, so that what was parsed to be checked is not parsed again."""

from __future__ import annotations

from threading import Lock

from serinus.predictions.segments.columns import Columns

Key = tuple[str, str, int]
"""release, boot, seq"""


class Parsed:
    """Thread-safe. Holds the batches of `most_bytes` of bodies at the most: what is not here is read from the log."""

    def __init__(self, most_bytes: int = 16 * 1024 * 1024) -> None:
        self._lock = Lock()
        self._room = most_bytes
        self._batches: dict[Key, tuple[Columns, int]] = {}

    def put(self, key: Key, records: Columns, size: int) -> None:
        """`size`: of the body, bytes."""
        with self._lock:
            if size <= self._room and key not in self._batches:
                self._room -= size
                self._batches[key] = records.without_inputs(), size

    def take(self, key: Key) -> Columns | None:
        with self._lock:
            records, size = self._batches.pop(key, (None, 0))
            self._room += size
        return records
