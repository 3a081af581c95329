"""The binary tensor data extension of the Open Inference Protocol, for what is sent; answers are JSON."""

from __future__ import annotations

import struct
from typing import Any

from serinus_runtime.errors import RequestError

_FORMATS = {
    "BOOL": "?", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "UINT8": "B", "UINT16": "H", "UINT32": "I",
    "UINT64": "Q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip


def split(body: bytes, length: bytes) -> tuple[bytes, bytes]:
    """The JSON and the raw bytes after it."""
    if not length.isdigit() or int(length) > len(body):
        raise RequestError("Inference-Header-Content-Length is not a length within the body")
    return body[: int(length)], body[int(length) :]


class Reader:
    """Takes one tensor after another from the raw bytes, in the order of the inputs."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def take(self, datatype: str, count: int, size: Any) -> list[Any]:
        """Flat values; NaN stands for null, as it does in JSON. RequestError: sizes do not fit."""
        if type(size) is not int or size < 0 or size > len(self._raw) - self._at:
            raise RequestError("binary_data_size is not a length within the body")
        part = self._raw[self._at : self._at + size]
        self._at += size
        if datatype == "BYTES":
            return _strings(part, count)
        if count * struct.calcsize(_FORMATS[datatype]) != size:
            raise RequestError("binary_data_size is not what shape and datatype say")
        values = list(struct.unpack(f"<{count}{_FORMATS[datatype]}", part))
        return [None if value != value else value for value in values] if datatype.startswith("FP") else values

    def check_end(self) -> None:
        if self._at != len(self._raw):
            raise RequestError("there are more binary bytes than the inputs take")


def _strings(part: bytes, count: int) -> list[Any]:
    values = []
    at = 0
    while at + 4 <= len(part):
        (length,) = struct.unpack_from("<I", part, at)
        values.append(part[at + 4 : at + 4 + length])
        at += 4 + length
    if at != len(part) or len(values) != count:
        raise RequestError("the binary strings are not what shape and binary_data_size say")
    try:
        return [value.decode("utf-8") for value in values]
    except UnicodeDecodeError as error:
        raise RequestError("a binary string is not UTF-8") from error
