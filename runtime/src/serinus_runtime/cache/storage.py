"""The storage of the response cache: limited by size and age, and only for keys that are requested repeatedly.

A worker serves one release with one set of settings, so no answer is given for another release. A key is stored at its
second request at the earliest, and where there is no room it only replaces keys that were requested less often. That is
TinyLFU (Einziger, Friedman, Manes: "TinyLFU: A Highly Efficient Cache Admission Policy", ACM Transactions on Storage
13(4), 2017) in front of an LRU. Rows that come once, which are the majority of payments, therefore do not replace those
that come often.
"""

from __future__ import annotations

import math
import sys
import time
from collections import OrderedDict
from typing import Any, Callable, Hashable, Sequence

_OVERHEAD = 320
"""The size in bytes of an entry beside its key and value: the node of the ordered dictionary, the entry, its
numbers."""
_LARGEST_SHARE = 8
"""One entry may take at most this part of the cache."""
_TYPICAL = 2048
"""The assumed size of an entry in bytes, which determines the size of the sketch: 32 places of one byte for each entry,
so that it covers eight times as many requests."""
_SIGHTINGS = 2
"""The number of requests of a key before it is stored."""
_SATURATED = 255
_HALVE = bytes(value >> 1 for value in range(256))
_LEAF = frozenset({float, int, bool, str, bytes, type(None)})
_ALIKE = 1e-6


def weigh(value: Any) -> int:
    """Returns the size in bytes of plain values: JSON values, tuples and bytes. Shared values count each time.

    Raises TypeError for values of another type, whose size is unknown.
    """
    if type(value) in _LEAF:
        return sys.getsizeof(value)
    if isinstance(value, (list, tuple)):
        return sys.getsizeof(value) + sum(map(weigh, value))
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(map(weigh, value)) + sum(map(weigh, value.values()))
    raise TypeError(f"a {type(value).__name__} is not weighed")


class Sketch:
    """Estimates how often hashes were counted recently. An estimate is never too low until counts are halved.

    It is a counting Bloom filter with conservative update: four places for each hash, of which the smallest counts. All
    are halved when there were a quarter as many counts as places, which forgets keys that came once or were popular
    once, and keeps collisions rare (at most one in six, just before halving).
    """

    def __init__(self, places: int) -> None:
        """`places` must be a power of two."""
        self._table = bytearray(places)
        self._mask = places - 1
        self._left = self._period = places // 4

    def count(self, mark: int) -> int:
        """Counts `mark`, and returns the new estimate."""
        table = self._table
        places = self._places(mark)
        least = min(map(table.__getitem__, places))
        if least < _SATURATED:
            for place in places:
                if table[place] == least:
                    table[place] = least + 1
        self._left -= 1
        if not self._left:
            self._table = table.translate(_HALVE)
            self._left = self._period
        return least + 1

    def estimate(self, mark: int) -> int:
        """Returns how often `mark` was counted."""
        return min(map(self._table.__getitem__, self._places(mark)))

    def _places(self, mark: int) -> tuple[int, int, int, int]:
        """Returns the places, from two halves of a hash (Kirsch and Mitzenmacher: "Less Hashing, Same Performance",
        2006)."""
        mask, step = self._mask, mark >> 32 | 1
        return mark & mask, mark + step & mask, mark + 2 * step & mask, mark + 3 * step & mask


class Entry:
    """An entry. `value` must not be changed. `expires` is a time of the cache's clock."""

    __slots__ = ("expires", "size", "value")

    def __init__(self, value: Any, expires: float, size: int) -> None:
        self.value = value
        self.expires = expires
        self.size = size


class Cache:
    """A cache of plain values. Keys must be plain values too, because their size counts."""

    def __init__(self, max_bytes: int, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`ttl` is the age in seconds at which an entry expires."""
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._clock = clock
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._bytes = 0
        self._sketch = Sketch(1 << min(20, max(10, (max_bytes // _TYPICAL).bit_length() + 4)))

    @property
    def bytes(self) -> int:
        """The size of all entries in bytes, including keys. It never exceeds the limit."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Entry | None:
        """Returns the entry unless it has expired. The request of the key is counted in any case."""
        self._sketch.count(hash(key))
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock() >= entry.expires:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def admits(self, key: Hashable) -> bool:
        """Whether it is worth creating a value for `put`, as long as there is room."""
        return self._sketch.estimate(hash(key)) >= _SIGHTINGS

    def put(self, key: Hashable, value: Any, expires: float | None = None) -> Entry | None:
        """Returns the new entry. None: the key is not requested often enough.

        `expires` is that of the entry from which this one is made, which it must not outlive.
        """
        popularity = self._sketch.estimate(hash(key))
        if popularity < _SIGHTINGS:
            return None
        size = weigh(key) + weigh(value) + _OVERHEAD
        if size > self._max_bytes // _LARGEST_SHARE:
            return None
        now = self._clock()
        if key in self._entries:
            self._remove(key)
        if not self._make_room(size, popularity, now):
            return None
        entry = Entry(value, now + self._ttl if expires is None else expires, size)
        self._entries[key] = entry
        self._bytes += size
        return entry

    def clear(self) -> None:
        """Removes all entries."""
        self._entries.clear()
        self._bytes = 0

    def _make_room(self, size: int, popularity: int, now: float) -> bool:
        """Removes the least recently used entries, unless one of them is valid and was requested as often."""
        missing = self._bytes + size - self._max_bytes
        victims: list[Hashable] = []
        for key, entry in self._entries.items():
            if missing <= 0:
                break
            if entry.expires > now and self._sketch.estimate(hash(key)) >= popularity:
                return False
            victims.append(key)
            missing -= entry.size
        for key in victims:
            self._remove(key)
        return True

    def _remove(self, key: Hashable) -> None:
        self._bytes -= self._entries.pop(key).size


class ConsistencyCheck:
    """Remembers some answers to notice a model that answers equal rows differently: at random, by the time, or by data
    that it looks up. Such a model must not have a cache, whatever its spec says."""

    _MOST_ROWS = 8

    def __init__(self, places: int = 1024) -> None:
        """`places` must be a power of two."""
        self._answers: list[tuple[int, Sequence[float | None]] | None] = [None] * places
        self._mask = places - 1

    def contradicts(self, key: Hashable, scores: Sequence[float | None]) -> bool:
        """Whether the model has answered the same key differently, beyond the rounding in a batch."""
        if len(scores) > self._MOST_ROWS:
            return False
        mark = hash(key)
        before = self._answers[mark & self._mask]
        self._answers[mark & self._mask] = (mark, scores)
        return before is not None and before[0] == mark and not _alike(before[1], scores)


def _alike(before: Sequence[float | None], now: Sequence[float | None]) -> bool:
    return len(before) == len(now) and all(
        a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=_ALIKE, abs_tol=_ALIKE * 1e-3))
        for a, b in zip(before, now)
    )
