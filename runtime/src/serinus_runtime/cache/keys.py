"""The keys of the response cache. The same features have one key, however they are sent.

Two requests have the same key exactly where the model gets the same input: rows in the signature's order, each value as
the declared type of its column makes it, and the same params. 1, 1.0 and 1e0 are one double, and so are two numbers
with the same float32. Values that could make a difference have different keys: 1, true and "1"; 0.0 and -0.0; null and
a missing column. Values without a declared type are distinguished as exactly as in JSON. A key contains all values and
not a digest of them, so there are no collisions.
"""

from __future__ import annotations

import json
import math
import struct
from operator import itemgetter
from typing import Any, Callable, Mapping, Sequence

from serinus_runtime.artifact.signature import Column, Signature
from serinus_runtime.values.inputs import Bound, TableBound

_NUMBERS: frozenset[type] = frozenset({int, float})
_NUMBERS_OR_NULL: frozenset[type] = frozenset({int, float, type(None)})
_CODES = {"double": "d", "float": "f", "long": "q", "integer": "i"}
_NAN = math.nan
_MOST_PLANS = 64

_exactly = json.JSONEncoder(separators=(",", ":")).encode
"""JSON distinguishes types, and Python writes floats so that they are read back bit by bit."""


class _NoKey(Exception):
    """A value that the model would refuse, or that has no canonical form."""


_NONE = (_NoKey, ValueError, TypeError, OverflowError, RecursionError, struct.error)


class CacheKeys:
    """Keys for one signature of one release."""

    def __init__(self, signature: Signature, scope: str) -> None:
        """`scope` identifies the release and everything else that changes its answers."""
        self._scope = scope.encode()
        self._plans: dict[Sequence[Column], _Plan] = {}
        self._whole = _Plan(self._scope + b"\0", signature.columns) if signature.columns else None

    def key(self, bound: Bound, params: Mapping[str, Any] | None = None) -> bytes | None:
        """Returns the key of rows. None: they have none and must be predicted. Never raises."""
        try:
            if isinstance(bound, TableBound):
                key = self._plan(bound.frames.columns).key(bound.rows)
            else:
                key = self._scope + b"\0" + _of_data(bound)
            return key + _exactly(params).encode() if params else key
        except _NONE:
            return None

    def row_key(self, row: Sequence[Any]) -> bytes | None:
        """Returns the key of one row of all the signature's columns in their order. It equals that of `key`."""
        assert self._whole is not None
        try:
            return self._whole.key((row,))
        except _NONE:
            return None

    def _plan(self, columns: Sequence[Column]) -> _Plan:
        if self._whole is not None and columns is self._whole.columns:
            return self._whole
        plan = self._plans.get(columns)
        if plan is None:
            names = _exactly([column.name for column in columns]).encode()
            plan = _Plan(b"%b\0%d\0%b" % (self._scope, len(names), names), columns)
            if len(self._plans) < _MOST_PLANS:
                self._plans[columns] = plan
        return plan


class _Plan:
    """Keys of rows of fixed columns: numbers are packed, other values are JSON."""

    def __init__(self, head: bytes, columns: Sequence[Column]) -> None:
        """`head` distinguishes these columns from other selections of the signature's columns."""
        self.columns = columns
        self._head = head + b"\0"
        numbers = [i for i, column in enumerate(columns) if column.type in _CODES]
        others = [i for i in range(len(columns)) if i not in set(numbers)]
        self._whole = [at for at, i in enumerate(numbers) if columns[i].type in ("long", "integer")]
        self._only_numbers = not others
        self._numbers, self._others = _picker(numbers), _picker(others)
        self._pack = struct.Struct("<" + "".join(_CODES[columns[i].type] for i in numbers)).pack

    def key(self, rows: Sequence[Sequence[Any]]) -> bytes:
        if self._only_numbers:
            packed = [self._packed(row) for row in rows]
            return b"%b%d\0%b" % (self._head, len(rows), packed[0] if len(packed) == 1 else b"".join(packed))
        packed = [self._packed(self._numbers(row)) for row in rows]
        others = _exactly([self._others(row) for row in rows]).encode()
        return b"%b%d\0%b%b" % (self._head, len(rows), b"".join(packed), others)

    def _packed(self, values: Sequence[Any]) -> bytes:
        if not _NUMBERS.issuperset(map(type, values)):
            if not _NUMBERS_OR_NULL.issuperset(map(type, values)):
                raise _NoKey
            values = [_NAN if value is None else value for value in values]
        if self._whole:
            values = list(values)
            for at in self._whole:
                values[at] = _whole(values[at])
        return self._pack(*values)


def _whole(value: float) -> int:
    """Returns the number as the signature's conversion does. -0.0 has no key, because one way to predict drops its sign
    and another keeps it."""
    if type(value) is int:
        return value
    if not value.is_integer() or (value == 0 and math.copysign(1, value) < 0):
        raise _NoKey
    return int(value)


def _picker(places: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Returns a function that picks the values at `places`, always as a sequence."""
    if len(places) == 1:
        only = places[0]
        return lambda row: (row[only],)
    return itemgetter(*places) if places else lambda _: ()


def _of_data(bound: Bound) -> bytes:
    """Returns the key of input without columns: arrays by their bytes, and values without a declared type as they were
    sent."""
    sent = getattr(bound, "sent", None)
    if sent is not None:
        return _exactly(sent).encode()
    data = bound.data()
    if isinstance(data, dict):
        return b"".join(_exactly(name).encode() + _of_array(array) for name, array in data.items())
    return _of_array(data)


def _of_array(array: Any) -> bytes:
    head = f"{array.dtype.str}{array.shape}".encode()
    content = _exactly(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()
    return b"%b%d\0%b" % (head, len(content), content)
