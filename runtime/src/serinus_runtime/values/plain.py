"""Single values of a model's answer as JSON values, whichever library they come from.

Times are in ISO 8601 as pandas writes them, durations are in ISO 8601, and missing values are None. Bytes stay bytes,
which each protocol expresses differently.
"""

from __future__ import annotations

import datetime
import decimal
from typing import Any

from serinus_runtime.base.libraries import library, loaded

PLAIN = frozenset({bool, int, float, str, bytes, type(None)})
_NANOSECONDS = {
    "W": 604_800 * 10**9, "D": 86_400 * 10**9, "h": 3_600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000,
    "ns": 1,
}  # fmt: skip
_COARSE = ("h", "m")


def plain(value: Any) -> Any:
    """Returns a JSON value. Raises TypeError, which names the type, where it is not a single value or its type is
    unknown."""
    if type(value) in PLAIN:
        return value
    if is_missing(value):
        return None
    if isinstance(value, (str, bytes, bytearray)):
        return str(value) if isinstance(value, str) else bytes(value)
    numpy = loaded("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return _of_numpy(value)
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.timedelta):
        return duration(_nanoseconds(value))
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, int):  # An enumeration of numbers.
        return int(value)
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"a value of the type {type(value).__name__}")


def is_missing(value: Any) -> bool:
    """Whether it is None, pandas' NA, or NaT. NaN is a number."""
    if value is None:
        return True
    pandas = loaded("pandas")
    return pandas is not None and any(value is getattr(pandas, name, None) for name in ("NA", "NaT"))


def texts_of_times(array: Any) -> list[Any]:
    """Returns the texts of a NumPy array of datetime64 or timedelta64, flat. None: a missing value."""
    flat = array.reshape(-1)
    missing = library("numpy").isnat(flat).tolist()
    texts = _durations(flat) if array.dtype.kind == "m" else _times(flat)
    return [None if gone else text for gone, text in zip(missing, texts)]


def duration(nanoseconds: int) -> str:
    """Returns ISO 8601 in the form that pandas writes and reads: `P1DT2H3M4.5S`. Of a negative one only the days are
    negative."""
    days, rest = divmod(nanoseconds, _NANOSECONDS["D"])
    seconds, fraction = divmod(rest, 1_000_000_000)
    part = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"P{days}DT{seconds // 3600}H{seconds // 60 % 60}M{seconds % 60}{part}S"


def _of_numpy(value: Any) -> Any:
    if value.dtype.kind in "Mm":
        return texts_of_times(library("numpy").array([value]))[0]
    own = value.item()
    if type(own) not in PLAIN:  # A complex number, or one with more digits than a float.
        raise TypeError(f"a value of the type {type(value).__name__}")
    return own


def _nanoseconds(value: datetime.timedelta) -> int:
    whole = (value.days * 86_400 + value.seconds) * 1_000_000_000 + value.microseconds * 1000
    return whole + int(getattr(value, "nanoseconds", 0))  # pandas' own types have it.


def _times(array: Any) -> list[str]:
    numpy = library("numpy")
    unit = numpy.datetime_data(array.dtype)[0]
    array = array.astype("datetime64[s]") if unit in _COARSE else array
    array = array.astype("datetime64[D]") if unit in ("Y", "M", "W") else array
    return [_shortened(text) for text in numpy.datetime_as_string(array).tolist()]


def _shortened(text: str) -> str:
    """Returns the text without a zero fraction, or with six or nine digits of it, as Python and pandas write it."""
    whole, point, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    if not point or not fraction:
        return whole
    return f"{whole}.{fraction.ljust(6 if len(fraction) <= 6 else 9, '0')}"


def _durations(array: Any) -> list[str]:
    numpy = library("numpy")
    unit, count = numpy.datetime_data(array.dtype)
    if unit not in _NANOSECONDS:
        raise TypeError(f"a value of the type {array.dtype}")
    return [duration(ticks * count * _NANOSECONDS[unit]) for ticks in array.astype("int64").tolist()]
