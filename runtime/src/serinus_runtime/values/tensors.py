"""Conversion of JSON arrays to NumPy arrays with a signature's dtype and shape."""

from __future__ import annotations

import re
from math import prod
from typing import Any, Mapping

from serinus_runtime.artifact.signature import TensorSpec
from serinus_runtime.base.errors import RequestError
from serinus_runtime.base.libraries import library
from serinus_runtime.values.convert import FLOATS
from serinus_runtime.values.payload import Tensor


def flat(tensor: Tensor) -> list[Any]:
    """Returns the values in row-major order. Raises RequestError where their number does not match the shape."""
    data = tensor.data
    while data and isinstance(data[0], list):
        if not all(isinstance(part, list) for part in data):
            raise RequestError("the data of an input is nested unevenly")
        data = [value for part in data for value in part]
    if tensor.shape is not None and len(data) != prod(tensor.shape):
        raise RequestError(f"an input of shape {list(tensor.shape)} has {len(data)} values")
    return list(data)


def array_of(tensor: Tensor, spec: TensorSpec) -> Any:
    """Returns the array. Raises RequestError where shape or type do not fit."""
    numpy = library("numpy")
    dtype = numpy.dtype(spec.dtype)
    _check_datatype(tensor.datatype, dtype, spec)
    if tensor.shape is not None:
        array = _reshaped(_typed(flat(tensor), dtype, spec), tensor.shape)
    else:
        if not isinstance(tensor.data, list):
            raise RequestError(f"{_label(spec)} takes an array")
        array = _typed(tensor.data, dtype, spec)
    fits = array.ndim == len(spec.shape) and all(want in (-1, size) for want, size in zip(spec.shape, array.shape))
    # MLflow reads one dimension of objects as any array.
    if not fits and not (dtype.kind == "O" and spec.shape == (-1,) and array.ndim):
        raise RequestError(f"{_label(spec)} takes shape {list(spec.shape)}, {list(array.shape)} was sent")
    if not len(array):
        raise RequestError("no rows were sent")
    return array


def _check_datatype(datatype: str | None, dtype: Any, spec: TensorSpec) -> None:
    """Checks `datatype`, which is that of the Open Inference Protocol. None: the request has none."""
    if datatype is None or dtype.kind == "O":
        return
    takes = {"b": "BOOL", "U": "BYTES", "S": "BYTES", "M": "BYTES"}.get(dtype.kind, "a datatype of numbers")
    if (datatype if datatype in ("BOOL", "BYTES") else "a datatype of numbers") != takes:
        raise RequestError(f"{_label(spec)} takes {takes}, {datatype} was sent")


def _reshaped(array: Any, shape: tuple[int, ...]) -> Any:
    try:
        return array.reshape(shape)
    except ValueError as error:  # It is empty, with sizes whose product NumPy cannot hold.
        raise RequestError(f"an input of shape {list(shape)} is too large") from error


def _label(spec: TensorSpec) -> str:
    return "the model's tensor" if spec.name is None else f"input '{spec.label}'"


def _typed(data: list[Any], dtype: Any, spec: TensorSpec) -> Any:
    numpy = library("numpy")
    if dtype.kind == "O":
        return _objects(data, spec)
    values = flat(Tensor(None, data))
    allowed = _ALLOWED.get(dtype.kind)
    if allowed is None:
        raise RequestError(f"{_label(spec)} takes {spec.dtype}, which no request has a form for")
    if not set(map(type, values)) <= allowed:
        raise RequestError(f"{_label(spec)} takes {spec.dtype}: something else was sent")
    if dtype.kind in "iu":
        limits = numpy.iinfo(dtype)
        if any(value != int(value) or not limits.min <= value <= limits.max for value in values):
            raise RequestError(f"{_label(spec)} takes {spec.dtype}: a number with a fraction or out of range was sent")
    try:
        with numpy.errstate(over="ignore"):
            array = _array(data, dtype)
    except UnicodeError as cause:
        raise RequestError(f"{_label(spec)} takes {spec.dtype}: a text was sent that it cannot hold") from cause
    except (ValueError, TypeError, OverflowError) as cause:
        raise RequestError(f"the data of {_label(spec)} is nested unevenly, or no {spec.dtype}") from cause
    # An infinity may be sent as raw bytes, but a number must not become one.
    if dtype.kind == "f" and numpy.isinf(array).any() and float("inf") not in map(abs, filter(None, values)):
        raise RequestError(f"{_label(spec)} takes {spec.dtype}: a number out of range was sent")
    if dtype.kind == "M":
        _check_times(values, dtype, spec)
    return array


_WHOLE = frozenset({int, float})
_ALLOWED: Mapping[str, frozenset[type]] = {
    "b": frozenset({bool}), "f": FLOATS, "i": _WHOLE, "u": _WHOLE, "U": frozenset({str}), "S": frozenset({str}),
    "M": frozenset({str, type(None)}),
}  # fmt: skip
"""The types of the values by the kind of a dtype."""


def _array(data: list[Any], dtype: Any) -> Any:
    numpy = library("numpy")
    if dtype.kind in "iu" and float in set(map(type, flat(Tensor(None, data)))):
        # A conversion through float64 would change numbers beyond 2^53.
        return numpy.array(data, dtype=object).astype(dtype)
    return numpy.array(data, dtype=dtype)


def _objects(data: list[Any], spec: TensorSpec) -> Any:
    numpy = library("numpy")
    try:
        return numpy.array(data, dtype=object)
    except ValueError as error:
        raise RequestError(f"the data of {_label(spec)} is nested unevenly") from error


def _check_times(values: list[Any], dtype: Any, spec: TensorSpec) -> None:
    """Checks times. NumPy reads many texts as times, and lets a time that the dtype cannot hold overflow."""
    numpy = library("numpy")
    texts = [value for value in values if value is not None]
    if not all(_ISO_TIME.fullmatch(text) for text in texts):
        raise RequestError(f"{_label(spec)} takes {spec.dtype}: a text is not an ISO 8601 time without a time zone")
    unit, count = numpy.datetime_data(dtype)
    if unit not in _PARTS:
        return
    # NumPy's conversion of the lower limit would overflow.
    last = count * ((1 << 63) - 1) // _PARTS[unit]
    ends = numpy.array([-last, last]).view("datetime64[us]")
    times = numpy.array(texts, dtype="datetime64[us]")
    if (times <= ends[0]).any() or (times >= ends[1]).any():
        raise RequestError(f"{_label(spec)} takes {spec.dtype}: a time is out of the range from {ends[0]} to {ends[1]}")


_ISO_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?", re.ASCII)
_PARTS = {"ns": 10**3, "ps": 10**6, "fs": 10**9, "as": 10**12}
"""Parts of a microsecond, for units whose 64 bits do not hold the years 1 to 9999."""
