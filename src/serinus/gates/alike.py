"""Comparison of answers to the same rows that arrived by different protocols."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from serinus.gates.golden import same

Rows = Sequence[Sequence[Any]]
"""All values of each row's answer, as JSON values."""


def differing(expected: Rows, given: Rows) -> tuple[int, ...]:
    """Returns the indices of the rows whose answers differ by more than the tolerance of the golden rows.

    Where the number of answers differs, all indices are returned.
    """
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
    return bool(one == other) or _in_words(one, other) or _in_words(other, one)


def _in_words(value: Any, text: Any) -> bool:
    """Whether a value equals its form in another protocol.

    MLflow writes times as nanoseconds. The other protocols write an ISO 8601 time or duration. A missing time is `NaT`
    in MLflow and null in the others.
    """
    if value is None:
        return bool(text == "NaT")
    whole = isinstance(text, str) and isinstance(value, int) and not isinstance(value, bool)
    return whole and value in (_nanoseconds(text), _duration(text))


def _nanoseconds(text: str) -> int | None:
    """Returns the nanoseconds since 1970 of an ISO 8601 time without a zone. None: it is not one."""
    whole, _, fraction = text.partition(".")
    moment = _moment(whole)
    if moment is None or moment.tzinfo is not None or not (fraction or "0").isdigit():
        return None
    seconds = (moment - datetime(1970, 1, 1)) // timedelta(seconds=1)
    return seconds * 10**9 + int(fraction.ljust(9, "0")[:9])


def _duration(text: str) -> int | None:
    """Returns the nanoseconds of an ISO 8601 duration in the worker's format. None: it is not one."""
    found = re.fullmatch(r"P(-?\d+)DT(\d+)H(\d+)M(\d+)(?:\.(\d{1,9}))?S", text)
    if found is None:
        return None
    days, hours, minutes, seconds = map(int, found.groups()[:4])
    return (days * 86_400 + hours * 3_600 + minutes * 60 + seconds) * 10**9 + int((found[5] or "").ljust(9, "0"))


def _number(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


def _moment(text: str) -> datetime | None:
    """Returns the time of an ISO 8601 text. Protocols use different forms of the same time. None: it is not a time."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _bytes(one: str, other: str) -> bool:
    """Whether one text is the base64 encoding of the other. Some protocols encode bytes, others do not."""
    decoded = _decoded(one), _decoded(other)
    return other.encode() == decoded[0] or one.encode() == decoded[1] or decoded[0] == decoded[1] is not None


def _decoded(text: str) -> bytes | None:
    """Decodes base64, which MLflow breaks into lines."""
    try:
        return base64.b64decode(text.replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        return None
