"""Whether two answers are the same: to the last bit where the same code computed both, else within what is stated."""

from __future__ import annotations

import base64
import binascii
import datetime
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fidelity.case import JSON
from fidelity.oracle import Answer, Verdict
from fidelity.served import Reply, Tensor

EXACT = 0.0
TOLERANCES = {"onnx": 1e-6, "matrix": 1e-6}
"""By the way of predicting, absolute, or relative where an answer is larger than 1. Not named: exact."""
_DECISION = 0.5
"""Where probabilities are decided: the two answers are on the same side."""
UNNAMED = "output-0"
_DATATYPES = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"}


@dataclass(frozen=True)
class Difference:
    """`kind`: a word for the table and for what is wanted; `detail`: for a person."""

    kind: str
    detail: str


def compare(
    want: Answer, got: Reply, *, tolerance: float, described: Mapping[str, JSON], rows: int
) -> Difference | None:
    """`want`: MLflow's answer to the same rows. `described`: the model's metadata; `rows`: how many were sent."""
    if got.crash:
        return Difference("crash", got.crash)
    if got.status >= 500:
        if want.verdict in (Verdict.RAISED, Verdict.UNWRITABLE):
            return None
        return Difference("failed", f"{got.status} {got.text}")
    if got.status != 200:
        if want.verdict is Verdict.ANSWERED:
            return Difference("refused", f"{got.status} {got.text}")
        return None
    if want.verdict is Verdict.UNWRITABLE:
        return None
    if want.verdict is not Verdict.ANSWERED:
        return Difference(f"answered what is {want.verdict.value}", got.text)
    if got.tensors:
        return _compare_tensors(want, got.tensors, described, tolerance, rows)
    place = differing(want.value, got.value.get("predictions") if isinstance(got.value, dict) else got.value, tolerance)
    return None if place is None else Difference("another answer", place)


def must_refuse(got: Reply) -> Difference | None:
    """For what is no request of the protocol."""
    if got.crash:
        return Difference("crash", got.crash)
    if 400 <= got.status < 500:
        return None
    return Difference("not refused", f"{got.status} {got.text}")


def differing(want: JSON, got: JSON, tolerance: float, at: str = "") -> str | None:
    """Where and how two JSON values differ; None: not at all. NaN and infinities are null in `got`."""
    if isinstance(want, dict) and isinstance(got, dict):
        if want.keys() != got.keys():
            return f"{at or 'the answer'}: keys {sorted(want)[:5]}, not {sorted(got)[:5]}"
        pairs = [(f"{at}.{key}", want[key], got[key]) for key in want]
    elif isinstance(want, list) and isinstance(got, list):
        if len(want) != len(got):
            return f"{at or 'the answer'}: {len(want)} values, not {len(got)}"
        pairs = [(f"{at}[{i}]", one, other) for i, (one, other) in enumerate(zip(want, got, strict=True))]
    else:
        return None if same(want, got, tolerance) else f"{at or 'the answer'}: {want!r}, not {got!r}"
    return next((found for place, one, other in pairs if (found := differing(one, other, tolerance, place))), None)


def same(want: JSON, got: JSON, tolerance: float) -> bool:
    """Of two values that are no arrays or objects. 1, 1.0 and true are three things, and so are 0.0 and -0.0."""
    if isinstance(want, float) and not math.isfinite(want):
        want = None
    if type(want) is not type(got):
        return False
    if not isinstance(want, float):
        return bool(want == got)
    if want == got:
        return tolerance > 0 or math.copysign(1, want) == math.copysign(1, got)
    if (want >= _DECISION) != (got >= _DECISION):
        return False
    return bool(abs(want - got) <= tolerance * max(1.0, abs(want)))


# --- tensors


def _compare_tensors(
    want: Answer, tensors: Sequence[Tensor], described: Mapping[str, JSON], tolerance: float, rows: int
) -> Difference | None:
    wanted = _columns(want.value, rows)
    if wanted is None:
        return Difference("tensors for no rows", f"MLflow answers {want.text[:200]}")
    by_name = {tensor.name: tensor for tensor in tensors}
    if len(by_name) != len(tensors):
        return Difference("an output twice", f"{[tensor.name for tensor in tensors]}")
    if list(wanted) == [None] and len(tensors) == 1:
        wanted = {tensors[0].name: wanted[None]}
    if list(wanted) == ["0"] and list(want.dtypes or ()) == [None] and list(by_name) == [UNNAMED]:
        wanted = {UNNAMED: wanted["0"]}  # of a Series without a name, of which JSON by `/invocations` has the place
    if wanted.keys() != by_name.keys():
        return Difference("other outputs", f"{sorted(map(str, wanted))}, not {sorted(by_name)}")
    for name, values in wanted.items():
        tensor = by_name[str(name)]
        difference = _compare_tensor(values, tensor, tolerance, rows) or _described(tensor, described)
        dtype = _dtype_of(want, tensor.name)
        if difference is None and dtype is not None and tensor.datatype != dtype:
            difference = Difference("another datatype", f"'{tensor.name}' is {tensor.datatype}, not {dtype}")
        if difference is not None:
            return difference
    return None


def _columns(value: JSON, rows: int) -> dict[str | None, list[JSON]] | None:
    """An answer of a row for each row, as columns by name; the name is None where it has none. None: it is no such."""
    if isinstance(value, dict):
        columns: dict[str | None, Any] = dict(value)
    elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        names = {name: None for row in value for name in row}
        columns = {str(name): [row.get(name) for row in value] for name in names}
    else:
        columns = {None: value}
    right = all(isinstance(column, list) and len(column) == rows for column in columns.values())
    return columns if right else None


def _compare_tensor(wanted: list[JSON], tensor: Tensor, tolerance: float, rows: int) -> Difference | None:
    flat, shape = _flat(wanted)
    if tensor.shape[:1] != [rows] or (shape is not None and shape != tensor.shape):
        return Difference("another shape", f"'{tensor.name}': {shape}, not {tensor.shape}")
    if shape is None or len(flat) != len(tensor.data):
        return Difference("another shape", f"'{tensor.name}': {len(flat)} values, not {len(tensor.data)}")
    for i, (one, other) in enumerate(zip(flat, tensor.data, strict=True)):
        if not _fits(other, tensor.datatype):
            return Difference("no value of the datatype", f"'{tensor.name}'[{i}]: {other!r} is no {tensor.datatype}")
        if not _same_in(one, other, tensor.datatype, tolerance):
            return Difference("another answer", f"'{tensor.name}'[{i}]: {one!r}, not {other!r}")
    return None


def _flat(values: list[JSON]) -> tuple[list[JSON], list[int] | None]:
    """Values in row-major order and their shape; None where they are nested unevenly."""
    shape = [len(values)]
    while values and all(isinstance(part, list) for part in values):
        sizes = {len(part) for part in values}
        if len(sizes) > 1:
            return values, None
        shape.append(sizes.pop())
        values = [value for part in values for value in part]
    return values, shape


def _fits(value: JSON, datatype: str) -> bool:
    if datatype == "BOOL":
        return isinstance(value, bool) or value is None
    if datatype == "BYTES":
        return isinstance(value, str) or value is None
    if isinstance(value, bool):
        return False
    if datatype.startswith("FP"):
        return isinstance(value, (int, float)) or value is None
    if value is None:
        return True
    limits = np.iinfo(datatype.lower())
    return isinstance(value, int) and limits.min <= value <= limits.max


def _same_in(want: JSON, got: JSON, datatype: str, tolerance: float) -> bool:
    if datatype.startswith("FP") and not isinstance(want, bool) and isinstance(want, int):
        want, got = float(want), None if got is None else float(got)
    elif datatype.startswith("FP") and isinstance(got, int):
        got = float(got)
    if same(want, got, tolerance):
        return True
    if datatype != "BYTES":
        return False
    if want is None or (isinstance(want, float) and math.isnan(want)):
        return got in ("null", "")  # bytes have no null of their own
    if not isinstance(got, str):
        return False
    if type(want) is int:
        return _nanoseconds(got) == want
    return _decoded(want) == got or _unbroken(want) == got or _time(str(want)) == _time(got) is not None


def _decoded(want: JSON) -> str | None:
    """Of base64, as MLflow writes bytes into JSON."""
    try:
        return base64.b64decode(want).decode("utf-8", "replace")
    except (binascii.Error, ValueError, TypeError):
        return None


def _unbroken(want: JSON) -> str | None:
    """Base64 with line breaks, as `/invocations` has it, without them, as in the JSON of tensors. None: it is none."""
    if not isinstance(want, str) or not want.endswith("\n"):
        return None
    text = want.replace("\n", "")
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return text


def _nanoseconds(text: str) -> int | None:
    """Of a time or a duration in ISO 8601. MLflow writes an array of them as such numbers."""
    for kind in (pd.Timestamp, pd.Timedelta):
        try:
            return int(kind(text).value)
        except ValueError:
            continue
    return None


def _time(text: str) -> tuple[datetime.datetime, str] | None:
    """A time and its nanoseconds: zeros may be written or not."""
    match = re.fullmatch(r"([0-9-]{10}[T ][0-9:]{8})(?:\.([0-9]{1,9}))?(Z|[+-][0-9:]+)?", text)
    if match is None:
        return None
    return datetime.datetime.fromisoformat(match[1] + (match[3] or "")), (match[2] or "").ljust(9, "0")


def _described(tensor: Tensor, described: Mapping[str, JSON]) -> Difference | None:
    """The metadata say what the output is."""
    entries = {entry["name"]: entry for entry in described.get("outputs", ())}
    if not entries:
        return None
    entry = entries.get(tensor.name)
    if entry is None:
        return Difference("not in the metadata", f"'{tensor.name}' is none of {sorted(entries)}")
    if entry["datatype"] != tensor.datatype:
        return Difference("not as the metadata say", f"'{tensor.name}' is {tensor.datatype}, not {entry['datatype']}")
    return None


def _dtype_of(want: Answer, name: str) -> str | None:
    """The datatype of what the model answered; None: its dtype alone does not say."""
    dtypes = want.dtypes or {}
    dtype = dtypes.get(name) or dtypes.get(None)
    if dtype is None:
        return None
    return _DATATYPES.get(dtype) or (dtype.upper() if re.fullmatch("u?int[0-9]+", dtype) else None)
