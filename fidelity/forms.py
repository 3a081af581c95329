"""The forms in which a model is asked, and how each of them is written and read.

`/invocations` has MLflow's own forms. For the Open Inference Protocol, which MLflow does not speak, `equivalent` gives
the form of `/invocations` that holds the same rows.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from fidelity.case import JSON, Ask, Recipe

MODEL, VERSION = "fraud", "1"
CSV = "csv"
INVOCATIONS = (
    "dataframe_split", "dataframe_split without names", "dataframe_records", "instances", "instances of records",
    "inputs", "inputs of records", "inputs of columns", CSV,
)  # fmt: skip
OIP = ("json", "json matrix", "json, raw answer", "binary", "grpc", "grpc raw")
_SCALARS = {"double": "FP64", "float": "FP32", "integer": "INT32", "long": "INT64", "boolean": "BOOL",
            "string": "BYTES", "binary": "BYTES", "datetime": "BYTES"}  # fmt: skip
_CONTENTS = {"BOOL": "bool_contents", "INT64": "int64_contents", "UINT64": "uint64_contents", "FP32": "fp32_contents",
             "FP64": "fp64_contents", "BYTES": "bytes_contents"}  # fmt: skip
_NUMPY = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BOOL": "?"}


class CannotEncode(Exception):
    """The form has no way to hold these values. Nothing is compared."""


@dataclass(frozen=True)
class Sent:
    """`about`: the JSON before the bytes, of a binary body; `message`: of a gRPC call."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    def encode(self) -> bytes:
        lines = [f"POST {self.path} HTTP/1.1", "host: models", *(f"{k}: {v}" for k, v in self.headers.items())]
        head = "\r\n".join([*lines, f"content-length: {len(self.body)}", "", ""])
        return head.encode("latin-1") + self.body


def protocol_of(form: str) -> str:
    """For the table: which protocol a form belongs to."""
    if form in INVOCATIONS:
        return "csv" if form == CSV else "invocations"
    return "grpc" if form.startswith("grpc") else "infer, binary" if "raw" in form or form == "binary" else "infer"


def forms_of(recipe: Recipe) -> tuple[str, ...]:
    """Those that a caller may try on the model, whether they are answered or refused."""
    if recipe.hinted:
        return ("inputs", "instances", "dataframe_split")
    if recipe.tensors:
        own = ("inputs", "instances") if recipe.names == [None] else ("inputs of columns", "instances of records")
        return (*own, *(form for form in OIP if form != "json matrix"))
    matrix = all(spec["type"] in ("double", "float", "integer", "long") for spec in recipe.inputs)
    infer = tuple(form for form in OIP if form != "json matrix" or matrix)
    if recipe.names and recipe.names[0] is None:
        infer = ("json matrix",) if matrix else ()
    if recipe.signed:
        return INVOCATIONS + infer
    # Without a signature a tensor is of the datatype that was sent, which is another one than JSON's.
    types = {spec["type"] for spec in recipe.inputs}
    alike = recipe.trained and types <= {"double", "long", "string", "boolean"}
    return INVOCATIONS + tuple(form for form in infer if alike and (form != "json matrix" or types == {"double"}))


def equivalent(recipe: Recipe, ask: Ask) -> Ask:
    """The same rows by `/invocations`."""
    if ask.form in INVOCATIONS:
        return ask
    if recipe.hinted:
        return replace(ask, form="inputs")
    if recipe.tensors:
        return replace(ask, form="inputs" if recipe.names == [None] else "inputs of columns")
    if ask.form == "json matrix" and (not recipe.signed or recipe.names[0] is None):
        return replace(ask, form="dataframe_split without names" if recipe.signed else "inputs")
    return replace(_named(recipe, ask), form="dataframe_split")


BY_PLACE = ("json matrix", "dataframe_split without names", "instances", "inputs")


def _named(recipe: Recipe, ask: Ask) -> Ask:
    """Values that are sent by their places belong to the columns in the order of the signature."""
    by_place = ask.form in BY_PLACE and len(ask.columns) == len(recipe.inputs)
    return replace(ask, columns=tuple(recipe.names)) if by_place else ask


def plain(recipe: Recipe, ask: Ask, sent: Sent) -> list[Ask]:
    """The same rows in the forms that MLflow takes for such a model. `sent`: as they were sent."""
    names: tuple[str, ...]
    if recipe.tensors or recipe.hinted:
        names = ("inputs",) if recipe.names == [None] else ("inputs of columns",)
    else:
        unnamed = ("dataframe_split without names", "dataframe_records")
        names = unnamed if recipe.names[0] is None else ("dataframe_split",)
    rows = replace(_named(recipe, ask), spoil=())
    if ask.spoil and ask.spoil[0] == LEFT_OUT:
        [records] = [value for name, value in json.loads(sent.body).items() if name != "params"]
        rows = replace(rows, rows=tuple(tuple(record.get(str(name)) for name in ask.columns) for record in records))
        names = (*names, ask.form)
    elif ask.form == CSV and not recipe.tensors:
        rows = replace(rows, rows=tuple(_as_read(recipe, rows, row) for row in rows.rows))
    alike = replace(rows, rows=times_alike(recipe, rows))
    return [replace(rows, form=name) for name in names if name != ask.form or ask.spoil] + [
        replace(alike, form=name) for name in names if alike != rows
    ]


def as_records(ask: Ask, sent: Sent) -> list[Ask]:
    """Records that were sent as `instances`, as `dataframe_records`; empty where they are none, or not all alike."""
    records = json.loads(sent.body).get("instances") if ask.form.startswith("instances") else None
    if not isinstance(records, list) or not all(isinstance(one, dict) and one for one in records):
        return []
    if len({tuple(one) for one in records}) != 1:
        return []
    values = tuple(tuple(one.values()) for one in records)
    return [replace(ask, form="dataframe_records", columns=tuple(records[0]), rows=values, spoil=())]


def times_alike(recipe: Recipe, ask: Ask) -> tuple[tuple[JSON, ...], ...]:
    """The rows with ISO 8601 times written in one way, where they are not."""
    kinds = {spec.get("name"): spec["type"] for spec in recipe.inputs}
    types = [recipe.inputs[i]["type"] if name is None else kinds.get(name) for i, name in enumerate(ask.columns)]
    rows = [list(row) for row in ask.rows]
    for i, kind in enumerate(types):
        if kind == "datetime" and len({re.sub("[0-9]", "0", str(row[i])) for row in rows if row[i] is not None}) > 1:
            for row in rows:
                row[i] = _full(row[i])
    return tuple(map(tuple, rows))


def _full(value: JSON) -> JSON:
    """A time to its nanoseconds; what is none as it is."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?", str(value))
    if match is None:
        return value
    day, minutes, seconds, part = match.groups()
    return f"{day}T{minutes or '00:00'}:{seconds or '00'}.{(part or '').ljust(9, '0')}"


LEFT_OUT = "a field left out"
"""The kind of a spoiled body whose rows are still told."""
_TEXTS = ("string", "binary", "datetime")


def _as_read(recipe: Recipe, ask: Ask, row: Sequence[JSON]) -> tuple[JSON, ...]:
    """The values that a row of CSV holds: an empty field is null, and a number for a text is its digits."""
    kinds = {spec.get("name"): spec["type"] for spec in recipe.inputs}
    types = [recipe.inputs[i]["type"] if name is None else kinds.get(name) for i, name in enumerate(ask.columns)]
    return tuple(
        None if value == "" else str(value) if kind in _TEXTS and value is not None else value
        for kind, value in zip(types, row, strict=True)
    )


def sent_of(recipe: Recipe, ask: Ask) -> Sent:
    """Raises CannotEncode."""
    if ask.form == CSV:
        return Sent("/invocations", {"content-type": "text/csv"}, _csv(ask))
    if ask.form in INVOCATIONS:
        content: dict[str, JSON] = _invocations(recipe, ask)
        if ask.params is not None:
            content["params"] = dict(ask.params)
        return Sent("/invocations", {"content-type": "application/json"}, _json(content))
    tensors = _tensors(recipe, ask)
    if ask.form.startswith("grpc"):
        return _grpc(tensors, ask)
    return _infer(tensors, ask)


def _json(content: JSON) -> bytes:
    try:
        return json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, UnicodeEncodeError) as error:
        raise CannotEncode(str(error)) from error


def _invocations(recipe: Recipe, ask: Ask) -> dict[str, JSON]:
    names = [i if name is None else name for i, name in enumerate(ask.columns)]
    rows = [list(row) for row in ask.rows]
    records = [dict(zip(map(str, names), row, strict=True)) for row in rows]
    single = len(names) == 1 and (recipe.tensors or recipe.hinted)
    listed = [row[0] for row in rows] if single else rows
    columns = {str(name): [row[i] for row in rows] for i, name in enumerate(names)}
    contents: dict[str, dict[str, JSON]] = {
        "dataframe_split": {"dataframe_split": {"columns": names, "data": rows}},
        "dataframe_split without names": {"dataframe_split": {"data": rows}},
        "dataframe_records": {"dataframe_records": records},
        "instances": {"instances": listed},
        "instances of records": {"instances": records},
        "inputs": {"inputs": listed},
        "inputs of records": {"inputs": records},
        "inputs of columns": {"inputs": columns},
    }
    return contents[ask.form]


def _csv(ask: Ask) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([i if name is None else name for i, name in enumerate(ask.columns)])
    for row in ask.rows:
        if any(isinstance(value, (list, dict)) for value in row):
            raise CannotEncode("CSV has no arrays and objects")
        writer.writerow(["" if value is None else value for value in row])
    try:
        return text.getvalue().encode()
    except UnicodeEncodeError as error:
        raise CannotEncode("not UTF-8") from error


# --- the Open Inference Protocol


@dataclass(frozen=True)
class _Tensor:
    name: str
    datatype: str
    shape: list[int]
    data: list[JSON]


def _tensors(recipe: Recipe, ask: Ask) -> list[_Tensor]:
    if ask.form == "json matrix":
        width = len(ask.columns)
        if any(isinstance(value, (list, dict)) for row in ask.rows for value in row):
            raise CannotEncode("nested data are flat data there")
        return [_Tensor("input-0", "FP64", [len(ask.rows), width], [value for row in ask.rows for value in row])]
    specs = {spec.get("name"): spec for spec in recipe.inputs}
    found = []
    for i, name in enumerate(ask.columns):
        spec = specs.get(name)
        values = [row[i] for row in ask.rows]
        called = f"input-{i}" if name is None else name
        if spec is not None and spec["type"] == "tensor":
            found.append(_nested(called, _datatype(spec["tensor-spec"]["dtype"]), values))
        else:
            kind = "double" if spec is None else spec["type"]
            if kind in _SCALARS and any(isinstance(value, (list, dict)) for value in values):
                raise CannotEncode("nested data are flat data there")
            found.append(_Tensor(called, _SCALARS.get(kind, "BYTES"), [len(values)], values))
    return found


def _datatype(dtype: str) -> str:
    if dtype.startswith("float"):
        return f"FP{dtype[5:]}"
    return "BOOL" if dtype == "bool" else dtype.upper() if "int" in dtype else "BYTES"


def _nested(name: str, datatype: str, values: list[JSON]) -> _Tensor:
    shape = [len(values)]
    flat = values
    while flat and isinstance(flat[0], list):
        if len({len(part) if isinstance(part, list) else -1 for part in flat}) > 1:
            raise CannotEncode("nested unevenly")
        shape.append(len(flat[0]))
        flat = [value for part in flat for value in part]
    return _Tensor(name, datatype, shape, flat)


def _infer(tensors: Sequence[_Tensor], ask: Ask) -> Sent:
    parts: list[bytes] = []
    inputs = []
    for tensor in tensors:
        entry: dict[str, JSON] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if ask.form == "binary":
            parts.append(_raw(tensor))
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = tensor.data
        inputs.append(entry)
    content: dict[str, JSON] = {"id": "7", "inputs": inputs}
    parameters = dict(ask.params or {})
    if ask.form != "json" and ask.form != "json matrix":
        parameters["binary_data_output"] = True
    if parameters:
        content["parameters"] = parameters
    text = _json(content)
    headers = {"content-type": "application/json"}
    if parts:
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(text))}
    return Sent(f"/v2/models/{MODEL}/infer", headers, b"".join([text, *parts]))


def _raw(tensor: _Tensor) -> bytes:
    if tensor.datatype == "BYTES":
        parts = [_bytes(value) for value in tensor.data]
        return b"".join(struct.pack("<I", len(part)) + part for part in parts)
    values = _fitting(tensor)
    dtype = (
        _NUMPY.get(tensor.datatype)
        or f"<{'u' if tensor.datatype[0] == 'U' else 'i'}{int(tensor.datatype.lstrip('UINT')) // 8}"
    )
    return np.array(values, dtype=dtype).tobytes()


def _bytes(value: JSON) -> bytes:
    if not isinstance(value, str):
        raise CannotEncode("no text")
    return value.encode("utf-8", "surrogatepass")


def _fitting(tensor: _Tensor) -> list[Any]:
    """The values as the datatype has them, null as NaN. Raises CannotEncode where it cannot hold one."""
    kind = tensor.datatype
    if kind == "BOOL":
        if not all(isinstance(value, bool) for value in tensor.data):
            raise CannotEncode("no boolean")
        return tensor.data
    values = [math.nan if value is None and kind.startswith("FP") else value for value in tensor.data]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise CannotEncode("no number")
        if kind.startswith("FP"):
            if abs(value) > 1.7e308 or (
                math.isfinite(value) and kind != "FP64" and float(np.dtype(_NUMPY[kind]).type(value)) != value
            ):
                raise CannotEncode("out of range or not exact")
        elif not isinstance(value, int) or not np.iinfo(kind.lower()).min <= value <= np.iinfo(kind.lower()).max:
            raise CannotEncode("no whole number of that size")
    return values


def _grpc(tensors: Sequence[_Tensor], ask: Ask) -> Sent:
    message = service_pb2.ModelInferRequest(model_name=MODEL, id="7")
    for tensor in tensors:
        entry = message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if ask.form == "grpc raw":
            message.raw_input_contents.append(_raw(tensor))
            continue
        if tensor.datatype == "FP16":
            raise CannotEncode("FP16 has no contents of its own")
        contents = _CONTENTS.get(tensor.datatype) or ("uint_contents" if tensor.datatype[0] == "U" else "int_contents")
        values = [_bytes(value) for value in tensor.data] if tensor.datatype == "BYTES" else _fitting(tensor)
        getattr(entry.contents, contents).extend(values)
    for name, value in (ask.params or {}).items():
        if isinstance(value, list):
            raise CannotEncode("a gRPC parameter is no list")
        word = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}[type(value)]
        if word not in service_pb2.InferParameter.DESCRIPTOR.fields_by_name:
            raise CannotEncode("a gRPC parameter is no number with a fraction")
        setattr(message.parameters[name], word, value)
    body = message.SerializeToString()
    framed = b"\0" + struct.pack(">I", len(body)) + body
    return Sent(
        "/inference.GRPCInferenceService/ModelInfer", {"content-type": "application/grpc", "te": "trailers"}, framed
    )
