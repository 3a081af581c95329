"""Tensors as raw bytes: little-endian, row-major, with each string after its length. The Open Inference Protocol has
this format in the binary tensor data extension of REST and in the raw contents of gRPC."""

from __future__ import annotations

import json
import struct
from typing import Any, Sequence

from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.values.outputs import Output

_FORMATS = {
    "BOOL": "?", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "UINT8": "B", "UINT16": "H", "UINT32": "I",
    "UINT64": "Q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
_SIZES = {datatype: struct.calcsize(letter) for datatype, letter in _FORMATS.items()}
_NOT_A_NUMBER = float("nan")


def split(body: bytes, length: bytes) -> tuple[bytes, bytes]:
    """Returns the JSON part and the raw bytes after it."""
    if not length.isdigit() or len(length) > 18 or int(length) > len(body):
        raise RequestError("Inference-Header-Content-Length is not a length within the body")
    return body[: int(length)], body[int(length) :]


class Reader:
    """Reads tensors from the raw bytes, in the order of the inputs."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def take(self, datatype: str, count: int, size: Any) -> list[Any]:
        """Returns flat values. NaN becomes None, as null in JSON. Raises RequestError where sizes do not fit."""
        if type(size) is not int or size < 0 or size > len(self._raw) - self._at:
            raise RequestError("binary_data_size is not a length within the body")
        part = self._raw[self._at : self._at + size]
        self._at += size
        return unpack(part, datatype, count)

    def check_end(self) -> None:
        """Raises RequestError where bytes remain."""
        if self._at != len(self._raw):
            raise RequestError("there are more binary bytes than the inputs take")


def unpack(part: bytes, datatype: str, count: int) -> list[Any]:
    """Returns `count` flat values. NaN becomes None, as null in JSON. Raises RequestError where there are more or
    fewer."""
    if datatype == "BYTES":
        return _strings(part, count)
    if count * _SIZES[datatype] != len(part):
        raise RequestError(
            f"the binary data of an input is {len(part)} bytes, which does not match its shape and datatype"
        )
    values = list(struct.unpack(f"<{count}{_FORMATS[datatype]}", part))
    return without_nan(values) if datatype.startswith("FP") else values


def without_nan(values: Sequence[Any]) -> list[Any]:
    """Replaces each NaN by None."""
    return [None if value != value else value for value in values]


def _strings(part: bytes, count: int) -> list[Any]:
    values = []
    at = 0
    while at + 4 <= len(part):
        (length,) = struct.unpack_from("<I", part, at)
        values.append(part[at + 4 : at + 4 + length])
        at += 4 + length
    if at != len(part) or len(values) != count:
        raise RequestError("the binary strings do not match shape and binary_data_size")
    return [text_of(value) for value in values]


def text_of(value: bytes) -> str:
    """Returns the text of bytes."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError("a binary string is not UTF-8") from error


def pack(data: Sequence[Any], datatype: str) -> bytes:
    """Returns the bytes of an output's flat values. None becomes NaN. Raises ModelFailure for a value that the datatype
    cannot hold."""
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(value)) + value for value in map(bytes_of, data))
    if datatype.startswith("FP"):
        data = with_nan(data)
    try:
        return struct.pack(f"<{len(data)}{_FORMATS[datatype]}", *data)
    except (struct.error, OverflowError) as error:
        raise ModelFailure(f"the model answered a value that is not a valid {datatype}", "bad-answer") from error


def check_present(output: Output) -> None:
    """Raises RequestError where a value is missing and the datatype has no representation for that. Floats have NaN."""
    if not output.datatype.startswith("FP") and None in output.data:
        raise RequestError(
            f"output '{output.name}' has a missing value, for which bytes of {output.datatype} have no form: "
            "ask for it as JSON, which has null, or leave it out of `outputs`"
        )


def with_nan(values: Sequence[Any]) -> Sequence[Any]:
    """Replaces each None by NaN."""
    return [_NOT_A_NUMBER if value is None else value for value in values] if None in values else values


def bytes_of(value: Any) -> bytes:
    """Returns one element of a BYTES tensor: bytes unchanged, a string as UTF-8, anything else as JSON."""
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    # A lone surrogate, which JSON can escape, has no UTF-8 encoding.
    return text.encode("utf-8", "replace")
