"""Writes ONNX files without the onnx package: protocol buffer messages with the field numbers of `onnx.proto3`.

https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
"""

from __future__ import annotations

import struct
from typing import Any, Iterable, Sequence, Tuple

from serinus_runtime.base.protobuf import bytes_field, float_field, number_field, packed_field

IR_VERSION = 10
OPSETS = (("", 18), ("ai.onnx.ml", 5))
TYPES = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "bool": 9, "float64": 11}
"""TensorProto.DataType by NumPy's names."""

_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_STRING, _ATTRIBUTE_TENSOR = 1, 2, 3, 4
_ATTRIBUTE_FLOATS, _ATTRIBUTE_INTS = 6, 7


def _text(field: int, value: str) -> bytes:
    """Returns a text field. Raises UnicodeEncodeError for text without a UTF-8 encoding, because a changed name would
    be another one."""
    return bytes_field(field, value.encode())


def tensor(array: Any, name: str = "") -> bytes:
    """Returns a TensorProto of a NumPy array of one of `TYPES`."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    parts = [packed_field(1, array.shape), number_field(2, TYPES[array.dtype.name]), bytes_field(9, little.tobytes())]
    return b"".join(parts) + (_text(8, name) if name else b"")


def attribute(name: str, value: Any) -> bytes:
    """Returns an AttributeProto of an int, float, str, NumPy array, or a sequence of ints or floats."""
    head = _text(1, name)
    if isinstance(value, int):
        return head + number_field(3, value) + number_field(20, _ATTRIBUTE_INT)
    if isinstance(value, float):
        return head + float_field(2, value) + number_field(20, _ATTRIBUTE_FLOAT)
    if isinstance(value, str):
        return head + _text(4, value) + number_field(20, _ATTRIBUTE_STRING)
    if hasattr(value, "dtype"):
        return head + bytes_field(5, tensor(value)) + number_field(20, _ATTRIBUTE_TENSOR)
    if value and isinstance(value[0], float):
        packed = struct.pack(f"<{len(value)}f", *value)
        return head + bytes_field(7, packed) + number_field(20, _ATTRIBUTE_FLOATS)
    return head + packed_field(8, value) + number_field(20, _ATTRIBUTE_INTS)


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], domain: str, attributes: Iterable[bytes]) -> bytes:
    """Returns a NodeProto."""
    parts = [_text(1, name) for name in inputs] + [_text(2, name) for name in outputs]
    parts += [_text(4, op), *(bytes_field(5, part) for part in attributes)]
    return b"".join(parts) + (_text(7, domain) if domain else b"")


def _value(name: str, kind: int, shape: Sequence[int]) -> bytes:
    """Returns a ValueInfoProto of a tensor whose first dimension, `rows`, is variable."""
    dimensions = bytes_field(1, _text(2, "rows")) + b"".join(bytes_field(1, number_field(1, size)) for size in shape)
    tensor_type = number_field(1, kind) + bytes_field(2, dimensions)
    return _text(1, name) + bytes_field(2, bytes_field(1, tensor_type))


Value = Tuple[str, str, Sequence[int]]
"""The name, NumPy's name of the type, and the shape without rows."""


def model(
    nodes: Sequence[bytes], constants: Sequence[bytes], inputs: Sequence[Value], outputs: Sequence[Value]
) -> bytes:
    """Returns a ModelProto."""
    parts: list[bytes] = [bytes_field(1, part) for part in nodes]
    parts.append(_text(2, "model"))
    parts += [bytes_field(5, part) for part in constants]
    for field, values in ((11, inputs), (12, outputs)):
        parts += [bytes_field(field, _value(name, TYPES[kind], shape)) for name, kind, shape in values]
    opsets = b"".join(
        bytes_field(8, (_text(1, domain) if domain else b"") + number_field(2, number)) for domain, number in OPSETS
    )
    return number_field(1, IR_VERSION) + _text(2, "serinus") + bytes_field(7, b"".join(parts)) + opsets
