"""Answers in MLflow's scoring protocol, as MLflow's own server writes them.

It writes the records of a DataFrame or a Series by pandas, the lists of an array by NumPy, and everything else by a
JSON encoder that knows NumPy's numbers, times and bytes. This module does the same with two differences: NaN and
infinity, which JSON does not have, are written as null, and types that the encoder does not know (durations, decimals,
missing values within lists) are written in a usual format instead of failing.
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
    """Returns JSON. Raises ModelFailure where the protocol cannot express the answer."""
    numbers = _numbers(result)
    if numbers is not None:
        return encode(numbers)
    try:
        return _written(_jsonable(result)).encode()
    except Exception as error:
        # A model's own objects may raise anything. The message is not used, because it may contain values of a caller.
        raise ModelFailure(
            f"the model answered a {type(result).__name__} that MLflow's scoring protocol cannot carry; see "
            "docs/inputs-and-answers.md, or set `serving.protocols: [open-inference]`",
            "bad-answer",
        ) from error


def _numbers(result: Any) -> Any | None:
    """Returns arrays, DataFrames and Series of numbers as lists, which is the fast path of nearly every request. None:
    it holds something else."""
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
    """Whether JSON has these numbers. Floats of more than 64 bits do not fit, and pandas' own types may have missing
    values."""
    return isinstance(dtype, numpy.dtype) and dtype.kind in _NUMBERS and dtype.itemsize <= 8


def _jsonable(result: Any) -> Any:
    pandas, numpy = loaded("pandas"), loaded("numpy")
    if numpy is not None and isinstance(result, numpy.ndarray):
        return result.tolist()
    if pandas is not None and isinstance(result, pandas.Series):
        result = pandas.DataFrame(result)
    if pandas is not None and isinstance(result, pandas.DataFrame):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of two columns with the same name the last is written, as in MLflow.
            return result.to_dict(orient="records")
    return result


def _written(value: Any) -> str:
    try:
        return json.dumps(value, default=_default, allow_nan=False, separators=(",", ":"))
    except ValueError:
        # NaN or an infinity. A value that contains itself raises again.
        text = json.dumps(value, default=_default)
    return json.dumps(json.loads(text, parse_constant=lambda _: None), separators=(",", ":"))


def _default(value: Any) -> Any:
    """Returns a JSON value for a type that the JSON encoder does not know. Raises TypeError where it is unknown."""
    if isinstance(value, (bytes, bytearray)):
        return base64.encodebytes(value).decode("ascii")
    if isinstance(value, (datetime.date, datetime.time)):  # pandas' times are subclasses of these, and so is NaT.
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
    """Returns a JSON value for a type that the model's MLflow knows. Raises TypeError where it does not."""
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
    if hasattr(value, "toarray"):  # A sparse matrix.
        return value.toarray().tolist()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no form in JSON")
