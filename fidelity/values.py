"""Values for columns and tensors, as JSON has them: typical ones, ones at edges, and ones of another type.

A specification is MLflow's own JSON: `{"type": "double", "name": ..}`, or with `items`, `properties`, `values` or
`tensor-spec`.
"""

from __future__ import annotations

import base64
import math
import random
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fidelity.case import JSON

Spec = Mapping[str, JSON]
NUMBERS = ("double", "float", "integer", "long")
_WORDS = ("FR", "DE", "IT", "web", "pos", "x")

_POWERS = (24, 31, 32, 53, 62, 63)
_EDGE_FLOATS = (
    0.0, -0.0, 1.0, -1.0, 0.5, 0.1, 1 / 3, 5e-324, 1e-45, 1e-310, 16777217.0, 3.4028234e38, 3.4028236e38, -3.5e38,
    1e39, 1e308, 1.7976931348623157e308, -1e-200, 2**53 + 2.0, 1e22, 1e23, 123456789.123456789,
)  # fmt: skip
_EDGE_TEXTS = (
    "", " ", "FR ", "fr", "null", "NaN", "nan", "None", "NA", "true", "1", "1.5", "é", "e\u0301", "日本", "\U0001f600",
    "a\0b", "a,b", 'a"b', "a\nb", "a\r\nb", "'", "\\", "0", "2024-01-02", "x" * 300, "\ufeffx", "-", "inf", "1e5",
    "0x10", "\t",
)  # fmt: skip
_EDGE_TIMES = (
    "1970-01-01", "1970-01-01T00:00:00", "2024-02-29T23:59:59.999999", "2024-01-02T03:04:05.123456789",
    "1677-09-21T00:12:43.145224193", "1677-09-22", "2262-04-11T23:47:16.854775807", "2262-04-11", "1960-05-05T01:02:03",
    "2024-12-31T23:59:60", "2024-01-02 03:04:05",
)  # fmt: skip
_FAR_TIMES = ("1600-01-01", "2300-01-01", "9999-12-31", "0001-01-01", "2262-04-12", "1677-09-20")
_ZONED_TIMES = ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05+02:00")


def typical(spec: Spec, dice: random.Random, holes: bool = False) -> JSON:
    """What callers send day by day. `holes`: a number or text may be missing."""
    kind = spec["type"]
    if holes and kind in ("double", "float", "string") and dice.random() < 0.1:
        return None
    if kind == "tensor":
        return _tensor(spec["tensor-spec"], lambda dtype: _of_dtype(dtype, dice))
    if kind in ("double", "float"):
        value = dice.gauss(0, 2) if dice.random() < 0.5 else dice.expovariate(0.05)
        return float(np.float32(value)) if kind == "float" else value
    if kind in ("integer", "long"):
        return dice.choice((dice.randint(0, 24), dice.randint(-1000, 1000)))
    if kind == "boolean":
        return dice.random() < 0.5
    if kind == "binary":
        return base64.b64encode(dice.randbytes(dice.randint(0, 6))).decode()
    if kind == "datetime":
        day = f"20{dice.randint(10, 30)}-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
        return f"{day}T{dice.randint(0, 23):02}:00:0{dice.randint(0, 9)}"
    if kind == "array":
        return [typical(spec["items"], dice) for _ in range(dice.randint(0, 3))]
    if kind == "object":
        parts = spec["properties"].items()
        return {name: typical(part, dice) for name, part in parts if part.get("required", True) or dice.random() < 0.6}
    if kind == "map":
        return {dice.choice(string.ascii_lowercase): typical(spec["values"], dice) for _ in range(dice.randint(0, 3))}
    return dice.choice(_WORDS)


def edge(spec: Spec, dice: random.Random, splits: Sequence[float] = ()) -> JSON:
    """What is easily answered otherwise: at the ends of a type, beside the model's own thresholds, odd texts."""
    kind = spec["type"]
    if kind == "tensor":
        return _tensor(spec["tensor-spec"], lambda dtype: _edge_of_dtype(dtype, dice))
    if kind in NUMBERS and dice.random() < 0.06:
        return None
    if kind in ("double", "float"):
        value = _edge_float(dice, splits)
        return float(np.float32(value)) if kind == "float" and abs(value) < 3e38 else value
    if kind in ("integer", "long"):
        return _edge_integer(31 if kind == "integer" else 63, dice, splits)
    if kind == "string":
        return dice.choice(_EDGE_TEXTS)
    if kind == "datetime":
        return dice.choice(_EDGE_TIMES)
    if kind == "binary":
        return dice.choice(("", "AA==", "/+8=", "AAAA\n", "gICA"))
    if kind == "array":
        return [edge(spec["items"], dice) for _ in range(dice.choice((0, 1, 5)))]
    if kind == "object":
        return {name: edge(part, dice) for name, part in spec["properties"].items()}
    if kind == "map":
        return {dice.choice(_EDGE_TEXTS): edge(spec["values"], dice) for _ in range(2)}
    return typical(spec, dice)


_WRONG: tuple[JSON, ...] = (
    None, True, False, "text", "1.5", "", 1, 1.5, -3, 2**31, 2**53 + 1, 2**63, 2**64, 1e39, 10**400, 1e999, [], [1.0],
    {}, {"a": 1}, [[1]], "AA==", "not base64!", *_FAR_TIMES, *_ZONED_TIMES, *_EDGE_TIMES[:2],
)  # fmt: skip


def wrong(dice: random.Random) -> JSON:
    """What is perhaps of another type than a specification says, or far outside of its range."""
    return dice.choice(_WRONG)


def _edge_float(dice: random.Random, splits: Sequence[float]) -> float:
    if splits and dice.random() < 0.6:
        at = dice.choice(splits)
        near = float(np.float32(at))
        ways = (at, near, math.nextafter(at, math.inf), math.nextafter(at, -math.inf),
                float(np.nextafter(np.float32(at), np.float32(math.inf))),
                float(np.nextafter(np.float32(at), np.float32(-math.inf))))  # fmt: skip
        return dice.choice(ways)
    if dice.random() < 0.2:
        return float(2 ** dice.choice(_POWERS) + dice.choice((-1, 0, 1)))
    return dice.choice(_EDGE_FLOATS)


def _edge_integer(bits: int, dice: random.Random, splits: Sequence[float]) -> int:
    if splits and dice.random() < 0.4:
        return int(dice.choice(splits)) + dice.choice((-1, 0, 1)) if abs(dice.choice(splits)) < 2**31 else 0
    power = dice.choice([power for power in _POWERS if power <= bits])
    value = (2**power + dice.choice((-1, 0, 1))) * dice.choice((1, -1))
    return int(max(-(2**bits), min(2**bits - 1, value)))


# --- tensors


def _tensor(spec: Spec, value: Callable[[str], JSON]) -> JSON:
    """One row: the shape without its first size."""

    def part(shape: Sequence[int]) -> JSON:
        return [part(shape[1:]) for _ in range(shape[0])] if shape else value(spec["dtype"])

    return part([size if size > 0 else 2 for size in spec["shape"][1:]])


def _of_dtype(dtype: str, dice: random.Random) -> JSON:
    if dtype == "bool":
        return dice.random() < 0.5
    if dtype.startswith(("int", "uint")):
        return dice.randint(0, 100)
    if dtype.startswith("float"):
        return float(np.dtype(dtype).type(dice.gauss(0, 2)))
    return dice.choice(_WORDS)


def _edge_of_dtype(dtype: str, dice: random.Random) -> JSON:
    if dtype == "bool":
        return dice.random() < 0.5
    if dtype.startswith(("int", "uint")):
        limits = np.iinfo(dtype)
        return int(dice.choice((limits.min, limits.max, 0, 1, limits.max - 1)))
    if dtype.startswith("float"):
        return dice.choice((0.0, -0.0, 0.1, 1e-45, 1e-8, 65504.0, 3e38 if dtype != "float16" else 1.0, 16777217.0))
    return dice.choice(_EDGE_TEXTS)


# --- what a model is trained on, and logged with


def frame_of(inputs: Sequence[Spec], rows: Sequence[Sequence[JSON]]) -> pd.DataFrame:
    """With the dtypes that the specifications stand for."""
    columns = [_column(spec["type"], [row[i] for row in rows]) for i, spec in enumerate(inputs)]
    frame = pd.DataFrame(dict(enumerate(columns)))
    frame.columns = pd.Index([i if spec.get("name") is None else spec["name"] for i, spec in enumerate(inputs)])
    return frame


_DTYPES = {"double": "float64", "float": "float32", "integer": "int32", "long": "int64"}


def _column(kind: str, values: list[JSON]) -> Any:
    if kind in _DTYPES:
        return np.array([math.nan if value is None else value for value in values], dtype=_DTYPES[kind])
    if kind == "datetime":
        return pd.to_datetime(pd.Series(values)).astype("datetime64[ns]").to_numpy()
    if kind == "boolean" and None not in values:
        return np.array(values, dtype=bool)
    if kind == "binary":
        values = [None if value is None else base64.b64decode(value) for value in values]
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def tensors_of(inputs: Sequence[Spec], rows: Sequence[Sequence[JSON]]) -> Any:
    """An array, or a dict of arrays where the tensors have names."""
    arrays = {
        spec.get("name"): np.array([row[i] for row in rows], dtype=np.dtype(spec["tensor-spec"]["dtype"]))
        for i, spec in enumerate(inputs)
    }
    return arrays[None] if list(arrays) == [None] else arrays


def sent_arrays(inputs: Sequence[Spec], columns: Sequence[str | None], rows: Sequence[Sequence[JSON]]) -> Any:
    """What a model without a signature gets of tensors: an array, or the columns of a DataFrame. One of a name that the
    recipe does not have is sent as float64. A value that is not of its datatype raises ValueError, TypeError or
    OverflowError."""
    dtypes = {spec.get("name"): str(spec["tensor-spec"]["dtype"]) for spec in inputs}
    arrays = {name: _sent(dtypes.get(name, "float64"), [row[i] for row in rows]) for i, name in enumerate(columns)}
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    flat = {name: array.reshape(len(array)) for name, array in arrays.items()}
    return pd.DataFrame({name: array.tolist() if array.dtype.kind == "U" else array for name, array in flat.items()})


def _sent(dtype: str, values: list[JSON]) -> Any:
    array = np.array(values, dtype=object)
    if dtype not in ("str", "object"):
        return array.astype(np.dtype(dtype))
    if not all(isinstance(value, str) for value in array.reshape(-1).tolist()):
        raise TypeError("no text")
    return array.astype(str)


def records_of(records: Sequence[Mapping[str, JSON]]) -> list[dict[str, JSON]]:
    """Of `inputs` without a signature: scalars as they are, and arrays of lists."""

    def value(part: JSON) -> JSON:
        return np.array(part) if isinstance(part, list) else part

    return [{name: value(part) for name, part in record.items()} for record in records]


_SENT: Mapping[str, set[type]] = {
    "double": {int, float}, "float": {int, float}, "long": {int}, "integer": {int}, "boolean": {bool}, "string": {str},
    "binary": {str}, "datetime": {str},
}  # fmt: skip
"""The types of the values of JSON that are of a type of the signature without being cast."""


def sent_frame(inputs: Sequence[Spec], columns: Sequence[str | None], rows: Sequence[Sequence[JSON]]) -> pd.DataFrame:
    """What was sent of the model's columns, as a DataFrame of the declared dtypes. Null is None where a column is no
    number and no time. A value that is not of its type raises ValueError or TypeError."""
    kinds = {spec.get("name"): spec["type"] for spec in inputs}
    arrays: dict[str | int, Any] = {}
    for i, name in enumerate(columns):
        kind = inputs[i]["type"] if name is None else kinds.get(name)
        values = [row[i] for row in rows]
        if kind is None:
            continue
        if not {type(value) for value in values if value is not None} <= _SENT[kind]:
            raise TypeError(f"no {kind}")
        arrays[i if name is None else name] = _column(kind, values)
    return pd.DataFrame(arrays)
