"""JSON arrays as numpy arrays of a signature's dtype and shape."""

from __future__ import annotations

from math import prod
from typing import Any

from serinus_runtime.convert import FLOATS
from serinus_runtime.errors import RequestError
from serinus_runtime.libraries import library
from serinus_runtime.payload import Tensor
from serinus_runtime.signature import TensorSpec


def flat(tensor: Tensor) -> list[Any]:
    """The values in row-major order. RequestError: their number is not what the shape says."""
    data = tensor.data
    while data and isinstance(data[0], list):
        if not all(isinstance(part, list) for part in data):
            raise RequestError("the data of an input is nested unevenly")
        data = [value for part in data for value in part]
    if tensor.shape is not None and len(data) != prod(tensor.shape):
        raise RequestError(f"an input of shape {list(tensor.shape)} has {len(data)} values")
    return list(data)


def array_of(tensor: Tensor, spec: TensorSpec) -> Any:
    """RequestError: shape or type do not fit."""
    numpy = library("numpy")
    dtype = numpy.dtype(spec.dtype)
    if tensor.shape is not None:
        array = _reshaped(_typed(flat(tensor), dtype, spec), tensor.shape)
    else:
        if not isinstance(tensor.data, list):
            raise RequestError(f"{_label(spec)} takes an array")
        array = _typed(tensor.data, dtype, spec)
    fits = array.ndim == len(spec.shape) and all(want in (-1, size) for want, size in zip(spec.shape, array.shape))
    if not fits:
        raise RequestError(f"{_label(spec)} takes shape {list(spec.shape)}, {list(array.shape)} was sent")
    if not len(array):
        raise RequestError("no rows were sent")
    return array


def _reshaped(array: Any, shape: tuple[int, ...]) -> Any:
    try:
        return array.reshape(shape)
    except ValueError as error:  # nothing, but of sizes whose product numpy cannot hold
        raise RequestError(f"an input of shape {list(shape)} is too large") from error


def _label(spec: TensorSpec) -> str:
    return "the model's tensor" if spec.name is None else f"input '{spec.name}'"


def _typed(data: list[Any], dtype: Any, spec: TensorSpec) -> Any:
    numpy = library("numpy")
    error = RequestError(f"{_label(spec)} takes {spec.dtype}: something else was sent")
    if dtype.kind in "OSU":
        return numpy.array(data, dtype=object)
    values = flat(Tensor(None, data))
    allowed = {bool} if dtype.kind == "b" else FLOATS if dtype.kind == "f" else {int, float}
    if not set(map(type, values)) <= allowed:
        raise error
    if dtype.kind in "iu":
        limits = numpy.iinfo(dtype)
        if any(value != int(value) or not limits.min <= value <= limits.max for value in values):
            raise RequestError(f"{_label(spec)} takes {spec.dtype}: a number with a fraction or out of range was sent")
    elif dtype.kind not in "bf":
        raise error
    try:
        with numpy.errstate(over="ignore"):
            array = numpy.array(data, dtype=dtype)
    except (ValueError, TypeError, OverflowError) as cause:
        raise RequestError(f"the data of {_label(spec)} is nested unevenly or out of range") from cause
    # An infinity may be sent, as raw bytes; a number may not become one.
    if dtype.kind == "f" and numpy.isinf(array).any() and float("inf") not in map(abs, filter(None, values)):
        raise RequestError(f"{_label(spec)} takes {spec.dtype}: a number out of range was sent")
    return array
