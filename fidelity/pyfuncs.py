"""Python models that answer what they were given, in every form in which a model may answer.

A model here writes down, for each row, all that it can see of it: the container, the dtypes, the names and the values
to the last digit. Its answer is that text or a number made of it, so that an input that differs in anything makes an
answer that differs. It is pickled by value, as a model of the author's own code is.
"""

from __future__ import annotations

import datetime
import decimal
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from mlflow.pyfunc.model import PythonModel


def _value(value: Any) -> str:
    if isinstance(value, np.generic):  # a scalar of numpy's and one of Python's are one to any model
        value = value.item()
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{[_value(part) for part in value.ravel().tolist()]}"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_value(value[key])}' for key in sorted(value, key=str))}}}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}[{','.join(map(_value, value))}]"
    return f"{type(value).__name__}={value!r}"


def seen(data: Any) -> list[str]:
    """One text a row."""
    if isinstance(data, pd.DataFrame):
        names = [f"{type(name).__name__} {name}:{dtype}" for name, dtype in zip(data.columns, data.dtypes, strict=True)]
        index = [_value(part) for part in data.index.tolist()]
        columns = [[_value(part) for part in data.iloc[:, i].tolist()] for i in range(len(names))]
        rows = zip(*columns, strict=True) if columns else iter([()] * len(data))
        return [
            f"frame {at} " + " ".join(f"{name}={part}" for name, part in zip(names, row, strict=True))
            for at, row in zip(index, rows, strict=True)
        ]
    if isinstance(data, pd.Series):
        return [f"series {data.dtype} {_value(part)}" for part in data.tolist()]
    if isinstance(data, np.ndarray):
        return [f"array {data.dtype} {_value(part)}" for part in data]
    if isinstance(data, dict):
        parts = {name: seen(part) for name, part in data.items()}
        return [f"dict {dict(zip(parts, row, strict=True))}" for row in zip(*parts.values(), strict=True)]
    if isinstance(data, list):
        return [f"list {_value(part)}" for part in data]
    return [f"{type(data).__name__} {data!r}"]


def _numbers(texts: Sequence[str]) -> Any:
    return np.array([zlib.crc32(text.encode("utf-8", "replace")) for text in texts], dtype="int64")


def _frame(texts: Sequence[str], values: Mapping[Any, Any], index: Any = None) -> pd.DataFrame:
    del texts
    return pd.DataFrame(values, index=index)


def _odd(n: Any) -> Any:
    """Floats that are hard to write."""
    odd = np.array([0.1, -0.0, 5e-324, 1e308, np.nan, np.inf, -np.inf, 2.0**53 + 2, 1 / 3])
    return odd[n % len(odd)]


def _nullable(n: Any) -> pd.DataFrame:
    known = [int(value) % 3 != 0 for value in n]
    return pd.DataFrame(
        {
            "id": pd.array([9007199254740993 + int(v) if k else None for v, k in zip(n, known, strict=True)], "Int64"),
            "flag": pd.array([bool(v % 2) if k else None for v, k in zip(n, known, strict=True)], "boolean"),
            "part": pd.array([int(v) / 7 if k else None for v, k in zip(n, known, strict=True)], "Float64"),
            "text": pd.array([f"t{v % 9}" if k else None for v, k in zip(n, known, strict=True)], "string"),
        }
    )


def _times(n: Any) -> Any:
    return np.datetime64("2024-01-02T00:00:00", "ns") + (n % 100_000_000).astype("timedelta64[us]")


def _duplicate(n: Any) -> pd.DataFrame:
    return pd.DataFrame(np.stack([n / 3, n / 5], axis=1), columns=["a", "a"])


def _sparse(n: Any) -> Any:
    return scipy.sparse.csr_matrix(np.stack([n % 2, n % 7], axis=1).astype("float64"))


def _uneven(n: Any) -> list[dict[str, Any]]:
    return [{"a": int(v), **({"b": v % 7 / 2} if v % 2 else {})} for v in n.tolist()]


def _small(dtype: str) -> Answers:
    return lambda t, n: (n % 251).astype(dtype)


Answers = Callable[[list[str], Any], Any]
"""From the texts and the numbers made of them, one a row."""

ANSWERS: dict[str, Answers] = {
    "text": lambda t, n: np.array(t, dtype=object),
    "text list": lambda t, n: list(t),
    "text fixed": lambda t, n: np.array([f"{v:x}" for v in n], dtype="U8"),
    "text 2d": lambda t, n: np.array([[f"{v:x}", str(v % 3)] for v in n], dtype=object),
    **{f"array {dtype}": _small(dtype) for dtype in ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float16")},
    "array int64": lambda t, n: n * 2147483659,
    "array uint64": lambda t, n: n.astype("uint64") + np.uint64(2**63),
    "array float32": lambda t, n: (n / 7).astype("float32"),
    "array float64": lambda t, n: n / 7,
    "array bool": lambda t, n: n % 2 == 0,
    "array odd": lambda t, n: _odd(n),
    "array odd float32": lambda t, n: np.array([0.1, -0.0, 1e-45, np.nan, np.inf], dtype="float32")[n % 5],
    "array float64 2d": lambda t, n: np.stack([n / 3, n / 5], axis=1),
    "array int32 2d": lambda t, n: np.stack([n % 100, n % 7], axis=1).astype("int32"),
    "array bool 2d": lambda t, n: np.stack([n % 2 == 0, n % 3 == 0], axis=1),
    "array float32 3d": lambda t, n: np.stack([n / 3, n / 5, n / 7, n / 9], axis=1).astype("float32").reshape(-1, 2, 2),
    "array objects": lambda t, n: np.array([*[int(v) if v % 2 else v / 7 for v in n.tolist()], None], dtype=object)[
        :-1
    ],
    "array datetime": lambda t, n: _times(n),
    "array datetime days": lambda t, n: np.datetime64("2024-01-02") + (n % 1000).astype("timedelta64[D]"),
    "array timedelta": lambda t, n: (n % 100_000).astype("timedelta64[s]").astype("timedelta64[ns]"),
    "array bytes": lambda t, n: np.array([*[v.to_bytes(4, "big") for v in n.tolist()], None], dtype=object)[:-1],
    "list numbers": lambda t, n: [v / 7 for v in n.tolist()],
    "list numpy": lambda t, n: list(n / 7),
    "list some none": lambda t, n: [None if v % 3 == 0 else v / 7 for v in n.tolist()],
    "list rows": lambda t, n: [[v / 3, v / 5] for v in n.tolist()],
    "list ragged": lambda t, n: [[v % 7] * (1 + v % 3) for v in n.tolist()],
    "list dicts": lambda t, n: [{"a": v, "b": v / 7, "c": f"{v:x}"} for v in n.tolist()],
    "list dicts uneven": lambda t, n: _uneven(n),
    "list decimals": lambda t, n: [decimal.Decimal(v % 1000) / 8 for v in n.tolist()],
    "list dates": lambda t, n: [datetime.date(2024, 1, 1) + datetime.timedelta(days=v % 1000) for v in n.tolist()],
    "tuple": lambda t, n: tuple(v / 7 for v in n.tolist()),
    "series": lambda t, n: pd.Series(n / 7),
    "series named": lambda t, n: pd.Series(n / 7, name="score"),
    "series text": lambda t, n: pd.Series(list(t), name="text"),
    "series index": lambda t, n: pd.Series(n / 7, index=[f"i{v % 5}" for v in n], name="score"),
    "series nullable": lambda t, n: _nullable(n)["id"],
    "frame": lambda t, n: _frame(t, {"score": n / 7, "rank": n % 9, "text": t, "flag": n % 2 == 0}),
    "frame one": lambda t, n: _frame(t, {"score": n / 7}),
    "frame float32": lambda t, n: _frame(t, {"score": (n / 7).astype("float32"), "odd": _odd(n)}),
    "frame duplicate": lambda t, n: _duplicate(n),
    "frame numbered": lambda t, n: _frame(t, {0: n / 7, 1: n % 9}),
    "frame index": lambda t, n: _frame(t, {"score": n / 7}, index=[f"i{v}" for v in n]),
    "frame nullable": lambda t, n: _nullable(n),
    "frame datetime": lambda t, n: _frame(t, {"at": _times(n), "score": n / 7}),
    "frame datetime zone": lambda t, n: _frame(t, {"at": pd.Series(_times(n)).dt.tz_localize("UTC"), "score": n / 7}),
    "frame timedelta": lambda t, n: _frame(t, {"took": (n % 100_000).astype("timedelta64[s]"), "score": n / 7}),
    "frame category": lambda t, n: _frame(t, {"kind": pd.Categorical([f"k{v % 3}" for v in n]), "score": n / 7}),
    "frame bytes": lambda t, n: _frame(t, {"raw": [v.to_bytes(4, "big") for v in n.tolist()], "score": n / 7}),
    "frame arrays": lambda t, n: _frame(t, {"parts": [[v / 3, v / 5] for v in n.tolist()], "score": n / 7}),
    "dict": lambda t, n: {"score": n / 7, "rank": (n % 9).astype("int32")},
    "dict lists": lambda t, n: {"score": (n / 7).tolist(), "text": list(t)},
    "dict 2d": lambda t, n: {"score": np.stack([n / 3, n / 5], axis=1), "rank": n % 9},
    "dict nested": lambda t, n: {"a": {"score": n / 7}, "b": n % 9},
    "sparse": lambda t, n: _sparse(n),
    "one number": lambda t, n: float(n.sum()),
    "one text": lambda t, n: "".join(t),
    "nothing": lambda t, n: None,
    "fewer rows": lambda t, n: n[: len(n) // 2] / 7,
    "one row": lambda t, n: n[:1] / 7,
}


NOT_BY_ROWS = ("one number", "one text", "nothing", "fewer rows", "one row", "dict nested")
"""Forms that do not hold one answer for each row."""

NOT_BY_TENSORS = ("list ragged", "list dicts", "list dicts uneven", "frame duplicate", "frame arrays")
"""Forms that the Open Inference Protocol cannot carry. A model that answers so is stopped at the gates unless its spec
leaves that protocol out."""


class Witness(PythonModel):
    """Answers in the form `answer`; `params` are part of what it has seen."""

    def __init__(self, answer: str) -> None:
        self.answer = answer

    # Without type hints, as MLflow would take them for a signature.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        about = f" {sorted((k, _value(v)) for k, v in params.items())}" if params else ""
        texts = [text + about for text in seen(model_input)]
        return ANSWERS[self.answer](texts, _numbers(texts))


class Texts(PythonModel):
    """A model whose signature is its type hint."""

    def __init__(self, answer: str) -> None:
        self.answer = answer

    def predict(self, model_input: list[str]) -> Any:  # type: ignore[override]  # MLflow takes both
        texts = seen(model_input)
        return ANSWERS[self.answer](texts, _numbers(texts))
