"""What a model answered, as named tensors, as scores, and as MLflow writes predictions.

JSON has no NaN and no infinity: both are answered as null, and count as a missing score.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import json
import math
from typing import Any, NamedTuple, Sequence

from serinus_runtime import accelerators
from serinus_runtime.errors import ModelFailure
from serinus_runtime.libraries import loaded
from serinus_runtime.signature import datatype_of

DEFAULT_NAME = "output-0"


class Output(NamedTuple):
    """`data` is flat, row-major, JSON values or non-finite floats."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


def outputs_of(result: Any, names: Sequence[str | None] = ()) -> list[Output]:
    """`names`: of the signature's outputs. ModelFailure: not an answer that can be sent as tensors."""
    pandas = loaded("pandas")
    name = names[0] if len(names) == 1 and names[0] else DEFAULT_NAME
    if pandas is not None and isinstance(result, pandas.DataFrame):
        return [_of_array(str(column), result[column].to_numpy()) for column in result.columns]
    if pandas is not None and isinstance(result, pandas.Series):
        return [_of_array(name if name != DEFAULT_NAME or result.name is None else str(result.name), result.to_numpy())]
    if isinstance(result, dict):
        return [_of_array(str(key), _array(value)) for key, value in result.items()]
    return [_of_array(name, _array(result))]


def _array(value: Any) -> Any:
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return value
    if hasattr(value, "toarray"):  # a sparse matrix
        return value.toarray()
    numpy = loaded("numpy")
    if not isinstance(value, (list, tuple)) or numpy is None:
        raise ModelFailure(
            f"the model answered a {type(value).__name__}, which cannot be sent as tensors", "bad-answer"
        )
    try:
        return numpy.array(value)
    except ValueError as error:
        raise ModelFailure("the model answered rows of different lengths", "bad-answer") from error


@functools.lru_cache(maxsize=256)
def _datatype(dtype: Any) -> str:
    """Remembered, because the name of a dtype is put together each time it is asked for."""
    return datatype_of(str(dtype))


def _of_array(name: str, array: Any) -> Output:
    shape = [int(size) for size in array.shape]
    if not shape:
        raise ModelFailure("the model answered one value instead of one for each row", "bad-answer")
    data = array.tolist() if len(shape) == 1 else array.reshape(-1).tolist()
    datatype = _datatype(array.dtype)
    if datatype == "BYTES":
        data = [_plain(value) for value in data]
        if data and all(type(value) in (int, float) or value is None for value in data):
            datatype = "FP64"
    return Output(name, datatype, shape, data)


_PLAIN = frozenset({bool, int, float, str, type(None)})


def _plain(value: Any) -> Any:
    """One value of an object array as JSON has it."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    pandas = loaded("pandas")
    if pandas is not None and value is pandas.NA:
        return None
    raise ModelFailure(f"the model answered a {type(value).__name__}, which cannot be sent", "bad-answer")


def check_rows(outputs: Sequence[Output], expected: int) -> None:
    """ModelFailure where an output has not one row for each that was sent."""
    if not outputs:
        raise ModelFailure("the model answered nothing", "bad-answer")
    for output in outputs:
        if output.shape[0] != expected:
            raise ModelFailure(f"the model answered {output.shape[0]} rows for {expected}", "wrong-rows")


def joined(parts: Sequence[Any]) -> Any:
    """The results of rows that were predicted one by one, as if they had been predicted together."""
    first = parts[0]
    pandas, numpy = loaded("pandas"), loaded("numpy")
    if pandas is not None and isinstance(first, (pandas.DataFrame, pandas.Series)):
        return pandas.concat(parts, ignore_index=True)
    if isinstance(first, dict):
        return {key: joined([part[key] for part in parts]) for key in first}
    if isinstance(first, list):
        return [value for part in parts for value in part]
    if numpy is not None and isinstance(first, numpy.ndarray):
        return numpy.concatenate(parts)
    raise ModelFailure(f"{type(first).__name__} answers cannot be put together", "bad-answer")


def score_index(outputs: Sequence[Output], wanted: str | None) -> int:
    """Which output holds the score. KeyError names what there is."""
    if wanted is None:
        return 0
    names = [output.name for output in outputs]
    if wanted not in names:
        raise KeyError(f"there is no output '{wanted}'; the model answers: {', '.join(names)}")
    return names.index(wanted)


def scores_of(output: Output) -> list[float | None]:
    """One a row: the last column. None: not a finite number."""
    rows = output.shape[0]
    width = len(output.data) // rows if rows else 1
    values = output.data if width == 1 else output.data[width - 1 :: width]
    return [as_score(value) for value in values]


def as_score(value: Any) -> float | None:
    """None: not a finite number."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    return float(value) if isinstance(value, int) else None


def predictions_of(result: Any) -> Any:
    """As MLflow's own server writes them: a list, a dict, or the records of a DataFrame."""
    pandas = loaded("pandas")
    if pandas is not None and isinstance(result, pandas.DataFrame):
        names = [str(column) for column in result.columns]
        columns = [result[column].tolist() for column in result.columns]
        return [dict(zip(names, row)) for row in zip(*columns)]
    if isinstance(result, dict):
        return {str(key): predictions_of(value) for key, value in result.items()}
    if hasattr(result, "tolist"):
        return result.tolist()
    return result.toarray().tolist() if hasattr(result, "toarray") else result


_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_plain).encode


def encode(value: Any) -> bytes:
    """JSON. ModelFailure: a value that cannot be sent."""
    if accelerators.orjson is not None:
        try:
            return accelerators.orjson.dumps(value, _plain)  # type: ignore[no-any-return]
        except (TypeError, ValueError):
            # The standard library may know it: whole numbers beyond 64 bits, lone surrogates, keys that are no strings.
            return _write(value)
    return _write(value)


def _write(value: Any) -> bytes:
    try:
        return _encode(value).encode()
    except (ValueError, TypeError):
        # NaN, or keys that are no strings. Rare, so the way without them stays quick.
        return _encode(finite(value)).encode()


def finite(value: Any) -> Any:
    """The same value with null for each NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    return value if type(value) in _PLAIN else finite(_plain(value))
