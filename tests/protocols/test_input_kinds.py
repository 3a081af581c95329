"""Every kind of input, by every protocol, beside MLflow's own scoring code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
import pytest
from differential import Echo, Pair
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array, Map, Object, Property
from table import Row, check

Tensor = dict[str, Any]


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> Tensor:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


class Kind(NamedTuple):
    """`right`: bodies that the model answers; `wrong`: that MLflow refuses too. `inputs`: the first of `right` by the
    Open Inference Protocol; None: it has no form for it. `refused`: of tensors."""

    name: str
    signature: Any
    right: list[Any]
    wrong: Sequence[Any] = ()
    inputs: list[Tensor] | None = None
    refused: Sequence[list[Tensor]] = ()
    note: str = ""


def columns(*specs: ColSpec) -> ModelSignature:
    return ModelSignature(inputs=Schema(list(specs)))


def tensors(*specs: TensorSpec) -> ModelSignature:
    return ModelSignature(inputs=Schema(list(specs)))


def records(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"dataframe_records": list(rows)}


def split(names: list[Any], *rows: list[Any]) -> dict[str, Any]:
    return {"dataframe_split": {"columns": names, "data": list(rows)}}


CARD = Object([Property("weight", DataType.double), Property("country", DataType.string, required=False)])
NUMBERED = columns(ColSpec("double", 0), ColSpec("double", 1), ColSpec("double", 2))

KINDS = [
    *(
        Kind(
            f"column of {kind}",
            columns(ColSpec(kind, "a")),
            [records({"a": value}), split(["a"], [value], [value]), {"inputs": {"a": [value]}}],
            [records({"a": "x"}), records({"b": value}), split(["a"], [[value]])],
            [tensor("a", datatype, [value])],
            [[tensor("a", "BYTES", ["x"])], [tensor("b", datatype, [value]), tensor("c", datatype, [value])]],
            note,
        )
        for kind, datatype, value, note in (
            ("double", "FP64", 1.5, "null is NaN"),
            ("float", "FP32", 1.5, "null is NaN"),
            ("long", "INT64", 2**53 + 1, "null is refused"),
            ("integer", "INT32", 2**31 - 1, "null is refused"),
        )
    ),
    Kind(
        "column of boolean",
        columns(ColSpec("boolean", "a")),
        [records({"a": True}, {"a": False})],
        [records({"b": True})],
        [tensor("a", "BOOL", [True, False])],
        [[tensor("a", "INT64", [1])]],
    ),
    Kind(
        "column of string",
        columns(ColSpec("string", "a")),
        [records({"a": "é"}, {"a": ""}), {"inputs": {"a": ["x", "y"]}}, {"instances": [{"a": "x"}]}],
        [records({"b": "x"})],
        [tensor("a", "BYTES", ["é", ""])],
        [[tensor("a", "FP64", [1.0])]],
    ),
    Kind(
        "column of binary",
        columns(ColSpec("binary", "a")),
        [records({"a": "AP8="})],
        [records({"a": 5})],
        [tensor("a", "BYTES", ["AP8="])],
        [[tensor("a", "BYTES", ["*"])]],
        "base64",
    ),
    Kind(
        "column of datetime",
        columns(ColSpec("datetime", "a")),
        [
            records({"a": "2024-05-06"}),
            records({"a": "2024-05-06T07:08:09.123456789"}, {"a": "2262-04-11T23:47:16.854775807"}),
            records({"a": 1714979289000000000}),
        ],
        [records({"a": text}) for text in ("9999-12-31", "0001-01-01", "2262-04-11T23:47:16.854775808", "x")]
        + [records({"a": "2024-05-06T07:08:09+02:00"})],
        [tensor("a", "BYTES", ["2024-05-06"])],
        [[tensor("a", "BYTES", [text])] for text in ("9999-12-31", "0001-01-01", "1600-01-01")],
        "ISO 8601 without a time zone, 1677-09-21 to 2262-04-11; by JSON also whole nanoseconds since 1970",
    ),
    Kind(
        "columns whose names are numbers",
        NUMBERED,
        [split([0, 1, 2], [1.0, 2.0, 3.0]), split([2, 1, 0], [3.0, 2.0, 1.0]), split([2.0, 1, 0], [3.0, 2.0, 1.0])],
        [split([0, 1], [1.0, 2.0])],
        [tensor("2", "FP64", [3.0]), tensor("0", "FP64", [1.0]), tensor("1", "FP64", [2.0])],
        [[tensor("0", "FP64", [3.0]), tensor("1", "FP64", [1.0])]],
        'by name as a string where JSON has no other: `"0"`',
    ),
    Kind(
        "columns whose names are numbers, one of arrays",
        columns(ColSpec("double", 0), ColSpec(Array(DataType.double), 1)),
        [split([0, 1], [1.5, [2.5]]), split([1, 0], [[2.5], 1.5])],
        [split([0], [1.5]), split([0, 1], [1.5, 2.5])],
    ),
    Kind(
        "columns whose names are fractions or booleans",
        columns(ColSpec("double", 2.5), ColSpec("double", True)),
        [split([2.5, True], [1.0, 2.0]), split([True, 2.5], [2.0, 1.0])],
        [split([2.5], [1.0])],
        [tensor("True", "FP64", [2.0]), tensor("2.5", "FP64", [1.0])],
    ),
    Kind(
        "columns without names",
        columns(ColSpec("double"), ColSpec("string")),
        [{"dataframe_split": {"data": [[1.5, "x"]]}}, split(["a", "b"], [1.5, "x"])],
        [{"dataframe_split": {"data": [[1.5]]}}],
        [tensor("input-0", "FP64", [1.5]), tensor("input-1", "BYTES", ["x"])],
    ),
    Kind(
        "optional columns",
        columns(ColSpec("double", "a"), ColSpec("string", "b", required=False)),
        [records({"a": 1.5, "b": "x"}), records({"a": 1.5}), split(["b", "a"], [None, 1.5])],
        [records({"b": "x"})],
        [tensor("b", "BYTES", ["x"]), tensor("a", "FP64", [1.5])],
    ),
    Kind(
        "column of arrays",
        columns(ColSpec(Array(DataType.double), "a"), ColSpec("double", "b")),
        [
            records({"a": [1.5, 2.5], "b": 0.5}),
            records({"a": [1.5, None], "b": 0.5}, {"a": [0.5], "b": 1.5}),
            split(["b", "a"], [0.5, [1.5]]),
            {"inputs": [{"a": [1.5, 2.5], "b": 0.5}]},
            {"inputs": {"a": [1.5, 2.5], "b": 0.5}},
        ],
        [records({"a": value, "b": 0.5}) for value in (1.5, "x", None, ["x"], {"c": 1.5}, [[1.5]], [True, "x"])],
        None,
        [[tensor("a", "FP64", [1.5, 2.5], [1, 2]), tensor("b", "FP64", [0.5])]],
    ),
    Kind(
        "column of arrays of arrays",
        columns(ColSpec(Array(Array(DataType.long)), "a")),
        [records({"a": [[1, 2], [3]]}), {"inputs": [{"a": [[1, 2], [3, 4]]}]}],
        [records({"a": value}) for value in ([1], [["x"]], None, "x")],
        None,
    ),
    Kind(
        "column of objects",
        columns(ColSpec(CARD, "a")),
        [
            records({"a": {"weight": 1.5, "country": "DE"}}, {"a": {"weight": 2.5}}),
            records({"a": {"weight": 1.5, "country": None}}),
            {"inputs": [{"a": {"weight": 1.5}}]},
        ],
        [
            records({"a": value})
            for value in (
                {"country": "DE"},
                {"wieght": 2.0, "weight": 1.0},
                {"weight": "2"},
                {"weight": True},
                {"weight": None},
                {"weight": 1.5, "country": 5},
                None,
                "x",
                [1],
                {},
                5,
                {"weight": [1.5]},
            )
        ],
        None,
        [[tensor("a", "BYTES", ["{}"])]],
    ),
    Kind(
        "column of objects within objects and arrays",
        columns(ColSpec(Object([Property("items", Array(CARD)), Property("top", CARD, required=False)]), "a")),
        [
            records({"a": {"items": [{"weight": 1.5}], "top": {"weight": 0.5, "country": "x"}}}),
            records({"a": {"items": []}}),
        ],
        [
            records({"a": {"items": [{"weight": "x"}]}}),
            records({"a": {"items": {}}}),
            records({"a": {"items": [{}]}}),
            records({"a": {"items": [], "top": 5}}),
            records({"a": {"items": [1]}}),
        ],
        None,
    ),
    Kind(
        "column of maps",
        columns(ColSpec(Map(DataType.double), "a")),
        [records({"a": {"x": 1.5, "y": 2.5}}), {"inputs": [{"a": {"x": 1.5}}]}],
        [records({"a": value}) for value in ({"x": "y"}, None, 5, [1.5], "x")],
        None,
    ),
    Kind(
        "optional column of objects",
        columns(ColSpec("double", "b"), ColSpec(CARD, "a", required=False)),
        [
            records({"b": 1.5, "a": {"weight": 1.5}}),
            records({"b": 1.5}),
            split(["a", "b"], [None, 1.5], [{"weight": 2.5}, 1.5]),
        ],
        [records({"b": 1.5, "a": 5}), records({"a": {"weight": 1.5}})],
        None,
    ),
    Kind(
        "column of any type",
        columns(ColSpec(AnyType(), "a"), ColSpec("double", "b")),
        [records({"a": "x", "b": 1.5}), records({"a": {"c": [1]}, "b": 1.5}), records({"a": None, "b": 1.5})]
        + [{"inputs": {"a": value, "b": 1.5}} for value in ("x", 5, {"x": [1], "y": 2}, [1, "x"])]
        + [{"inputs": {"a": ["x", 5], "b": [1.5, 2.5]}}],
        [records({"a": "x", "b": "y"})],
        [tensor("a", "BYTES", ["x"]), tensor("b", "FP64", [1.5])],
        note="by tensors scalars only",
    ),
    *(
        Kind(
            f"tensor of {dtype}",
            tensors(TensorSpec(np.dtype(dtype), (-1, 2))),
            [
                {"inputs": [values, values]},
                {"instances": [values]},
                split(["a", "b"], values, values),
                {"dataframe_split": {"data": [values]}},
                records({"b": values[0], "a": values[1]}),
                # Of large numbers in a list MLflow makes floats.
                *([] if dtype == "uint64" else [records({"a": values})]),
            ],
            [{"inputs": values}, {"inputs": [[*values, values[0]]]}, {"inputs": [["x", "y"]]}],
            [tensor("x", datatype, [*values, *values], [2, 2])],
            [[tensor("x", datatype, values)], [tensor("x", "BYTES", ["x", "y"], [1, 2])]],
        )
        for dtype, datatype, values in (
            ("float64", "FP64", [0.1, -2.5]),
            ("float32", "FP32", [0.1, -2.5]),
            ("int64", "INT64", [2**53 + 1, -(2**63)]),
            ("int32", "INT32", [2**31 - 1, -(2**31)]),
            ("int16", "INT16", [2**15 - 1, -(2**15)]),
            ("int8", "INT8", [127, -128]),
            ("uint8", "UINT8", [255, 0]),
            ("uint16", "UINT16", [2**16 - 1, 0]),
            ("uint32", "UINT32", [2**32 - 1, 0]),
            ("uint64", "UINT64", [2**64 - 1, 2**53 + 1]),
        )
    ),
    Kind(
        "tensor of float16",
        tensors(TensorSpec(np.dtype("float16"), (-1,))),
        [{"inputs": [0.1, -65504]}],
        [{"inputs": [[0.5]]}, {"inputs": ["x"]}],
        [tensor("x", "FP16", [0.1, -65504])],
        note="by gRPC as raw contents",
    ),
    Kind(
        "tensor of bool",
        tensors(TensorSpec(np.dtype("bool"), (-1,))),
        [{"inputs": [True, False]}],
        [{"inputs": [[True]]}],
        [tensor("x", "BOOL", [True, False])],
        [[tensor("x", "INT64", [1])]],
    ),
    Kind(
        "tensor of texts",
        infer_signature(np.array(["a", "bc"])),
        [{"inputs": ["win pills", "é"]}, {"instances": ["x"]}, records({"t": "x"}, {"t": "y"}), split([0], ["x"])],
        [{"inputs": [["x"]]}, {"inputs": "x"}],
        [tensor("x", "BYTES", ["win pills", "é"])],
        [[tensor("x", "FP64", [1.5])], [tensor("x", "BYTES", ["a", "b"], [1, 2])]],
    ),
    Kind(
        "tensor of texts of two dimensions",
        tensors(TensorSpec(np.dtype("str"), (-1, 2))),
        [{"inputs": [["a", "bc"], ["d", "e"]]}],
        [{"inputs": ["a", "b"]}, {"inputs": [["a"]]}],
        [tensor("x", "BYTES", ["a", "bc", "d", "e"], [2, 2])],
    ),
    Kind(
        "tensor of objects",
        tensors(TensorSpec(np.dtype("object"), (-1,))),
        [
            {"inputs": ["a", "b"]},
            {"inputs": [1, "b", None]},
            {"inputs": [["a", 1], ["b", 2]]},
            {"inputs": [["a"], [1, 2]]},
        ],
        [],
        [tensor("x", "BYTES", ["a", "b"])],
    ),
    Kind(
        "tensor of bytes",
        tensors(TensorSpec(np.dtype("S"), (-1,))),
        [{"inputs": ["ab", "c"]}],
        [{"inputs": ["é"]}, {"inputs": [["ab"]]}],
        [tensor("x", "BYTES", ["ab", "c"])],
        [[tensor("x", "BYTES", ["é"])], [tensor("x", "INT64", [1])]],
        "ASCII texts",
    ),
    Kind(
        "tensor of datetime64[D]",
        tensors(TensorSpec(np.dtype("datetime64[D]"), (-1,))),
        [{"inputs": ["2024-05-06", "9999-12-31"]}],
        [{"inputs": ["x"]}, {"inputs": [["2024-05-06"]]}],
        [tensor("x", "BYTES", ["2024-05-06", "9999-12-31"])],
        note="ISO 8601 without a time zone",
    ),
    Kind(
        "several named tensors",
        tensors(TensorSpec(np.dtype("float64"), (-1, 2, 2), "a"), TensorSpec(np.dtype("str"), (-1,), "b")),
        [
            {"inputs": {"a": [[[1.5, 2.5], [3.5, 4.5]]], "b": ["x"]}},
            records({"a": [1.5, 2.5, 3.5, 4.5], "b": "x"}, {"b": "y", "a": [1.5] * 4}),
        ],
        [{"inputs": {"a": [[[1.5, 2.5], [3.5, 4.5]]]}}, {"inputs": {"a": [1.5], "b": ["x"]}}],
        [tensor("b", "BYTES", ["x"]), tensor("a", "FP64", [1.5, 2.5, 3.5, 4.5], [1, 2, 2])],
        [[tensor("b", "BYTES", ["x"])]],
    ),
    Kind(
        "no signature: frames, arrays, dicts, lists",
        None,
        [
            {"inputs": [[1.5, 2], [3, 4]]},
            {"inputs": ["a", "bc"]},
            {"inputs": [1, 2]},
            {"inputs": [[[1], [2]]]},
            {"instances": [[1, 2]]},
            {"instances": ["a"]},
            {"instances": [{"a": 1, "b": "x"}, {"a": 2.5, "b": "y"}]},
            {"inputs": {"a": [1, 2], "b": ["x", "y"]}},
            {"inputs": [{"a": 1.5, "b": "x"}, {"a": 2.5}]},
            records({"a": 1, "b": "x"}, {"a": None}),
            split(["a", "b"], [1, 2.5], [3, 4]),
            split([0, 1], [1, "x"]),
            {"dataframe_split": {"columns": ["a"], "index": [7], "data": [[{"b": 1}]]}},
            {"inputs": True},
            {"dataframe_split": {"data": [[True, None]]}},
        ],
        [
            {"inputs": [[1], [2, 3]]},
            {"dataframe_records": {"a": 1}},
            {"dataframe_split": {"columns": ["a"]}},
            {"instances": [{"a": 1}, 5]},
            {"instances": {"a": 1}},
            {"instances": [{"a": 1, "b": 2}, {"a": 1}]},
            {"inputs": [1], "instances": [1]},
            {"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}},
            {"dataframe_split": [], "more": 1},
            {},
        ],
        [tensor("x", "FP64", [1.5, 2, 3, 4], [2, 2])],
        note="one tensor is an array, several are the columns of a DataFrame",
    ),
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], Pair]:
    def made(signature: Any) -> Pair:
        path: Path = tmp_path_factory.mktemp("model") / "m"
        mlflow.pyfunc.save_model(str(path), python_model=Echo(), signature=signature, pip_requirements=[])
        return Pair(path)

    return made


FOUND: dict[str, Row] = {}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_model_gets_what_mlflow_gives_it_by_every_protocol(kind: Kind, pair: Callable[[Any], Pair]) -> None:
    both = pair(kind.signature)
    for body in kind.right:
        wanted = both.mlflow(body)
        assert wanted.status == 200, (body, wanted.answer[:300])
        assert both.invoke(body) == wanted, body
    for body in kind.wrong:
        assert both.mlflow(body).status == 400, body
        assert both.invoke(body).status == 400, body
    if kind.inputs is not None:
        wanted = both.mlflow(kind.right[0])
        assert both.infer(kind.inputs) == wanted
        assert both.grpc(kind.inputs) == wanted
    for inputs in kind.refused:
        for told in (both.infer(inputs), both.grpc(inputs)):
            assert told.status == 400
            assert kind.inputs is not None or "/invocations" in told.answer
    said = "no form: 400" if kind.inputs is None else "the same"
    FOUND[kind.name] = Row(kind.name, "as MLflow", said, said, kind.note)


@pytest.mark.parametrize(
    ("dtype", "shape", "datatype", "data"),
    [("str", (-1,), "FP64", ["a"]), ("str", (-1,), "BOOL", ["a"]), ("float32", (-1, 2), "BYTES", [1.0, 2.0]),
     ("int64", (-1, 2), "BOOL", [1, 2]), ("bool", (-1,), "BYTES", [True]), ("datetime64[D]", (-1,), "INT64",
     ["2024-01-02"])],
)  # fmt: skip
def test_a_datatype_that_the_tensor_does_not_take_is_refused_whatever_the_data(
    dtype: str, shape: tuple[int, ...], datatype: str, data: list[Any], pair: Callable[[Any], Pair]
) -> None:
    both = pair(tensors(TensorSpec(np.dtype(dtype), shape)))
    sent = [1, *shape[1:]]
    told = both.infer([tensor("x", datatype, data, sent)])
    assert told.status == 400
    assert f"{datatype} was sent" in told.answer


def test_the_document_has_the_table_of_inputs() -> None:
    if len(FOUND) < len(KINDS):
        pytest.skip("the kinds were not all tried in this process")
    check("inputs", [FOUND[kind.name] for kind in KINDS])
