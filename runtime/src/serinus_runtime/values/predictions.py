"""Answers by MLflow's scoring protocol, as MLflow's own server writes them.

It asks pandas for the records of a DataFrame and of a Series, numpy for the lists of an array, and leaves the rest to
a JSON encoder that knows numpy's numbers, times and bytes. So does this, with two differences. JSON has no NaN and no
infinity, and null is written for both. And what that encoder does not know at all (durations, decimals, missing values
within lists) is written in a usual form instead of failing.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import warnings
from typing import Any

from serinus_runtime.base.errors import ModelFailure
from serinus_runtime.base.libraries import loaded
from serinus_runtime.values.outputs import encode
from serinus_runtime.values.plain import is_missing, plain

_NUMBERS = frozenset("biuf")
_NAMES = frozenset({str, int})


def write_predictions(result: Any) -> bytes:
    """JSON. ModelFailure: the protocol has no form for it."""
    numbers = _numbers(result)
    if numbers is not None:
        return encode(numbers)
    try:
        return _written(_jsonable(result)).encode()
    except Exception as error:
        # Whatever a model's own objects raise. Nothing of the text: it may hold a caller's values.
        raise ModelFailure(
            f"the model answered a {type(result).__name__} that MLflow's scoring protocol cannot carry; see "
            "docs/inputs-and-answers.md, or set `serving.protocols: [open-inference]`",
            "bad-answer",
        ) from error


def _numbers(result: Any) -> Any | None:
    """Of arrays, DataFrames and Series of numbers: what is written for nearly every request, the quick way. None: it
    holds something else."""
    numpy, pandas = loaded("numpy"), loaded("pandas")
    if numpy is None:
        return None

    if type(result) is numpy.ndarray:
        return result.tolist() if _is_number(numpy, result.dtype) else None
    if pandas is None:
        return None
    if type(result) is pandas.DataFrame:
        names = result.columns.tolist()
        texts = list(map(str, names))
        if not _NAMES.issuperset(map(type, names)) or len(set(texts)) < len(texts):
            return None
        columns = [result[name] for name in names]
        if not all(_is_number(numpy, column.dtype) for column in columns):
            return None
        return [dict(zip(texts, row)) for row in zip(*[column.to_numpy().tolist() for column in columns])]
    if type(result) is pandas.Series and _is_number(numpy, result.dtype):
        name = 0 if result.name is None else result.name
        return [{str(name): value} for value in result.tolist()] if type(name) in _NAMES else None
    return None


def _is_number(numpy: Any, dtype: Any) -> bool:
    """A float of more digits than 64 bits hold is none of JSON; pandas' own types may hold missing values."""
    return isinstance(dtype, numpy.dtype) and dtype.kind in _NUMBERS and dtype.itemsize <= 8


def _jsonable(result: Any) -> Any:
    pandas, numpy = loaded("pandas"), loaded("numpy")
    if numpy is not None and isinstance(result, numpy.ndarray):
        return result.tolist()
    if pandas is not None and isinstance(result, pandas.Series):
        result = pandas.DataFrame(result)
    if pandas is not None and isinstance(result, pandas.DataFrame):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of two columns of one name the last is written, as MLflow does
            return result.to_dict(orient="records")
    return result


def _written(value: Any) -> str:
    try:
        return json.dumps(value, default=_default, allow_nan=False, separators=(",", ":"))
    except ValueError:
        # NaN or an infinity; a value that holds itself raises once more.
        text = json.dumps(value, default=_default)
    return json.dumps(json.loads(text, parse_constant=lambda _: None), separators=(",", ":"))


def _default(value: Any) -> Any:
    """What the JSON encoder asks for each value that it does not know. TypeError: nobody knows it."""
    if isinstance(value, (bytes, bytearray)):
        return base64.encodebytes(value).decode("ascii")
    if isinstance(value, (datetime.date, datetime.time)):  # pandas' times are of these, and its NaT says so
        return value.isoformat()
    numpy = loaded("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return value.tolist()
    if numpy is not None and isinstance(value, numpy.generic):
        own = value.item()
        if type(own) is type(value):
            raise TypeError(f"a {type(value).__name__} has more digits than a number of JSON")
        return own
    try:
        return _by_mlflow(value)
    except TypeError:
        return _beyond_mlflow(value)


def _by_mlflow(value: Any) -> Any:
    """Of types that MLflow of the model's own version knows besides. TypeError: it does not."""
    module = loaded("mlflow.utils.proto_json_utils")
    encoder = getattr(module, "NumpyEncoder", None)
    if encoder is None:
        raise TypeError
    return encoder().default(value)


def _beyond_mlflow(value: Any) -> Any:
    if is_missing(value):
        return None
    if isinstance(value, (datetime.timedelta, decimal.Decimal)):
        return plain(value)
    pandas = loaded("pandas")
    if pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series)):
        return _jsonable(value)
    if hasattr(value, "toarray"):  # a sparse matrix
        return value.toarray().tolist()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no form in JSON")
