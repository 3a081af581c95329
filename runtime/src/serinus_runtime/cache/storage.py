"""What a response cache keeps its entries in: bounded by bytes and by age, and only for what is asked for again.

A worker serves one release with one set of settings for as long as it lives, so nothing is ever answered across
releases. What is kept is decided by reuse: a key is stored at its second sighting at the earliest, and when there is
no room only in place of keys that were asked for less often lately. That is TinyLFU (Einziger, Friedman, Manes:
"TinyLFU: A Highly Efficient Cache Admission Policy", ACM Transactions on Storage 13(4), 2017) in front of an LRU, so
that rows which come once, most of them in a stream of payments, do not push out those that come often.
"""

from __future__ import annotations

import math
import sys
import time
from collections import OrderedDict
from typing import Any, Callable, Hashable, Sequence

_OVERHEAD = 320
"""Bytes of an entry beside its key and its value: the ordered dictionary's node, the entry itself, its numbers."""
_LARGEST_SHARE = 8
"""One entry may take this part of the whole at most."""
_TYPICAL = 2048
"""Bytes of an entry, to choose the sketch's size by: 32 places of one byte each for every entry that there is room for,
so that it goes back eight times as many requests."""
_SIGHTINGS = 2
"""Of a key before it is kept."""
_SATURATED = 255
_HALVE = bytes(value >> 1 for value in range(256))
_LEAF = frozenset({float, int, bool, str, bytes, type(None)})
_ALIKE = 1e-6


def weigh(value: Any) -> int:
    """Bytes of memory of plain values: what JSON has, tuples and bytes. What is shared counts each time. TypeError: a
    value of another type, whose memory is not known."""
    if type(value) in _LEAF:
        return sys.getsizeof(value)
    if isinstance(value, (list, tuple)):
        return sys.getsizeof(value) + sum(map(weigh, value))
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(map(weigh, value)) + sum(map(weigh, value.values()))
    raise TypeError(f"a {type(value).__name__} is not weighed")


class Sketch:
    """About how often hashes were counted lately, never too low until they are halved.

    A counting Bloom filter with conservative update: four places for each hash, of which the smallest counts. All are
    halved every quarter as many counts as there are places, which forgets what came once and what was popular, and
    keeps the filter so sparse that few take a place of another (at most one in six, just before it is halved).
    """

    def __init__(self, places: int) -> None:
        """`places`: a power of two."""
        self._table = bytearray(places)
        self._mask = places - 1
        self._left = self._period = places // 4

    def count(self, mark: int) -> int:
        """One more of `mark`; how many there were with it."""
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
        return min(map(self._table.__getitem__, self._places(mark)))

    def _places(self, mark: int) -> tuple[int, int, int, int]:
        """Of two halves of a hash (Kirsch and Mitzenmacher: "Less Hashing, Same Performance", 2006)."""
        mask, step = self._mask, mark >> 32 | 1
        return mark & mask, mark + step & mask, mark + 2 * step & mask, mark + 3 * step & mask


class Entry:
    """`value` as it was put; not to be changed by anybody. `expires`: on the cache's clock."""

    __slots__ = ("expires", "size", "value")

    def __init__(self, value: Any, expires: float, size: int) -> None:
        self.value = value
        self.expires = expires
        self.size = size


class Cache:
    """Keys must be of plain values too: they are weighed."""

    def __init__(self, max_bytes: int, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`ttl`: seconds after which an entry is given no more, counted from when it was put."""
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._clock = clock
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._bytes = 0
        self._sketch = Sketch(1 << min(20, max(10, (max_bytes // _TYPICAL).bit_length() + 4)))

    @property
    def bytes(self) -> int:
        """Bytes of memory that the entries take, keys included; never more than was allowed."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Entry | None:
        """What was put and is not too old. A sighting of the key either way."""
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
        """Whether `put` would be worth the value's making, while there is room."""
        return self._sketch.estimate(hash(key)) >= _SIGHTINGS

    def put(self, key: Hashable, value: Any, expires: float | None = None) -> Entry | None:
        """The new entry; None where the key has not earned its place. `expires`: of the entry that this one is made
        from, which it must not outlive."""
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
        self._entries.clear()
        self._bytes = 0

    def _make_room(self, size: int, popularity: int, now: float) -> bool:
        """Takes out the least recently used, unless one of them is still good and was asked for as often."""
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
    """Remembers some answers that were predicted, to notice a model that does not answer equal rows equally: by chance,
    by the clock, or by what it looks up. Such a model must not have a cache, whatever its spec says."""

    _MOST_ROWS = 8

    def __init__(self, places: int = 1024) -> None:
        """`places`: a power of two."""
        self._answers: list[tuple[int, Sequence[float | None]] | None] = [None] * places
        self._mask = places - 1

    def contradicts(self, key: Hashable, scores: Sequence[float | None]) -> bool:
        """Whether the model has answered the same key otherwise, beyond the rounding that a batch may bring."""
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
