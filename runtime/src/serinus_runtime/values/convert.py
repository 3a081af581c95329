"""Conversion of JSON values to the typed columns of a signature. Errors name the column and the type, never the
value."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any, Callable, Sequence

from serinus_runtime.artifact.signature import Column
from serinus_runtime.base.errors import RequestError
from serinus_runtime.base.libraries import library

NOTHING = type(None)
FLOATS: frozenset[type] = frozenset({int, float, NOTHING})
_KIND_NAMES = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", NOTHING: "null",
               list: "an array", dict: "an object"}  # fmt: skip
_RANGES = {"integer": (-(1 << 31), (1 << 31) - 1), "long": (-(1 << 63), (1 << 63) - 1)}

Convert = Callable[[Sequence[Any], Column], Any]


def column_error(column: Column, what: str) -> RequestError:
    """Returns an error about the column."""
    label = f"column '{column.label}'" if column.name is not None else "an unnamed column"
    return RequestError(f"{label} takes {column.type}: {what}")


def check_types(values: Sequence[Any], column: Column, allowed: frozenset[type]) -> None:
    """Raises RequestError where a value has none of the types."""
    if allowed.issuperset(map(type, values)):
        return
    wrong = next(value for value in values if type(value) not in allowed)
    if wrong is None:
        raise column_error(column, "null was sent, which it does not allow")
    raise column_error(column, f"{_KIND_NAMES.get(type(wrong), 'something else')} was sent")


def floats(values: Sequence[Any], kind: str) -> Any | None:
    """Returns an array of `kind` (float64 or float32), with null as NaN. None: a number is too large for it.

    MLflow's scoring server would make such a number infinite, and the model would answer something that nobody sent.
    """
    numpy = library("numpy")
    try:
        array = numpy.array(values, dtype="float64")
    except OverflowError:  # An integer that no float can hold.
        return None
    if kind == "float32":
        with numpy.errstate(over="ignore"):
            array = array.astype(kind)
    return None if numpy.isinf(array).any() else array


def to_floats(values: Sequence[Any], column: Column) -> Any:
    """Returns floats, with null as NaN."""
    check_types(values, column, FLOATS)
    array = floats(values, "float64" if column.type == "double" else "float32")
    if array is None:
        raise column_error(column, "a number is out of range")
    return array


_WHOLE: frozenset[type] = frozenset({int, float})


def whole(values: Sequence[Any], column: Column) -> Sequence[int]:
    """Returns integers within the range of the column. 3.0 counts as one."""
    check_types(values, column, _WHOLE)
    if float in map(type, values):
        if not all(type(value) is int or value.is_integer() for value in values):
            raise column_error(column, "a number with a fraction was sent")
        values = [int(value) for value in values]
    low, high = _RANGES[column.type]
    if values and (min(values) < low or max(values) > high):
        raise column_error(column, "a number is out of range")
    return values


def to_integers(values: Sequence[Any], column: Column) -> Any:
    """Returns integers."""
    return library("numpy").array(whole(values, column), dtype="int32" if column.type == "integer" else "int64")


def _optional(kind: type, column: Column) -> frozenset[type]:
    return frozenset({kind}) if column.required else frozenset({kind, NOTHING})


def _check_texts(values: Sequence[Any], column: Column) -> None:
    """Checks texts and missing values: null, or NaN of CSV, which JSON cannot express."""
    present = values if column.required else [value for value in values if value == value]
    check_types(present, column, _optional(str, column))


def to_booleans(values: Sequence[Any], column: Column) -> Any:
    """Returns booleans."""
    check_types(values, column, _optional(bool, column))
    # As in MLflow, booleans with a null among them stay objects, because null is not false.
    return library("numpy").array(values, dtype=object if None in values else bool)


def to_strings(values: Sequence[Any], column: Column) -> Any:
    """Returns texts."""
    _check_texts(values, column)
    try:
        "".join(value for value in values if type(value) is str).encode()
    except UnicodeEncodeError as error:
        raise column_error(column, "a string is not valid Unicode") from error
    return to_objects(values, column)


def to_objects(values: Sequence[Any], column: Column) -> Any:  # noqa: ARG001
    """Returns values of any type."""
    array = library("numpy").empty(len(values), dtype=object)
    array[:] = values
    return array


def to_binaries(values: Sequence[Any], column: Column) -> Any:
    """Returns bytes from base64."""
    _check_texts(values, column)
    try:
        decoded = [_decoded(value) if type(value) is str else value for value in values]
    except (binascii.Error, ValueError) as error:
        raise column_error(column, "a string is not base64") from error
    return to_objects(decoded, column)


def _decoded(text: str) -> bytes:
    """Decodes base64 with line ends, as `base64.encodebytes` writes it."""
    return base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)


_TIMES: frozenset[type] = frozenset({str, int})
_NO_TIME = "a text is not an ISO 8601 time"
_TIME_RANGE = (
    "a time is out of range; nanoseconds since 1970 hold 1677-09-21T00:12:43.145224193 to 2262-04-11T23:47:16.854775807"
)


def to_datetimes(values: Sequence[Any], column: Column) -> Any:
    """Returns times from texts or from integers, which are nanoseconds since 1970."""
    check_types(values, column, _TIMES if column.required else _TIMES | {NOTHING})
    kinds = set(map(type, values)) - {NOTHING}
    if len(kinds) > 1:
        raise column_error(column, "texts and numbers were sent together")
    if int in kinds:
        return _of_nanoseconds(values, column)
    # A text without a digit is a word such as `now`, which pandas reads as the present time.
    if not all(value is None or any(map(str.isdigit, value)) for value in values):
        raise column_error(column, _NO_TIME)
    pandas = library("pandas")
    out_of_range = pandas.errors.OutOfBoundsDatetime
    try:
        times = _read_times(pandas, pandas.Series(list(values), dtype=object))
        if getattr(times.dtype, "tz", None) is None and times.dtype != object and hasattr(times.dt, "as_unit"):
            # pandas 3 uses microseconds or seconds, and NumPy would let them overflow.
            times = times.dt.as_unit("ns")
    except out_of_range as error:
        raise column_error(column, _TIME_RANGE) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise column_error(column, _NO_TIME) from error
    if getattr(times.dtype, "tz", None) is not None or times.dtype == object:
        raise column_error(column, "times are sent without a time zone")
    return times.to_numpy().astype("datetime64[ns]")


def _read_times(pandas: Any, texts: Any) -> Any:
    """Parses times. pandas 2 uses the format of the first text for all, but treats ISO 8601 as one format at any
    precision."""
    try:
        return pandas.to_datetime(texts)
    except pandas.errors.OutOfBoundsDatetime:
        raise
    except ValueError:
        return pandas.to_datetime(texts, format="ISO8601")


def _of_nanoseconds(values: Sequence[Any], column: Column) -> Any:
    numpy = library("numpy")
    if any(value is not None and not -(1 << 63) < value < 1 << 63 for value in values):
        raise column_error(column, _TIME_RANGE)
    nothing = numpy.iinfo("int64").min
    return numpy.array([nothing if value is None else value for value in values], dtype="int64").view("datetime64[ns]")


CONVERSIONS: dict[str, Convert] = {
    "double": to_floats,
    "float": to_floats,
    "integer": to_integers,
    "long": to_integers,
    "boolean": to_booleans,
    "string": to_strings,
    "binary": to_binaries,
    "datetime": to_datetimes,
    "any": to_objects,
    "array": to_objects,
    "object": to_objects,
    "map": to_objects,
}


def from_text(values: Sequence[str], column: Column) -> list[Any]:
    """Returns the JSON values of a CSV column's texts.

    An empty text is null. For an optional column of texts it is NaN, which MLflow passes to the model and an imputer
    may distinguish from null. CSV cannot express bytes, and MLflow's server passes the text.
    """
    if column.type == "binary":
        raise column_error(column, "CSV cannot hold bytes; send them as base64 in JSON")
    if column.type == "string" and not column.required:
        return [value or math.nan for value in values]
    if column.type in ("string", "datetime", "any"):
        return [value or None for value in values]
    return [_scalar(value, column) for value in values]


_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def _scalar(text: str, column: Column) -> Any:
    text = text.strip()
    if text in ("", "NaN", "nan", "null", "NULL", "NA"):
        return None
    if column.type == "boolean":
        if text not in _BOOLEANS:
            raise column_error(column, "text was sent that is neither true nor false")
        return _BOOLEANS[text]
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError as error:
        raise column_error(column, "text was sent that is not a number") from error
