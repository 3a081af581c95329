"""An ONNX file, written without the onnx package: protocol-buffer messages as `onnx.proto3` numbers their fields.

https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3 and https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from typing import Any, Iterable, Sequence, Tuple

IR_VERSION = 10
OPSETS = (("", 18), ("ai.onnx.ml", 5))
TYPES = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "bool": 9, "float64": 11}
"""numpy's names of TensorProto.DataType."""

_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_STRING, _ATTRIBUTE_TENSOR = 1, 2, 3, 4
_ATTRIBUTE_FLOATS, _ATTRIBUTE_INTS = 6, 7


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers as 64 bits in two's complement
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _packed(field: int, values: Iterable[int]) -> bytes:
    return _bytes(field, b"".join(map(_varint, values)))


def tensor(array: Any, name: str = "") -> bytes:
    """A TensorProto of a numpy array of one of `TYPES`."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    parts = [_packed(1, array.shape), _number(2, TYPES[array.dtype.name]), _bytes(9, little.tobytes())]
    return b"".join(parts) + (_text(8, name) if name else b"")


def attribute(name: str, value: Any) -> bytes:
    """An AttributeProto: int, float, str, numpy array, or a sequence of ints or of floats."""
    head = _text(1, name)
    if isinstance(value, int):
        return head + _number(3, value) + _number(20, _ATTRIBUTE_INT)
    if isinstance(value, float):
        return head + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, _ATTRIBUTE_FLOAT)
    if isinstance(value, str):
        return head + _text(4, value) + _number(20, _ATTRIBUTE_STRING)
    if hasattr(value, "dtype"):
        return head + _bytes(5, tensor(value)) + _number(20, _ATTRIBUTE_TENSOR)
    if value and isinstance(value[0], float):
        packed = struct.pack(f"<{len(value)}f", *value)
        return head + _bytes(7, packed) + _number(20, _ATTRIBUTE_FLOATS)
    return head + _packed(8, value) + _number(20, _ATTRIBUTE_INTS)


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], domain: str, attributes: Iterable[bytes]) -> bytes:
    parts = [_text(1, name) for name in inputs] + [_text(2, name) for name in outputs]
    parts += [_text(4, op), *(_bytes(5, part) for part in attributes)]
    return b"".join(parts) + (_text(7, domain) if domain else b"")


def _value(name: str, kind: int, shape: Sequence[int]) -> bytes:
    """A ValueInfoProto of a tensor whose first dimension, `rows`, is open."""
    dimensions = _bytes(1, _text(2, "rows")) + b"".join(_bytes(1, _number(1, size)) for size in shape)
    tensor_type = _number(1, kind) + _bytes(2, dimensions)
    return _text(1, name) + _bytes(2, _bytes(1, tensor_type))


Value = Tuple[str, str, Sequence[int]]
"""Name, numpy's name of the type, shape without the rows."""


def model(
    nodes: Sequence[bytes], constants: Sequence[bytes], inputs: Sequence[Value], outputs: Sequence[Value]
) -> bytes:
    """A ModelProto."""
    parts: list[bytes] = [_bytes(1, part) for part in nodes]
    parts.append(_text(2, "model"))
    parts += [_bytes(5, part) for part in constants]
    for field, values in ((11, inputs), (12, outputs)):
        parts += [_bytes(field, _value(name, TYPES[kind], shape)) for name, kind, shape in values]
    opsets = b"".join(
        _bytes(8, (_text(1, domain) if domain else b"") + _number(2, number)) for domain, number in OPSETS
    )
    return _number(1, IR_VERSION) + _text(2, "serinus") + _bytes(7, b"".join(parts)) + opsets
