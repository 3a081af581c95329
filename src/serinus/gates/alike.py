"""Whether two answers to the same rows are the same, whatever the protocols that they came by."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from serinus.gates.golden import same

Rows = Sequence[Sequence[Any]]
"""For each row the values of its answer, as JSON has them."""


def differing(expected: Rows, given: Rows) -> tuple[int, ...]:
    """Indices of the rows whose answers are not the same, within the tolerance of the golden rows. Where there are more
    or fewer answers than expected, all are."""
    if len(expected) != len(given):
        return tuple(range(max(len(expected), len(given))))
    return tuple(n for n, (one, other) in enumerate(zip(expected, given, strict=True)) if not _row(one, other))


def _row(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(map(_value, one, other))


def _value(one: Any, other: Any) -> bool:
    if _number(one) and _number(other):
        whole = isinstance(one, int) and isinstance(other, int)
        return one == other if whole else same(float(one), float(other))
    if isinstance(one, str) and isinstance(other, str):
        return one == other or _moment(one) == _moment(other) is not None or _bytes(one, other)
    return bool(one == other)


def _number(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


def _moment(text: str) -> datetime | None:
    """Protocols may write the same time in more than one form of ISO 8601."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _bytes(one: str, other: str) -> bool:
    """One protocol writes bytes in base64, another one as they are."""
    return other.encode() == _decoded(one) or one.encode() == _decoded(other)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
