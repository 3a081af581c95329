"""Durations, shares and sizes as people write them: `250ms`, `0.5%`, `1MiB`.

Each is a pydantic type. It consists of a parser, whose errors say what was expected and what may have been meant, a
writer, whose text the parser reads back as the same value, and a `Kind`, which names the type in the reference and in
errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError


@dataclass(frozen=True, slots=True)
class Kind:
    """The names of a type: `name` in the tables of the reference, `words` after "expected" in errors."""

    name: str
    words: str


def wrong(kind: Kind, meant: str | None = None) -> PydanticCustomError:
    """Returns the error for a value that is not of `kind`. `meant` is a suggestion, where there is one."""
    return PydanticCustomError("wrong_kind", "expected {expected}", {"expected": kind.words, "meant": meant})


_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-zµ%]*)\s*")


def _number_and_unit(text: str) -> tuple[Decimal, str] | None:
    found = _NUMBER.fullmatch(text)
    return (Decimal(found[1]), found[2]) if found else None


def _largest_exact(amount: int, units: Mapping[str, int]) -> str:
    """Returns `amount` in the largest unit of which it is a whole number. `units` are sorted from large to small, down
    to 1."""
    unit, size = next((unit, size) for unit, size in units.items() if amount % size == 0)
    return f"{amount // size}{unit}"


# --- durations --------------------------------------------------------------------------------------------

DURATION = Kind("duration", "a duration such as 250ms, 30s, 10m, 24h or 90d")

_MILLISECONDS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_DURATION_WORDS = {
    "msec": "ms", "millis": "ms", "milliseconds": "ms", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "min": "m", "mins": "m", "minute": "m", "minutes": "m", "hr": "h", "hour": "h", "hours": "h", "H": "h", "D": "d",
    "day": "d", "days": "d",
}  # fmt: skip
_LONGEST = 36_500 * _MILLISECONDS["d"]


def parse_duration(value: object) -> timedelta:
    """Parses a duration of whole milliseconds, at most a century. Raises an error that pydantic reports for the
    field."""
    if isinstance(value, timedelta):
        return value
    parts = _number_and_unit(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if parts is None:
        raise wrong(DURATION)
    number, unit = parts
    if unit not in _MILLISECONDS:
        known = _DURATION_WORDS.get(unit, "ms" if not unit and number >= 50 else "s" if not unit else None)
        raise wrong(DURATION, known and f"{number}{known}")
    milliseconds = number * _MILLISECONDS[unit]
    if milliseconds != int(milliseconds) or milliseconds > _LONGEST:
        raise wrong(Kind("duration", "a duration of whole milliseconds, at most 36500d"))
    return timedelta(milliseconds=int(milliseconds))


def format_duration(value: timedelta) -> str:
    """Returns the duration as `parse_duration` reads it."""
    milliseconds = value // timedelta(milliseconds=1)
    units = {
        unit: size for unit, size in _MILLISECONDS.items() if unit != "d" or milliseconds >= 2 * size
    }  # 24h, not 1d
    return "0s" if milliseconds == 0 else _largest_exact(milliseconds, units)


# --- shares -----------------------------------------------------------------------------------------------

SHARE = Kind("percentage", "a percentage such as 5% or 0.1%, above 0% and below 100%")


def parse_share(value: object) -> float:
    """Parses a fraction between 0 and 1, both excluded: `5%` or 0.05. The number 5 is refused, because it is
    ambiguous."""
    text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    parts = _number_and_unit(text) if "e" not in text else (Decimal(text), "") if isinstance(value, float) else None
    if parts is None or parts[1] not in ("", "%"):
        raise wrong(SHARE)
    number, unit = parts
    share = number / 100 if unit else number
    if not 0 < share < 1:
        raise wrong(SHARE, f"{number}%" if not unit and 1 <= number < 100 else None)
    return float(share)


def format_share(value: float) -> str:
    """Returns the share in percent, as `parse_share` reads it."""
    return f"{(Decimal(repr(value)) * 100).normalize():f}%"


# --- sizes ------------------------------------------------------------------------------------------------

SIZE = Kind("size", "a size such as 512KiB, 1MiB or 2GiB")

_BYTES = {
    "GiB": 2**30, "GB": 10**9, "MiB": 2**20, "MB": 10**6, "KiB": 2**10, "kB": 10**3, "B": 1,
}  # fmt: skip
_SIZE_WORDS = {"G": "GiB", "Gi": "GiB", "M": "MiB", "Mi": "MiB", "K": "KiB", "k": "KiB", "Ki": "KiB", "KB": "kB"}


def parse_size(value: object) -> int:
    """Parses a size of at least one byte. A number without a unit is in bytes, as in Kubernetes."""
    parts = _number_and_unit(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if parts is None:
        raise wrong(SIZE)
    number, unit = parts[0], parts[1] or "B"
    if unit not in _BYTES:
        folded = {known.lower(): known for known in _BYTES}
        known = _SIZE_WORDS.get(unit) or folded.get(unit.lower())
        raise wrong(SIZE, known and f"{number}{known}")
    size = number * _BYTES[unit]
    if size != int(size) or not 1 <= size <= 2**50:
        raise wrong(Kind("size", "a size of whole bytes, at least 1B and at most 1048576GiB"))
    return int(size)


def format_size(value: int) -> str:
    """Returns the size as `parse_size` reads it."""
    return _largest_exact(value, _BYTES)


# --- as pydantic types ------------------------------------------------------------------------------------


def _written(parse: Callable[[object], Any], write: Callable[[Any], str], kind: Kind, pattern: str) -> tuple[Any, ...]:
    json_schema = {"type": "string", "pattern": pattern, "description": kind.words}
    return BeforeValidator(parse), PlainSerializer(write, return_type=str), WithJsonSchema(json_schema), kind


Duration = Annotated[timedelta, *_written(parse_duration, format_duration, DURATION, r"^\d+(\.\d+)?\s*(ms|s|m|h|d)$")]
Share = Annotated[float, *_written(parse_share, format_share, SHARE, r"^\d+(\.\d+)?\s*%?$")]
Size = Annotated[int, *_written(parse_size, format_size, SIZE, r"^\d+(\.\d+)?\s*([GMK]iB|[GMk]?B)?$")]
