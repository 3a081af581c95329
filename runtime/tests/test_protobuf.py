"""What the writer of Protocol Buffers writes is what the reader reads, and ONNX files are written by the same one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus_runtime.base import protobuf
from serinus_runtime.compiling import onnx_file

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(number=st.integers(1, 2**29 - 1), values=st.lists(INT64, max_size=20))
def test_packed_integers_are_read_as_they_were_written(number: int, values: list[int]) -> None:
    ((found, wire, content),) = protobuf.fields(protobuf.packed_field(number, values), "a message")
    assert found == number
    assert list(map(protobuf.signed, protobuf.integers(content, wire, "a message"))) == values


@given(st.floats(width=32, allow_nan=False))
def test_a_float_is_read_as_it_was_written(value: float) -> None:
    ((found, wire, content),) = protobuf.fields(protobuf.float_field(2, value), "a message")
    assert (found, wire) == (2, protobuf.FIXED32)
    assert list(protobuf.floats(content, wire, "a message")) == [value]


@given(st.integers(1, 100), INT64, st.binary(max_size=300), st.text(max_size=50))
def test_fields_of_each_type_are_read_in_their_order(number: int, whole: int, raw: bytes, text: str) -> None:
    message = protobuf.number_field(number, whole) + protobuf.bytes_field(number + 1, raw)
    first, second, third = protobuf.fields(message + protobuf.text_field(1, text), "a message")
    assert (first[0], protobuf.signed(first[2])) == (number, whole)
    assert second == (number + 1, protobuf.LENGTH, raw)
    assert protobuf.text(third[2], third[1], "a message") == text.encode("utf-8", "replace").decode()


def test_a_text_without_utf8_is_replaced_in_an_answer_and_never_in_a_graph() -> None:
    assert protobuf.text_field(1, "\ud800") == protobuf.text_field(1, "?")
    with pytest.raises(UnicodeEncodeError):
        onnx_file.attribute("keys_strings", "\ud800")
