"""A model's answers as named tensors and as scores.

JSON has no NaN and no infinity. Both are answered as null, and count as missing scores.
"""

from __future__ import annotations

import base64
import functools
import json
import math
from typing import Any, Callable, List, NamedTuple, Sequence

from serinus_runtime.artifact.signature import datatype_of
from serinus_runtime.base import accelerators
from serinus_runtime.base.errors import ModelFailure
from serinus_runtime.base.libraries import library, loaded
from serinus_runtime.values.plain import PLAIN, plain, texts_of_times

DEFAULT_NAME = "output-0"
Scores = List["float | None"]
"""One for each row. None: there is no finite number."""


class Output(NamedTuple):
    """An output. `data` is flat and row-major: JSON values, bytes, or floats that are not finite.

    `problem` says why no tensor can express it. Its `data` then have one value for each row, where there is one.
    `firm`: the datatype is that of an array or a column, and not derived from the values.
    """

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]
    problem: str = ""
    firm: bool = True


def outputs_of(result: Any, names: Sequence[Any] = ()) -> list[Output]:
    """Returns the outputs. `names` are those of the signature. An output that no tensor can express has a `problem`."""
    pandas = loaded("pandas")
    if pandas is not None and isinstance(result, pandas.DataFrame):
        names = result.columns.tolist()
        alike = len(set(names)) < len(names)
        columns = [result.iloc[:, at] if alike else result[name] for at, name in enumerate(names)]
        return _unlike([_of_series(str(name), column) for name, column in zip(names, columns)])
    name = str(names[0]) if len(names) == 1 and names[0] is not None else None
    if pandas is not None and isinstance(result, pandas.Series):
        own = DEFAULT_NAME if result.name is None else str(result.name)
        return [_of_series(own if name is None else name, result)]
    if isinstance(result, dict):
        return _unlike([_of_any(str(key), value) for key, value in result.items()])
    if isinstance(result, (list, tuple)) and result and all(isinstance(row, dict) for row in result):
        return _of_records(result)
    return [_of_any(DEFAULT_NAME if name is None else name, result)]


def _unlike(outputs: list[Output]) -> list[Output]:
    """Marks outputs with the same name as a problem."""
    names = [output.name for output in outputs]
    if len(set(names)) == len(names):
        return outputs
    problem = "it is not the only one of that name"
    return [output if names.count(output.name) == 1 else output._replace(problem=problem) for output in outputs]


def _of_records(rows: Sequence[Any]) -> list[Output]:
    """Returns an output for each key, from which a score can be taken. Tensors would be another format than the
    model's."""
    keys = dict.fromkeys(key for row in rows for key in row)
    problem = "the model answers a dictionary for each row"
    return [Output(str(key), "", [len(rows)], [row.get(key) for row in rows], problem, False) for key in keys]


def _of_any(name: str, value: Any) -> Output:
    pandas, numpy = loaded("pandas"), loaded("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        # A `numpy.matrix` always has two dimensions, also after a reshape to one.
        return _of_array(name, value.view(numpy.ndarray) if isinstance(value, numpy.matrix) else value)
    if pandas is not None and isinstance(value, pandas.Series):
        return _of_series(name, value)
    if hasattr(value, "toarray"):  # A sparse matrix.
        return _of_array(name, value.toarray())
    if isinstance(value, (list, tuple)):
        return _of_list(name, value)
    if numpy is not None and _sized(value):  # A tensor of a framework.
        return _of_array(name, numpy.asarray(value))
    return _alone(name, value)


def _alone(name: str, value: Any) -> Output:
    """Returns an answer without rows."""
    try:
        what = "nothing" if plain(value) is None else "one value"
    except TypeError:
        what = f"a {type(value).__name__}"
    return _unsendable(name, [], [value], f"the model answered {what} instead of one for each row")


def _unsendable(name: str, shape: Sequence[int], data: list[Any], problem: str) -> Output:
    return Output(name, "", list(shape), data, problem, False)


@functools.lru_cache(maxsize=256)
def _datatype(dtype: Any) -> str:
    """Returns the datatype. Empty: it depends on the values. Cached, because NumPy composes the name of a dtype each
    time."""
    return datatype_of(str(dtype)) if dtype.kind in "biuf" and dtype.itemsize <= 8 else ""


def _of_array(name: str, array: Any) -> Output:
    shape = list(array.shape)
    datatype = _datatype(array.dtype)
    if not shape:
        return _alone(name, array.item())
    if datatype:
        return Output(name, datatype, shape, array.tolist() if len(shape) == 1 else array.reshape(-1).tolist())
    kind = array.dtype.kind
    if kind in "Mm":
        try:
            return Output(name, "BYTES", shape, texts_of_times(array))
        except TypeError as error:
            return _unsendable(name, shape[:1], array.tolist(), f"it holds {error}")
    if kind in "SU":
        return Output(name, "BYTES", shape, array.reshape(-1).tolist())
    if kind == "O":
        return _of_values(name, shape, array.reshape(-1).tolist())
    return _unsendable(name, shape[:1], array.tolist(), f"it is of the type {array.dtype}")


def _of_series(name: str, series: Any) -> Output:
    dtype, numpy = series.dtype, loaded("numpy")
    if numpy is not None and isinstance(dtype, numpy.dtype):
        return _of_array(name, series.to_numpy())
    datatype = _datatype_of_pandas(dtype)
    output = _of_values(name, [len(series)], series.tolist())
    if not datatype or output.problem:
        return output
    data = output.data
    if not datatype.startswith("FP"):
        # In a categorical column of texts or integers, NaN stands for a missing value.
        data = [None if value != value else value for value in data]
    return Output(name, datatype, output.shape, data)


def _datatype_of_pandas(dtype: Any) -> str:
    """Returns the datatype of a type of pandas, whether or not a value is missing. Empty: it depends on the values."""
    for part in ("numpy_dtype", "subtype"):  # Nullable and Arrow types, and sparse ones.
        own = getattr(dtype, part, None)
        if own is not None and hasattr(own, "kind") and _datatype(own):
            return _datatype(own)
    categories = getattr(dtype, "categories", None)
    if categories is not None:
        own = categories.dtype
        return _datatype(own) if isinstance(own, library("numpy").dtype) else _datatype_of_pandas(own)
    texts = getattr(dtype, "type", None) is str or getattr(dtype, "tz", None) is not None
    return "BYTES" if texts else ""


def _of_list(name: str, values: Sequence[Any]) -> Output:
    if not any(isinstance(value, (list, tuple)) or _sized(value) for value in values):
        return _of_values(name, [len(values)], list(values))
    numpy = loaded("numpy")
    if numpy is None:
        return _unsendable(name, [len(values)], list(values), "it holds a list for each row")
    if all(isinstance(value, numpy.ndarray) for value in values) and len({_form(value) for value in values}) == 1:
        return _of_array(name, numpy.stack(values))
    try:
        array = numpy.array(values, dtype=object)
    except ValueError:  # Rows of different lengths, of which the first ones are equal.
        return _unsendable(name, [len(values)], list(values), "its rows are of different lengths")
    output = _of_values(name, array.shape, array.reshape(-1).tolist())
    if output.problem:
        return _unsendable(name, [len(values)], list(values), "its rows are of different lengths or hold no values")
    return output


def _sized(value: Any) -> bool:
    """Whether it is an array with a length."""
    return hasattr(value, "__array__") and bool(getattr(value, "shape", None))


def _form(array: Any) -> Any:
    return array.dtype.str, array.shape


def _of_values(name: str, shape: Sequence[int], values: list[Any]) -> Output:
    """Returns an output of values without a common type: numbers, booleans, or else texts."""
    try:
        data = [plain(value) for value in values]
    except TypeError as error:
        return _unsendable(name, list(shape)[:1], values, f"it holds {error}")
    # Among texts and booleans, NaN stands for a missing value, as in pandas.
    kinds = {type(value) for value in data if value is not None and value == value}
    if kinds <= {int, float} and any(value is not None for value in data):
        return Output(name, "FP64", list(shape), data, "", False)
    data = [None if value != value else value for value in data]
    if kinds == {bool}:
        return Output(name, "BOOL", list(shape), data, "", False)
    texts = data if kinds <= {str, bytes} else list(map(as_text, data))
    return Output(name, "BYTES", list(shape), texts, "", False)


def as_text(value: Any) -> Any:
    """Returns an element of a tensor of texts. Values other than texts, bytes and missing ones are written as JSON."""
    return value if value is None or isinstance(value, (str, bytes)) else json.dumps(finite(value))


def check_rows(outputs: Sequence[Output], expected: int) -> None:
    """Raises ModelFailure where an output has not one row for each row of the request."""
    if not outputs:
        raise ModelFailure("the model answered nothing", "bad-answer")
    for output in outputs:
        if not output.shape:
            raise ModelFailure(f"output '{output.name}': {output.problem}", "bad-answer")
        if output.shape[0] != expected:
            raise ModelFailure(f"the model answered {output.shape[0]} rows for {expected}", "wrong-rows")


def joined(parts: Sequence[Any]) -> Any:
    """Joins the results of rows that were predicted one by one."""
    first = parts[0]
    pandas, numpy = loaded("pandas"), loaded("numpy")
    if pandas is not None and isinstance(first, (pandas.DataFrame, pandas.Series)):
        return pandas.concat(parts, ignore_index=True)
    if isinstance(first, dict):
        if any(part.keys() != first.keys() for part in parts):
            raise ModelFailure("the model answered other keys for one row than for another", "bad-answer")
        return {key: joined([part[key] for part in parts]) for key in first}
    if isinstance(first, (list, tuple)):
        return [value for part in parts for value in part]
    if numpy is not None and isinstance(first, numpy.ndarray):
        return numpy.concatenate(parts)
    raise ModelFailure(f"{type(first).__name__} answers cannot be put together", "bad-answer")


def score_index(outputs: Sequence[Output], wanted: str | None) -> int:
    """Returns the index of the output with the score. Of two with the same name it is the last, as in MLflow's
    protocol. KeyError names the outputs."""
    if wanted is None:
        return 0
    names = [output.name for output in outputs]
    if wanted not in names:
        raise KeyError(f"there is no output '{wanted}'; the model answers: {', '.join(names)}")
    return len(names) - 1 - names[::-1].index(wanted)


def scores_of(output: Output) -> Scores:
    """Returns one score for each row, from the last column. None: it is not a finite number. Texts are never scores.

    An answer without rows, which only rows that belong together have, is the score itself.
    """
    if not output.shape:
        return [as_score(value) for value in output.data]
    rows = output.shape[0]
    if output.datatype == "BYTES":
        return [None] * rows
    width = len(output.data) // rows if rows else 1
    if not width:
        return [None] * rows
    values = output.data if width == 1 else output.data[width - 1 :: width]
    return [as_score(value) for value in values]


def as_score(value: Any) -> float | None:
    """Returns a score. None: it is not a finite number."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if type(value) is int or type(value) is bool:
        return float(value)
    try:
        value = plain(value)
    except TypeError:
        return None
    return as_score(value) if type(value) in (float, int, bool) else None


def _default(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value.tolist() if hasattr(value, "tolist") else plain(value)


_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_default).encode


def encode(value: Any) -> bytes:
    """Returns JSON, with bytes as base64. Raises ModelFailure for a value that cannot be sent."""
    if accelerators.orjson is not None:
        try:
            return accelerators.orjson.dumps(value, _default)  # type: ignore[no-any-return]
        except (TypeError, ValueError):
            # The standard library may accept it: integers beyond 64 bits, lone surrogates, keys that are not strings.
            return _write(value)
    return _write(value)


def _write(value: Any) -> bytes:
    try:
        return _encode(value).encode()
    except (ValueError, TypeError):
        # NaN, or keys that are not strings. They are rare, so that the usual case stays fast.
        return _refusing(lambda: _encode(finite(value)).encode())


def _refusing(write: Callable[[], bytes]) -> bytes:
    try:
        return write()
    except (ValueError, TypeError) as error:
        raise ModelFailure("the model answered a value that cannot be sent", "bad-answer") from error


def finite(value: Any) -> Any:
    """Replaces NaN and infinities by null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    return value if type(value) in PLAIN else finite(_default(value))
