"""Kinds of answers, and what becomes of each by every protocol: the rows of a table of the documentation, each of which
is tested."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from table import Row

BIG = 9007199254740993
"""2^53 + 1, which no float64 is."""


@dataclass(frozen=True)
class Kind:
    """`make(values)` answers one row a value; a value may be None. `tensors`: datatype of each output and its data for
    the values 1 and None, or the reason why there are none. `json`: what is written by `/invocations` where MLflow's
    own server fails. `score`: of the first row, by the default of `serving.score`."""

    name: str
    make: Callable[[Sequence[Any]], Any]
    tensors: Mapping[str, tuple[str, list[Any]]] | str
    json: Any = None
    score: float | None = None
    invocations: str = "as MLflow"


def _or(values: Sequence[Any], known: Any, missing: Any) -> list[Any]:
    return [missing if value is None else known for value in values]


def _times(values: Sequence[Any], dtype: str) -> Any:
    return np.array(_or(values, "2024-01-02", "NaT"), dtype=dtype)


def _array(dtype: str) -> Callable[[Sequence[Any]], Any]:
    return lambda values: np.array(_or(values, 1, 0)).astype(dtype)


def _column(values: Sequence[Any], dtype: str, known: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": pd.array(_or(values, known, None), dtype=dtype)})


def _objects(values: Sequence[Any], known: Any, missing: Any = None) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = _or(values, known, missing)
    return array


DAY, DAYS = "2024-01-02T00:00:00", "P1DT0H0M0S"
DICTIONARY = "a dictionary for each row"
UNEVEN = "different lengths"
ONE = "one value"

KINDS = (
    *(
        Kind(f"array of {dtype}", _array(dtype), {"output-0": (datatype, [1, 0])}, score=1.0)
        for dtype, datatype in (
            ("int8", "INT8"), ("int16", "INT16"), ("int32", "INT32"), ("int64", "INT64"), ("uint8", "UINT8"),
            ("uint16", "UINT16"), ("uint32", "UINT32"), ("uint64", "UINT64"), ("float16", "FP16"), ("float32", "FP32"),
            ("float64", "FP64"),
        )
    ),
    Kind("array of bool", _array("bool"), {"output-0": ("BOOL", [True, False])}, score=1.0),
    Kind("array with NaN", lambda v: np.array(_or(v, 0.5, np.nan)), {"output-0": ("FP64", [0.5, None])}, score=0.5),
    Kind("array with infinity", lambda v: np.array(_or(v, 0.5, np.inf)), {"output-0": ("FP64", [0.5, None])},
         score=0.5),
    Kind("array of columns", lambda v: np.array([[0.25, 0.75]] * len(v)), {"output-0": ("FP64", [0.25, 0.75] * 2)},
         score=0.75),
    Kind("array of texts", lambda v: np.array(_or(v, "fraud", "fine")), {"output-0": ("BYTES", ["fraud", "fine"])}),
    Kind("array of bytes", lambda v: np.array(_or(v, b"\xff", b"b")), {"output-0": ("BYTES", ["/w==", "Yg=="])}),
    Kind("array of datetime64[ns]", lambda v: _times(v, "datetime64[ns]"), {"output-0": ("BYTES", [DAY, None])}),
    Kind("array of datetime64[us]", lambda v: _times(v, "datetime64[us]"), {"output-0": ("BYTES", [DAY, None])}),
    Kind("array of datetime64[D]", lambda v: _times(v, "datetime64[D]"), {"output-0": ("BYTES", ["2024-01-02", None])}),
    Kind("array of timedelta64", lambda v: np.array(_or(v, 86_400, 0), "timedelta64[s]").astype("timedelta64[ns]"),
         {"output-0": ("BYTES", [DAYS, "P0DT0H0M0S"])}),
    Kind("array of objects: numbers", lambda v: _objects(v, 1), {"output-0": ("FP64", [1, None])}, score=1.0),
    Kind("array of objects: true and false", lambda v: _objects(v, True), {"output-0": ("BOOL", [True, None])},
         score=1.0),
    Kind("array of objects: texts", lambda v: _objects(v, "x", np.nan), {"output-0": ("BYTES", ["x", None])}),
    Kind("array of complex128", _array("complex128"), "of the type complex128", invocations="refused, as MLflow"),
    Kind("Series", lambda v: pd.Series(_or(v, 0.5, 0.25)), {"output-0": ("FP64", [0.5, 0.25])}, score=0.5),
    Kind("Series with a name", lambda v: pd.Series(_or(v, 0.5, 0.25), name="risk"), {"risk": ("FP64", [0.5, 0.25])},
         score=0.5),
    Kind("Series of texts", lambda v: pd.Series(_or(v, "x", None), name="t"), {"t": ("BYTES", ["x", None])}),
    Kind("Series of Int64", lambda v: pd.Series(_or(v, BIG, None), dtype="Int64"), {"output-0": ("INT64", [BIG, None])},
         score=float(BIG)),
    Kind("DataFrame of numbers", lambda v: pd.DataFrame({"a": _or(v, 1, 2), "b": _or(v, 0.5, np.nan)}),
         {"a": ("INT64", [1, 2]), "b": ("FP64", [0.5, None])}, score=1.0),
    Kind("DataFrame with columns 0 and 1", lambda v: pd.DataFrame([[0.25, 0.75]] * len(v)),
         {"0": ("FP64", [0.25] * 2), "1": ("FP64", [0.75] * 2)}, score=0.25),
    Kind("DataFrame with columns True and 0.5", lambda v: pd.DataFrame([[1, 2]] * len(v), columns=[True, 0.5]),
         {"True": ("INT64", [1, 1]), "0.5": ("INT64", [2, 2])}, score=1.0),
    Kind("DataFrame with two columns of one name", lambda v: pd.DataFrame([[1, 2]] * len(v), columns=["a", "a"]),
         "not the only one of that name"),
    Kind("DataFrame with the columns 1 and '1'", lambda v: pd.DataFrame([[1, 2]] * len(v), columns=[1, "1"]),
         "not the only one of that name"),
    Kind("column of Int64", lambda v: _column(v, "Int64", BIG), {"a": ("INT64", [BIG, None])}, score=float(BIG)),
    Kind("column of UInt8", lambda v: _column(v, "UInt8", 7), {"a": ("UINT8", [7, None])}, score=7.0),
    Kind("column of Float64", lambda v: _column(v, "Float64", 0.5), {"a": ("FP64", [0.5, None])}, score=0.5),
    Kind("column of boolean", lambda v: _column(v, "boolean", True), {"a": ("BOOL", [True, None])}, score=1.0),
    Kind("column of string", lambda v: _column(v, "string", "x"), {"a": ("BYTES", ["x", None])}),
    Kind("column of Arrow's int64", lambda v: _column(v, "int64[pyarrow]", BIG), {"a": ("INT64", [BIG, None])},
         score=float(BIG)),
    Kind("category of texts", lambda v: pd.DataFrame({"a": pd.Categorical(_or(v, "x", None), ["x", "y"])}),
         {"a": ("BYTES", ["x", None])}),
    Kind("category of numbers", lambda v: pd.DataFrame({"a": pd.Categorical(_or(v, 3, None), [3, 4])}),
         {"a": ("INT64", [3, None])}, score=3.0),
    Kind("column of times", lambda v: pd.DataFrame({"a": _times(v, "datetime64[ns]")}), {"a": ("BYTES", [DAY, None])}),
    Kind("column of times with a zone",
         lambda v: pd.DataFrame({"a": pd.Series(_times(v, "datetime64[ns]")).dt.tz_localize("Europe/Berlin")}),
         {"a": ("BYTES", [DAY + "+01:00", None])}),
    Kind("column of durations", lambda v: pd.DataFrame({"a": pd.to_timedelta(_or(v, 1, None), unit="D")}),
         {"a": ("BYTES", [DAYS, None])}, json=[{"a": DAYS}, {"a": "NaT"}], invocations="ISO 8601; MLflow fails"),
    Kind("column of dates", lambda v: pd.DataFrame({"a": _objects(v, datetime.date(2024, 1, 2))}),
         {"a": ("BYTES", ["2024-01-02", None])}),
    Kind("column of bytes", lambda v: pd.DataFrame({"a": _objects(v, b"\xff\0")}), {"a": ("BYTES", ["/wA=", None])}),
    Kind("column of decimals", lambda v: pd.DataFrame({"a": _objects(v, decimal.Decimal("1.5"))}),
         {"a": ("FP64", [1.5, None])}, json=[{"a": 1.5}, {"a": None}], score=1.5, invocations="a number; MLflow fails"),
    Kind("column of numpy's numbers", lambda v: pd.DataFrame({"a": _objects(v, np.float32(0.5))}),
         {"a": ("FP64", [0.5, None])}, score=0.5),
    Kind("column of numbers and texts", lambda v: pd.DataFrame({"a": _objects(v, 1, "none")}),
         {"a": ("BYTES", ["1", "none"])}),
    Kind("column of lists", lambda v: pd.DataFrame({"a": _objects(v, [1, 2], [3])}), "a value of the type list"),
    Kind("column of arrays", lambda v: pd.DataFrame({"a": _objects(v, np.array([1, 2]), np.array([3]))}),
         "a value of the type ndarray"),
    Kind("column of dictionaries", lambda v: pd.DataFrame({"a": _objects(v, {"k": 1})}), "a value of the type dict"),
    Kind("column of periods", lambda v: pd.DataFrame({"a": pd.period_range("2024-01", periods=len(v), freq="M")}),
         "a value of the type Period", invocations="refused, as MLflow"),
    Kind("list of numbers", lambda v: _or(v, 0.5, 1), {"output-0": ("FP64", [0.5, 1])}, score=0.5),
    Kind("list of truth values", lambda v: _or(v, True, False), {"output-0": ("BOOL", [True, False])}, score=1.0),
    Kind("list of texts", lambda v: _or(v, "x", None), {"output-0": ("BYTES", ["x", None])}),
    Kind("list of lists of one length", lambda v: [[0.25, 0.75]] * len(v), {"output-0": ("FP64", [0.25, 0.75] * 2)},
         score=0.75),
    Kind("list of arrays", lambda v: [np.array([0.25, 0.75], "float32")] * len(v),
         {"output-0": ("FP32", [0.25, 0.75] * 2)}, score=0.75),
    Kind("list of lists of different lengths", lambda v: _or(v, [1.0], [1.0, 2.0]), UNEVEN),
    Kind("list of dictionaries", lambda v: [{"label": "fraud", "score": 0.5} for _ in v], DICTIONARY),
    Kind("dictionary of arrays", lambda v: {"a": np.array(_or(v, 0.5, 0.25)), "b": _or(v, "x", "y")},
         {"a": ("FP64", [0.5, 0.25]), "b": ("BYTES", ["x", "y"])}, score=0.5),
    Kind("dictionary of Series", lambda v: {"a": pd.Series(_or(v, 0.5, 0.25))}, {"a": ("FP64", [0.5, 0.25])},
         json={"a": [{"0": 0.5}, {"0": 0.25}]}, score=0.5, invocations="as a Series alone; MLflow fails"),
    Kind("numpy.matrix", lambda v: np.asmatrix([[0.25, 0.75]] * len(v)), {"output-0": ("FP64", [0.25, 0.75] * 2)},
         score=0.75),
    Kind("sparse matrix", lambda v: scipy.sparse.csr_matrix(np.array([[0.25, 0.75]] * len(v))),
         {"output-0": ("FP64", [0.25, 0.75] * 2)}, json=[[0.25, 0.75]] * 2, score=0.75,
         invocations="as an array; MLflow fails"),
)  # fmt: skip


def rows() -> list[Row]:
    """Of the table in the documentation."""
    return [_row(kind) for kind in KINDS]


def _row(kind: Kind) -> Row:
    if isinstance(kind.tensors, str):
        return Row(kind.name, kind.invocations, "no form", "no form", kind.tensors)
    said = ", ".join(f"`{name}` {datatype}" for name, (datatype, _) in kind.tensors.items())
    # Bytes have no form for what is missing, but of floats.
    lacking = any(None in data and not datatype.startswith("FP") for datatype, data in kind.tensors.values())
    return Row(kind.name, kind.invocations, said, "the same; missing: 400" if lacking else "the same")
