"""The wire format of Protocol Buffers, as far as proto3 messages use it (protobuf.dev/programming-guides/encoding).

There is one reader and one writer for gRPC's messages and ONNX files. Nothing recurses, because the caller says which
fields are messages. So nesting costs nothing, and every loop ends with the bytes.
"""

from __future__ import annotations

import struct
from typing import Any, Iterable, Iterator, Sequence

from serinus_runtime.base.errors import RequestError

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
_MOST_BITS = 64


def fields(message: bytes, what: str) -> Iterator[tuple[int, int, Any]]:
    """Yields (number, wire type, value) of each field. The value is an int >= 0 for a VARINT, and bytes otherwise.

    Raises RequestError, which names the message (`what`) and the byte at which it cannot be read.
    """
    at, end = 0, len(message)
    while at < end:
        key = message[at]
        begin, at = at, at + 1
        if key > 127:
            key, at = _varint(message, begin, what)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise _unreadable(what, begin, "a field has the number 0")
        if wire == VARINT:
            value: Any
            value, at = _varint(message, at, what)
            yield number, wire, value
            continue
        if wire == LENGTH:
            # Most are short, so that the next byte is the length.
            if at < end and message[at] < 128:
                size, at = message[at], at + 1
            else:
                size, at = _varint(message, at, what)
        elif wire in _FIXED:
            size = _FIXED[wire]
        else:
            raise _unreadable(what, begin, "groups are not supported")
        if size > end - at:
            raise _unreadable(what, begin, "a field goes beyond the end")
        yield number, wire, message[at : at + size]
        at += size


def _varint(message: bytes, at: int, what: str) -> tuple[int, int]:
    """Returns the number and where it ended."""
    value = shift = 0
    begin, end = at, len(message)
    while at < end:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >> _MOST_BITS:
                break
            return value, at
        shift += 7
        if shift >= _MOST_BITS + 6:  # Ten bytes hold all 64 bits.
            break
    else:
        raise _unreadable(what, begin, "a number goes beyond the end")
    raise _unreadable(what, begin, "a number is longer than 64 bits")


def _unreadable(what: str, at: int, why: str) -> RequestError:
    return RequestError(f"{what} is not valid protobuf: {why} (byte {at})")


def expect(wire: int, wanted: int, what: str) -> None:
    """Raises RequestError where a known field has another type."""
    if wire != wanted:
        raise RequestError(f"{what} is not valid protobuf: a field is of another type than the protocol's")


def text(value: Any, wire: int, what: str) -> str:
    """The value of a string field. `what` names the message in errors."""
    expect(wire, LENGTH, what)
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"a string of {what} is not UTF-8") from error


def integers(value: Any, wire: int, what: str) -> list[int]:
    """The values of a repeated integer field, packed or not; unsigned."""
    if wire == VARINT:
        return [value]
    expect(wire, LENGTH, what)
    if not value or max(value) < 128:
        return list(value)
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at, what)
        found.append(number)
    return found


def signed(value: int) -> int:
    """int32 and int64 travel as 64 bits in two's complement."""
    return value - (1 << 64) if value >> 63 else value


def floats(value: Any, wire: int, what: str) -> Sequence[float]:
    """The values of a repeated float field, packed or not."""
    return _fixed(value, wire, FIXED32, "f", what)


def doubles(value: Any, wire: int, what: str) -> Sequence[float]:
    """The values of a repeated double field, packed or not."""
    return _fixed(value, wire, FIXED64, "d", what)


def _fixed(value: Any, wire: int, single: int, letter: str, what: str) -> Sequence[float]:
    if wire != single:
        expect(wire, LENGTH, what)
    count, rest = divmod(len(value), _FIXED[single])
    if rest:
        raise RequestError(f"{what} is not valid protobuf: the last number of a list is not whole")
    return struct.unpack(f"<{count}{letter}", value)


# --- writing


def varint(value: int) -> bytes:
    """`value` within 64 bits; negative ones in two's complement."""
    value &= (1 << 64) - 1
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def number_field(number: int, value: int) -> bytes:
    """A field with a whole number, as it is written in a message."""
    return varint(number << 3 | VARINT) + varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    """A field with bytes, a string or a message, as it is written in a message."""
    return varint(number << 3 | LENGTH) + varint(len(value)) + value


def text_field(number: int, value: str) -> bytes:
    """A lone surrogate, which a JSON string may hold, has no UTF-8 and is replaced."""
    return bytes_field(number, value.encode("utf-8", "replace"))


def packed_field(number: int, values: Iterable[int]) -> bytes:
    """Returns a packed, repeated integer field."""
    return bytes_field(number, b"".join(map(varint, values)))


def float_field(number: int, value: float) -> bytes:
    """Returns a float field in single precision."""
    return varint(number << 3 | FIXED32) + struct.pack("<f", value)
