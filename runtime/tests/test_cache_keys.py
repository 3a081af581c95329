"""Which requests have one key: exactly those that the model cannot tell apart."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus_runtime.artifact.signature import Column, Signature, TensorSpec
from serinus_runtime.base.errors import RequestError
from serinus_runtime.base.messages import Request
from serinus_runtime.cache.keys import CacheKeys
from serinus_runtime.model.binding import inputs_of
from serinus_runtime.protocols.invocations import Invocations
from serinus_runtime.protocols.oip import OpenInference
from serinus_runtime.values.inputs import TableBound
from serinus_runtime.values.payload import Table, Tensor, Tensors

MIXED = Signature(
    columns=(
        Column("amount", "double"),
        Column("rate", "float"),
        Column("count", "long"),
        Column("country", "string", required=False),
        Column("online", "boolean", required=False),
    )
)
NAMES = tuple(str(column.name) for column in MIXED.columns)
ROW = [12.5, 0.25, 3, "NL", True]


def key_of(rows: Sequence[Sequence[Any]], signature: Signature = MIXED, names: Sequence[str] | None = NAMES) -> Any:
    bound = inputs_of(signature).bind(Table(None if names is None else tuple(names), [list(row) for row in rows]))
    return CacheKeys(signature, "fraud-1-abc123").key(bound)


def one(kind: str, value: Any) -> Any:
    return key_of([[value]], Signature(columns=(Column("x", kind),)), ["x"])


def test_the_same_features_have_one_key_however_they_are_sent() -> None:
    inputs, cache_keys = inputs_of(MIXED), CacheKeys(MIXED, "r")
    inference, invocations = OpenInference("m", "1"), Invocations(MIXED)

    def posted(read: Callable[[Request], Any], body: bytes, headers: dict[bytes, bytes]) -> Any:
        request = Request(b"POST", b"/", headers, True)
        request.body = body
        return cache_keys.key(inputs.bind(read(request).payload))

    def mlflow(content: Any) -> Any:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return posted(invocations.parse, body, {b"content-type": b"application/json"})

    kinds = ["FP64", "FP32", "INT64", "BYTES", "BOOL"]
    tensors = [
        {"name": name, "shape": [1], "datatype": kind, "data": [value]}
        for name, kind, value in zip(NAMES, kinds, ROW, strict=True)
    ]
    packed = struct.pack("<dfq", *ROW[:3]) + struct.pack("<I", 2) + b"NL\x01"
    binary = [
        {"name": name, "shape": [1], "datatype": kind, "parameters": {"binary_data_size": size}}
        for name, kind, size in zip(NAMES, kinds, [8, 4, 8, 6, 1], strict=True)
    ]
    head = json.dumps({"inputs": binary}).encode()
    keys = {
        posted(inference.parse, json.dumps({"id": "a", "inputs": tensors}).encode(), {}),
        posted(inference.parse, json.dumps({"inputs": tensors[::-1]}).encode(), {}),
        posted(inference.parse, head + packed, {b"inference-header-content-length": str(len(head)).encode()}),
        mlflow({"dataframe_split": {"columns": NAMES, "data": [ROW]}}),
        mlflow({"dataframe_split": {"columns": NAMES[::-1], "data": [ROW[::-1]]}}),
        mlflow({"dataframe_records": [dict(zip(NAMES, ROW, strict=True))]}),
        mlflow({"inputs": dict(zip(NAMES, ([value] for value in ROW), strict=True))}),
        mlflow({"dataframe_split": {"columns": [*NAMES, "more"], "data": [[*ROW, 1]]}}),
        mlflow(
            b'{ "dataframe_split" : {"columns": ["amount","rate","count","country","online"], "data":'
            b' [[1.25e1, 25E-2, 3.0, "\\u004eL", true]]}}'
        ),
    }
    assert len(keys) == 1
    assert None not in keys


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("double", [1, 1.0, 1e0]),
        ("double", [None, math.nan]),
        ("double", [2**53, 2**53 + 1, float(2**53)]),
        ("float", [0.1, struct.unpack("<f", struct.pack("<f", 0.1))[0]]),
        ("float", [16_777_216, 16_777_217]),
        ("long", [7, 7.0]),
        ("long", [10**18, 1e18]),
    ],
)
def test_spellings_of_one_value_have_one_key(kind: str, values: list[Any]) -> None:
    keys = {one(kind, value) for value in values}
    assert len(keys) == 1
    assert None not in keys


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("double", [0.0, -0.0, None, 1, 5e-324]),
        ("double", [0.1, struct.unpack("<f", struct.pack("<f", 0.1))[0]]),
        ("float", [0.0, -0.0]),
        ("long", [2**53, 2**53 + 1]),
        ("string", ["1", "", "01", "é", "e\u0301", "null"]),
        ("any", [1, 1.0, True, "1", None, [1], {"a": 1}, [1.0], -0.0, 0.0]),
        ("boolean", [True, False]),
    ],
)
def test_values_that_could_make_a_difference_have_keys_of_their_own(kind: str, values: list[Any]) -> None:
    keys = [one(kind, value) for value in values]
    assert None not in keys
    assert len(set(keys)) == len(values)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("double", True), ("double", "1"), ("double", [1]), ("double", 10**400), ("float", 1e300), ("long", 1.5),
        ("long", True), ("long", None), ("long", 2**63), ("integer", 2**31), ("long", -0.0), ("long", math.inf),
    ],
)  # fmt: skip
def test_what_the_model_would_refuse_or_take_in_two_ways_has_no_key(kind: str, value: Any) -> None:
    assert one(kind, value) is None


def test_a_text_and_a_number_of_the_same_look_differ_where_the_type_is_checked_later() -> None:
    assert one("string", 1) != one("string", "1")
    assert one("boolean", 1) != one("boolean", True)


def test_a_row_by_itself_has_the_key_that_it_has_as_a_request() -> None:
    cache_keys = CacheKeys(MIXED, "fraud-1-abc123")
    assert cache_keys.row_key(ROW) == key_of([ROW])
    assert cache_keys.row_key(["12.5", *ROW[1:]]) is None


def test_rows_do_not_run_into_each_other() -> None:
    single = Signature(columns=(Column("a", "string"), Column("b", "string")))
    keys = [key_of(rows, single, ["a", "b"]) for rows in ([["x", "y"]], [["xy", ""]], [["x", "y"], ["x", "y"]])]
    assert len(set(keys)) == 3


def test_a_column_left_out_is_not_a_column_of_null() -> None:
    without = [name for name in NAMES if name != "country"]
    left_out = key_of([[12.5, 0.25, 3, True]], names=without)
    assert left_out is not None
    assert left_out != key_of([[12.5, 0.25, 3, None, True]])
    assert left_out == key_of([[True, 3, 0.25, 12.5]], names=without[::-1])
    assert left_out != key_of([[12.5, 0.25, 3, "NL"]], names=[name for name in NAMES if name != "online"])


def test_releases_and_params_have_keys_of_their_own() -> None:
    bound = inputs_of(MIXED).bind(Table(NAMES, [ROW]))
    cache_keys = CacheKeys(MIXED, "fraud-1-abc123")
    keys = [
        cache_keys.key(bound),
        CacheKeys(MIXED, "fraud-2-abc123").key(bound),
        cache_keys.key(bound, {"t": 1}),
        cache_keys.key(bound, {"t": 1.0}),
        cache_keys.key(bound, {"t": "1"}),
    ]
    assert len(set(keys)) == len(keys)
    assert cache_keys.key(bound, {}) == cache_keys.key(bound, None) == keys[0]


def test_tensors_have_one_key_by_what_they_become_in_the_models_type() -> None:
    def key(spec: TensorSpec, data: Any, shape: tuple[int, ...] | None = None, kind: str | None = None) -> Any:
        signature = Signature(tensors=(spec,))
        bound = inputs_of(signature).bind(Tensors((Tensor("x", data, shape, kind),)))
        return CacheKeys(signature, "r").key(bound)

    numbers = TensorSpec("x", "float32", (-1, 2))
    assert key(numbers, [[1, 2.0]]) == key(numbers, [1.0, 2], (1, 2), "FP64")
    assert key(numbers, [[0.1, 2.0]]) == key(numbers, [[struct.unpack("<f", struct.pack("<f", 0.1))[0], 2.0]])
    assert key(numbers, [[0.0, 2.0]]) != key(numbers, [[-0.0, 2.0]])
    assert key(numbers, [[1.0, 2.0], [3.0, 4.0]]) != key(numbers, [[1.0, 2.0]])
    texts = TensorSpec("x", "str", (-1,))
    assert key(texts, ["1"]) != key(texts, ["1.0"])
    assert key(texts, ["1", "2.5"]) == key(texts, ["1", "2.5"], (2,), "BYTES")


def test_without_a_signature_only_what_was_sent_alike_has_one_key() -> None:
    signature = Signature()
    keys = [
        key_of([[1, 2.0]], signature, ["a", "b"]),
        key_of([[1.0, 2.0]], signature, ["a", "b"]),
        key_of([[2.0, 1]], signature, ["b", "a"]),
        key_of([[1, 2.0]], signature, None),
    ]
    assert len(set(keys)) == 4
    assert key_of([[1, 2.0]], signature, ["a", "b"]) == keys[0]


values = {
    "double": st.none() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False),
    "float": st.none() | st.integers(-(2**25), 2**25) | st.floats(-1e30, 1e30),
    "long": st.integers(-(2**62), 2**62) | st.integers(-(2**50), 2**50).map(float),
    "string": st.none() | st.text(max_size=3) | st.sampled_from(["1", "1.0"]),
    "boolean": st.none() | st.booleans(),
}
rows = st.lists(
    st.tuples(*(values[column.type] for column in MIXED.columns)).map(list), min_size=1, max_size=3
)  # fmt: skip


def seen_by_the_model(sent: list[list[Any]]) -> Any:
    """Bit by bit: the types of the frame and each value's bytes. None: refused."""
    bound = inputs_of(MIXED).bind(Table(NAMES, sent))
    assert isinstance(bound, TableBound)
    try:
        frame = bound.frames.frame(bound.rows)
    except RequestError:
        return None
    columns = [frame[name].to_numpy() for name in NAMES]
    return [(array.dtype.str, array.tolist() if array.dtype.hasobject else array.tobytes()) for array in columns]


@given(rows, rows)
def test_two_requests_of_one_key_are_one_frame_to_the_model(first: list[list[Any]], second: list[list[Any]]) -> None:
    if key_of(first) is not None and key_of(first) == key_of(second):
        assert seen_by_the_model(first) == seen_by_the_model(second)


@given(rows, st.permutations(range(len(NAMES))), st.randoms())
def test_other_orders_and_spellings_of_a_request_have_its_key_and_change_nothing_for_the_model(
    sent: list[list[Any]], order: list[int], rng: Any
) -> None:
    def respelled(value: Any, kind: str) -> Any:
        if kind == "float" and value is not None and rng.random() < 0.5:
            return float(np.float32(value))
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 and math.copysign(1, value) > 0:
            return int(value)
        return float(value) if type(value) is int and abs(value) < 2**53 else value

    kinds = [column.type for column in MIXED.columns]
    other = [[respelled(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in sent]
    moved = [[row[i] for i in order] for row in other]
    key = key_of(sent)
    assert key == key_of(moved, names=[NAMES[i] for i in order])
    if key is not None:
        assert seen_by_the_model(sent) == seen_by_the_model(other)


@given(rows, st.integers(0, 2), st.integers(0, len(NAMES) - 1), st.data())
def test_a_changed_value_that_the_model_would_notice_changes_the_key(
    sent: list[list[Any]], at: int, column: int, data: st.DataObject
) -> None:
    other = [list(row) for row in sent]
    row = other[at % len(other)]
    row[column] = data.draw(values[MIXED.columns[column].type])
    if key_of(sent) is not None and seen_by_the_model(sent) != seen_by_the_model(other):
        assert key_of(sent) != key_of(other)
