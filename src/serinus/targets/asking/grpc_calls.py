"""Messages of the Open Inference Protocol's ModelInfer: requests and answers.

Field numbers: open-inference-protocol, specification/protocol/grpc_predict_v2.proto. Contents are sent typed, as
generated clients do. A call is sent as HTTP/1.1 with a gRPC frame in its body, which Envoy accepts like HTTP/2.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

from serinus_runtime.base import protobuf
from serinus_runtime.base.errors import RequestError
from serinus_runtime.base.protobuf import bytes_field, fields, packed_field, text_field

TARGET = "/inference.GRPCInferenceService/ModelInfer"
CONTENT_TYPE = "application/grpc"
_MOST_DIMENSIONS = 16
_CONTENTS = {
    "BOOL": 1, "INT8": 2, "INT16": 2, "INT32": 2, "INT64": 3, "UINT8": 4, "UINT16": 4, "UINT32": 4, "UINT64": 5,
    "FP32": 6, "FP64": 7, "BYTES": 8,
}  # fmt: skip
_RAW = {
    "BOOL": "?", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "UINT8": "B", "UINT16": "H", "UINT32": "I",
    "UINT64": "Q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip


class NoForm(Exception):
    """The messages cannot express the rows. The text says why."""


def framed(model: str, tensors: Sequence[Mapping[str, Any]]) -> bytes:
    """Returns a request after its length. Raises NoForm."""
    message = text_field(1, model) + b"".join([bytes_field(5, _input(tensor)) for tensor in tensors])
    return b"\0" + struct.pack(">I", len(message)) + message


def _input(tensor: Mapping[str, Any]) -> bytes:
    described = text_field(1, tensor["name"]) + text_field(2, tensor["datatype"]) + packed_field(3, tensor["shape"])
    return described + bytes_field(5, _contents(tensor["datatype"], tensor["data"]))


def _contents(datatype: str, data: Sequence[Any]) -> bytes:
    number = _CONTENTS.get(datatype)
    if number is None:
        raise NoForm(f"its typed contents have no field for {datatype}")
    if number in (6, 7):
        numbers = [float("nan") if value is None else float(value) for value in data]
        try:
            return bytes_field(number, struct.pack(f"<{len(numbers)}{'f' if number == 6 else 'd'}", *numbers))
        except OverflowError as error:
            raise NoForm("a number of the rows is too large for FP32") from error
    if any(value is None for value in data):
        raise NoForm(f"its typed contents have no null for {datatype}")
    if number == 8:
        return b"".join([text_field(8, str(value)) for value in data])
    return packed_field(number, map(int, data))


def outputs_of(body: bytes) -> list[dict[str, Any]]:
    """Returns name, datatype, shape and data of each output, as in the protocol's JSON. Raises ValueError."""
    if len(body) < 5 or body[0] or int.from_bytes(body[1:5], "big") != len(body) - 5:
        raise ValueError("not one message after its length")
    try:
        found: list[bytes] = []
        raw: list[bytes] = []
        for number, wire, value in fields(body[5:], "the answer"):
            if number in (5, 6):
                protobuf.expect(wire, protobuf.LENGTH, "the answer")
                (raw if number == 6 else found).append(value)
        outputs = [_output(message) for message in found]
        if any(len(output["shape"]) > _MOST_DIMENSIONS for output in outputs):
            raise ValueError(f"more than {_MOST_DIMENSIONS} dimensions")
        for output, part in zip(outputs, raw, strict=bool(raw)) if raw else ():
            output["data"] = _unpacked(part, output["datatype"], prod(output["shape"]))
        return outputs
    except (RequestError, struct.error, UnicodeDecodeError) as error:
        raise ValueError("not a message of the protocol") from error


def _output(message: bytes) -> dict[str, Any]:
    output: dict[str, Any] = {"name": "", "datatype": "", "shape": [], "data": []}
    for number, wire, value in fields(message, "an output"):
        if number in (1, 2):
            output["name" if number == 1 else "datatype"] = protobuf.text(value, wire, "an output")
        elif number == 3:
            output["shape"] += map(protobuf.signed, protobuf.integers(value, wire, "a shape"))
        elif number == 5:
            output["data"] += _values(value)
    return output


def _values(contents: bytes) -> Iterator[Any]:
    what = "the contents of an output"
    for number, wire, value in fields(contents, what):
        if number == 8:
            yield text_of(value)
        elif number == 6:
            yield from protobuf.floats(value, wire, what)
        elif number == 7:
            yield from protobuf.doubles(value, wire, what)
        elif number == 1:
            yield from (item != 0 for item in protobuf.integers(value, wire, what))
        else:
            found = protobuf.integers(value, wire, what)
            yield from found if number in (4, 5) else map(protobuf.signed, found)


def _unpacked(part: bytes, datatype: str, count: int) -> list[Any]:
    if datatype != "BYTES":
        return list(struct.unpack(f"<{count}{_RAW[datatype]}" if datatype in _RAW else "", part))
    found, at = [], 0
    while at < len(part):
        size = int.from_bytes(part[at : at + 4], "little")
        found.append(text_of(part[at + 4 : at + 4 + size]))
        at += 4 + size
    return found


def text_of(value: bytes) -> str:
    """Returns text. Bytes that are not text are in base64, as in MLflow's protocol."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(value).decode("ascii")
