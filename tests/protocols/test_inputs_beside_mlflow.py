"""Parameters, type hints, texts and records; and where Serinus refuses what MLflow turns into something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from differential import Echo, Pair
from mlflow.models import ModelSignature, infer_signature
from mlflow.pyfunc.model import PythonModel
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Map, Object, Property
from mlflow.types.type_hints import TypeFromExample
from serinus_runtime.base import accelerators
from serinus_runtime.base.errors import StartFailure
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def saved(signature: Any = None, model: Any = None) -> Path:
        path = tmp_path / "m"
        if model is None or isinstance(model, mlflow.pyfunc.PythonModel):
            model = Echo() if model is None else model
            mlflow.pyfunc.save_model(str(path), python_model=model, signature=signature, pip_requirements=[])
        else:
            mlflow.sklearn.save_model(
                model, str(path), signature=signature, pip_requirements=[], serialization_format="cloudpickle"
            )
        return path

    return saved


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def columns(*specs: ColSpec) -> ModelSignature:
    return ModelSignature(inputs=Schema(list(specs)))


# --- parameters


class Times(PythonModel):
    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        factors = params["factors"] or [1.0]
        return model_input["a"].to_numpy() * params["factor"] * sum(factors) + len(params["word"])


PARAMS = ParamSchema([
    ParamSpec("factor", "double", 2.0),
    ParamSpec("word", "string", ""),
    ParamSpec("factors", "double", [1.0], shape=(-1,)),
])  # fmt: skip
ROW = {"dataframe_records": [{"a": 0.5}]}
INPUTS = [tensor("a", "FP64", [0.5])]


@pytest.fixture
def times(save: Save) -> Pair:
    inputs = Schema([ColSpec("double", "a")])
    return Pair(save(ModelSignature(inputs=inputs, params=PARAMS), Times()))


@pytest.mark.parametrize(
    "params",
    [{}, {"factor": 10.0}, {"factor": 10}, {"word": "abc", "factors": [1.0, 0.5]}, {"factor": 10.0, "priority": 1}],
)
def test_parameters_are_used_by_every_protocol(times: Pair, params: dict[str, Any]) -> None:
    wanted = times.mlflow({**ROW, "params": params})
    assert wanted.status == 200
    assert times.invoke({**ROW, "params": params}) == wanted
    assert times.infer(INPUTS, parameters=params) == wanted
    if not any(isinstance(value, list) for value in params.values()):
        assert times.grpc(INPUTS, **params) == wanted


@pytest.mark.parametrize(
    "params", [{"factor": "x"}, {"factor": True}, {"word": 5}, {"factors": 1.0}, {"factors": ["x"]}]
)
def test_a_parameter_of_a_wrong_type_is_named(times: Pair, params: dict[str, Any]) -> None:
    (name,) = params
    assert times.mlflow({**ROW, "params": params}).status == 400
    for told in (times.invoke({**ROW, "params": params}), times.infer(INPUTS, parameters=params)):
        assert told.status == 400
        assert f"'{name}'" in told.answer


def test_a_parameter_that_nobody_declares_is_refused_by_tensors_and_passed_over_by_invocations(
    times: Pair, save: Save
) -> None:
    for told in (times.infer(INPUTS, parameters={"facter": 1.0}), times.grpc(INPUTS, facter=1.0)):
        assert told.status == 400
        assert "'facter'" in told.answer
        assert "factor" in told.answer
    assert times.invoke({**ROW, "params": {"facter": 1.0}}) == times.mlflow({**ROW, "params": {"facter": 1.0}})
    hidden = times.infer(INPUTS, parameters={"4000001234567899": 1.0})
    assert hidden.status == 400
    assert "4000001234567899" not in hidden.answer


def test_without_params_in_the_signature_none_is_taken(save: Save) -> None:
    both = Pair(save(columns(ColSpec("double", "a"))))
    for params in ({"factor": 1.0}, "x", [1]):
        assert both.invoke({**ROW, "params": params}) == both.mlflow({**ROW, "params": params})
    assert both.infer(INPUTS, parameters={"factor": 1.0}).status == 400
    for name in ("priority", "timeout", "sequence_id", "headers", "content_type", "triton_enable_empty_final_response"):
        assert both.infer(INPUTS, parameters={name: 1}).status == 200


def test_parameters_of_an_input_are_sent_to_the_right_place(times: Pair) -> None:
    told = times.infer([{**INPUTS[0], "parameters": {"factor": 10.0}}])
    assert told.status == 400
    assert "'factor'" in told.answer
    assert "`parameters` of the request" in told.answer


@pytest.mark.parametrize(
    "more",
    [
        {"parameters": 5}, {"parameters": []}, {"parameters": ""}, {"parameters": "x"}, {"parameters": False},
        {"outputs": 5}, {"outputs": {}}, {"outputs": ""}, {"outputs": False}, {"outputs": ["x"]}, {"outputs": [{}]},
        {"outputs": [{"name": 5}]}, {"outputs": [{"name": "output-0", "parameters": 5}]},
        {"outputs": [{"name": "output-0", "parameters": []}]}, {"outputs": [{"name": "output-0", "parameters": 0}]},
    ],
)  # fmt: skip
def test_wrong_types_of_outputs_and_parameters_are_400(times: Pair, more: dict[str, Any]) -> None:
    assert times.infer(INPUTS, **more).status == 400


@pytest.mark.parametrize("parameters", [5, [], "", "x", False, 0])
def test_wrong_types_of_an_inputs_parameters_are_400(times: Pair, parameters: Any) -> None:
    assert times.infer([{**INPUTS[0], "parameters": parameters}]).status == 400


def test_null_stands_for_parameters_and_outputs_that_are_not_there(times: Pair) -> None:
    wanted = times.infer(INPUTS)
    assert times.infer([{**INPUTS[0], "parameters": None}], parameters=None, outputs=None) == wanted


# --- type hints


class Lengths(PythonModel):
    def predict(self, model_input: list[str]) -> list[int]:  # type: ignore[override]  # MLflow takes it
        return [len(text) for text in model_input]


def test_what_a_type_hint_declares_is_given_as_it_came(save: Save) -> None:
    both = Pair(save(None, Lengths()))
    for body in ({"inputs": ["abc", "x"]},):
        assert both.invoke(body) == both.mlflow(body)
        assert both.invoke(body).answer == [3, 1]
    assert both.infer([tensor("x", "BYTES", ["abc", "x"])]).answer == [3, 1]
    for wrong in ({"inputs": [5]}, {"inputs": "abc"}, {"instances": ["abc"]}, {"dataframe_split": {"data": [["abc"]]}}):
        assert both.mlflow(wrong).status == 400
        assert both.invoke(wrong).status == 400


class Halves(PythonModel):
    def predict(self, model_input: list[float]) -> list[float]:  # type: ignore[override]  # MLflow takes it
        return [number / 2 for number in model_input]


def test_a_type_hint_of_numbers_takes_one_tensor(save: Save) -> None:
    both = Pair(save(None, Halves()))
    assert both.invoke({"inputs": [1.5, 3.0]}) == both.mlflow({"inputs": [1.5, 3.0]}) == (200, [0.75, 1.5])
    assert both.infer([tensor("x", "FP64", [1.5, 3.0])]).answer == [0.75, 1.5]
    assert both.infer([tensor("x", "BYTES", ["a"])]).status == 400
    assert both.infer([tensor("x", "FP64", [1.5, 3.0], [1, 2])]).status == 400


class ByExample(PythonModel):
    def predict(self, model_input: TypeFromExample) -> Any:  # type: ignore[override]  # MLflow takes it
        return [f"{type(row).__name__} {row}" for row in model_input]  # type: ignore[attr-defined]  # an object of the example's type


def test_what_an_input_example_stands_for_is_given_in_its_type(tmp_path: Path) -> None:
    path = tmp_path / "m"
    mlflow.pyfunc.save_model(str(path), python_model=ByExample(), input_example=["a", "b"], pip_requirements=[])
    both = Pair(path)
    assert both.model.way == "mlflow"
    for body in ({"inputs": ["c", "d"]}, {"dataframe_split": {"columns": [0], "data": [["c"]]}}):
        assert both.invoke(body) == both.mlflow(body)
        assert both.invoke(body).answer[0] == "str c"
    assert both.infer([tensor("input-0", "BYTES", ["c"], [1, 1])]).answer == ["str c"]


# --- texts and records

TEXTS = np.array(["cheap pills now", "meeting at noon", "win money now", "lunch tomorrow"])
LABELS = [1, 0, 1, 0]


@pytest.mark.parametrize(
    "vectorizer", [CountVectorizer(), TfidfVectorizer(), HashingVectorizer(n_features=64)], ids=str
)
@pytest.mark.parametrize("signed", [True, False])
def test_a_text_pipeline_answers_each_text_or_refuses(save: Save, vectorizer: Any, signed: bool) -> None:
    model = make_pipeline(vectorizer, LogisticRegression()).fit(TEXTS, LABELS)
    both = Pair(save(infer_signature(TEXTS, model.predict(TEXTS)) if signed else None, model))
    for texts in (["win pills"], ["lunch at noon", "cheap money"], ["text"]):
        wanted = model.predict(texts).tolist()
        for told in (both.mlflow({"inputs": texts}), both.invoke({"inputs": texts}), both.invoke({"instances": texts})):
            assert told == (200, wanted)
        inputs = [tensor("texts", "BYTES", texts)]
        assert both.infer(inputs) == both.grpc(inputs) == (200, wanted)
    if signed:
        return
    for body in (
        {"dataframe_split": {"columns": ["text"], "data": [["win pills"]]}},
        {"dataframe_records": [{"text": "win pills"}, {"text": "lunch"}]},
        {"instances": [{"text": "win pills"}]},
        {"inputs": {"text": ["win pills"]}},
        {"inputs": "win pills"},
        {"inputs": [5]},
    ):
        told = both.invoke(body)
        assert told.status == 400, body
        assert "texts" in told.answer
    assert both.infer([tensor("a", "BYTES", ["x"]), tensor("b", "BYTES", ["y"])]).status == 400


def test_a_text_pipeline_with_a_signature_of_columns_is_refused_at_load(save: Save) -> None:
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(TEXTS, LABELS)
    path = save(infer_signature(pd.DataFrame({"text": TEXTS}), model.predict(TEXTS)), model)
    with pytest.raises(StartFailure, match="first step takes texts, but its signature says columns") as caught:
        Pair(path)
    assert not caught.value.environment


def test_a_text_pipeline_within_another_estimator_is_known(save: Save) -> None:
    texts = np.array([*TEXTS, *TEXTS])
    inner = make_pipeline(CountVectorizer(), LogisticRegression())
    model = CalibratedClassifierCV(VotingClassifier([("a", inner)], voting="soft"), cv=2).fit(texts, LABELS * 2)
    both = Pair(save(None, model))
    assert both.invoke({"inputs": ["win pills", "lunch"]}) == (200, model.predict(["win pills", "lunch"]).tolist())
    assert both.invoke({"dataframe_split": {"columns": ["text"], "data": [["win pills"]]}}).status == 400


@pytest.mark.parametrize("form", ["inputs", "instances", "dataframe_records", "dataframe_split"])
def test_what_is_nested_without_end_is_refused(save: Save, form: str) -> None:
    both = Pair(save())
    for opened, closed in (("[", "]"), ('{"a":', "}")):
        for depth in (65, 300, 1000, 100_000):
            body = f'{{"{form}": {opened * depth}1{closed * depth}}}'
            assert both.invoke(body).status == 400


@pytest.mark.parametrize("first", [DictVectorizer(), FeatureHasher(n_features=16)], ids=str)
def test_a_record_model_answers_each_record_or_refuses(save: Save, first: Any) -> None:
    rows = [{"country": "FR", "amount": 1.5, "night": True}, {"country": "DE", "amount": 2.0}] * 2
    model = make_pipeline(first, LogisticRegression()).fit(rows, [1, 0, 1, 0])
    both = Pair(save(None, model))
    for sent in (rows[:1], rows, [{"amount": 7}]):
        assert both.invoke({"inputs": sent}) == (200, model.predict(sent).tolist())
    inputs = [tensor("country", "BYTES", ["FR", "DE"]), tensor("amount", "FP64", [1.5, 2.0])]
    assert both.infer(inputs).answer == model.predict([{"country": "FR", "amount": 1.5}, rows[1]]).tolist()
    for body in (
        {"instances": rows[:1]},
        {"dataframe_records": rows},
        {"dataframe_split": {"columns": ["country"], "data": [["FR"]]}},
        {"inputs": {"country": ["FR"]}},
    ):
        assert both.invoke(body).status == 400, body


def test_an_estimator_that_knows_its_columns_is_given_them_by_name_from_tensors(save: Save) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [2.0, 1.0, 0.0, 5.0]})
    model = LogisticRegression().fit(frame, LABELS)
    both = Pair(save(None, model))
    wanted = model.predict(frame[:2]).tolist()
    named = [tensor("b", "FP64", [2.0, 1.0]), tensor("a", "FP64", [1.0, 2.0])]
    assert both.infer([tensor("x", "FP64", [1.0, 2.0, 2.0, 1.0], [2, 2])]).answer == wanted
    assert both.infer(named[::-1]).answer == wanted


@pytest.mark.parametrize(
    ("datatype", "data", "wrong"), [("BYTES", ["x", None], [None, 1]), ("BOOL", [None, True], [None, "x"])]
)
def test_null_is_missing_in_texts_and_truth_values_without_a_signature(
    save: Save, datatype: str, data: list[Any], wrong: list[Any]
) -> None:
    """As in the same columns, and the same array, by MLflow's protocol."""
    both = Pair(save())
    two = [tensor("a", datatype, data), tensor("b", "FP64", [1.5, 2.5])]
    rows = [list(row) for row in zip(data, (1.5, 2.5), strict=True)]
    assert both.infer(two) == both.mlflow({"dataframe_split": {"columns": ["a", "b"], "data": rows}})
    assert both.infer(two[:1]) == both.mlflow({"inputs": data})
    nothing = [tensor("a", datatype, [None, None]), two[1]]
    rows = [[None, 1.5], [None, 2.5]]
    assert both.infer(nothing) == both.mlflow({"dataframe_split": {"columns": ["a", "b"], "data": rows}})
    status, said = both.infer([tensor("a", datatype, wrong)])
    assert status == 400
    assert "input 'a' takes" in said


class OneForAll(PythonModel):
    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return [len(model_input)]


def test_one_answer_for_several_rows_is_no_answer(save: Save) -> None:
    both = Pair(save(None, OneForAll()))
    assert both.invoke({"inputs": [5]}) == (200, [1])
    assert both.invoke({"inputs": [5, 6]}).status == 500
    assert both.infer([tensor("x", "FP64", [1.0, 2.0])]).status == 500


# --- what a signature cannot say without harm


@pytest.mark.parametrize("names", [[2, 1, 0], ["a", ""], [1, 0]])
def test_names_that_python_takes_for_false_are_names(save: Save, names: list[Any]) -> None:
    both = Pair(save(columns(*[ColSpec("double", name) for name in names])))
    body = {"dataframe_split": {"columns": names, "data": [[1.5 + i for i in range(len(names))]]}}
    told = both.invoke(body)
    assert told.status == 200
    assert told.answer == [" ".join(f"{name!r}:float64=float({1.5 + i})" for i, name in enumerate(names))]
    turned = {"dataframe_split": {"columns": names[::-1], "data": [[1.5 + i for i in range(len(names))][::-1]]}}
    assert both.invoke(turned) == told
    assert both.infer([tensor(str(name), "FP64", [1.5 + i]) for i, name in enumerate(names)]) == told


def test_the_metadata_name_inputs_as_callers_write_them(save: Save) -> None:
    both = Pair(save(columns(*[ColSpec("double", name) for name in (0, 2.5, "")])))
    described = json.loads(both.get("/v2/models/m"))["inputs"]
    assert [entry["name"] for entry in described] == ["0", "2.5", ""]


@pytest.mark.parametrize("names", [["a", "a"], [0, "0"]])
def test_a_name_that_is_there_twice_is_refused_at_load(save: Save, names: list[Any]) -> None:
    path = save(columns(*[ColSpec("double", name) for name in names]))
    with pytest.raises(StartFailure, match="twice") as caught:
        Pair(path)
    assert not caught.value.environment


@pytest.mark.parametrize(
    ("kind", "bad", "tensors"),
    [
        ("integer", 2**31, ("INT64", 2**31)),
        ("integer", 2.5, ("FP64", 2.5)),
        ("long", 2.5, ("FP64", 2.5)),
        ("double", "2", ("BYTES", "2")),
        ("double", True, ("BOOL", True)),
        ("boolean", 1, ("INT64", 1)),
        ("boolean", "false", ("BYTES", "false")),
        ("boolean", None, None),
        ("string", 5, ("INT64", 5)),
        ("string", None, None),
        ("float", 1e300, ("FP64", 1e300)),
        ("datetime", "now", ("BYTES", "now")),
        ("datetime", None, None),
    ],
)
def test_what_mlflow_turns_into_another_value_is_refused_with_its_column(
    save: Save, kind: str, bad: Any, tensors: tuple[str, Any] | None
) -> None:
    """MLflow answers each of these: of a number that wrapped or was cut, of a truth that nobody sent, of a time that is
    the request's own."""
    both = Pair(save(columns(ColSpec(kind, "a"))))
    assert both.mlflow({"dataframe_records": [{"a": bad}]}).status == 200
    told = [both.invoke({"dataframe_records": [{"a": bad}]}), both.invoke({"inputs": {"a": [bad]}})]
    if tensors is not None:
        told += [
            both.infer([tensor("a", tensors[0], [tensors[1]])]),
            both.grpc([tensor("a", tensors[0], [tensors[1]])]),
        ]
    for answer in told:
        assert answer.status == 400
        assert "'a'" in answer.answer


@pytest.mark.parametrize("kind", ["integer", "long"])
def test_null_in_a_column_of_whole_numbers_is_refused_as_by_mlflow(save: Save, kind: str) -> None:
    both = Pair(save(columns(ColSpec(kind, "a", required=False), ColSpec("double", "b"))))
    for body in (
        {"dataframe_records": [{"a": None, "b": 1.5}]},
        {"dataframe_records": [{"a": 1, "b": 1.5}, {"b": 2.5}]},
    ):
        assert both.mlflow(body).status == 400
        assert both.invoke(body).status == 400


@pytest.mark.parametrize(
    ("spec", "bad"),
    [
        ("int32", [2**31]), ("int64", [2.5]), ("bool", [1]), ("str", [1]), ("float32", [1e300]),
        ("datetime64[ns]", ["9999-12-31"]), ("datetime64[ns]", ["0001-01-01"]), ("datetime64[D]", ["now"]),
    ],
)  # fmt: skip
def test_what_numpy_turns_into_another_value_is_refused(save: Save, spec: str, bad: list[Any]) -> None:
    both = Pair(save(ModelSignature(inputs=Schema([TensorSpec(np.dtype(spec), (-1,))]))))
    assert both.invoke({"inputs": bad}).status == 400


def test_a_time_beyond_nanoseconds_is_told_the_range(save: Save) -> None:
    both = Pair(save(columns(ColSpec("datetime", "a"))))
    for text in ("9999-12-31", "0001-01-01"):
        for told in (both.invoke({"inputs": {"a": [text]}}), both.infer([tensor("a", "BYTES", [text])])):
            assert told.status == 400
            assert "1677-09-21" in told.answer
            assert "ISO 8601" not in told.answer


def test_a_fault_below_the_first_level_is_told_by_its_path_and_not_by_its_value(save: Save) -> None:
    card = Object([Property("weight", "double"), Property("seen", Map("long"), required=False)])
    both = Pair(save(columns(ColSpec(card, "card"))))
    for value, path in (
        ({"weight": "4000001234567899"}, "column 'card'.weight takes double"),
        ({"weight": 1.5, "seen": {"x": "4000001234567899"}}, "column 'card'.seen.* takes long"),
        ({"weight": 1.5, "4000001234567899": 1}, "column 'card' has no property with a name that is not shown"),
        ({"weight": 1.5, "extra": 1}, "column 'card' has no property 'extra'"),
        ({}, "column 'card'.weight is required"),
        (None, "column 'card' takes an object: null was sent"),
    ):
        told = both.invoke({"dataframe_records": [{"card": value}]})
        assert told.status == 400
        assert path in told.answer
        assert "4000001234567899" not in told.answer


@pytest.mark.parametrize(
    "signature",
    [
        columns(ColSpec("string"), ColSpec("double")),
        columns(ColSpec("string", "a"), ColSpec("double", "b")),
    ],
    ids=["unnamed", "named"],
)
def test_csv_is_read_by_the_types_of_the_signature(save: Save, signature: Any) -> None:
    both = Pair(save(signature))
    text = "a,b\n007,1.5\nx,2\n"
    assert both.mlflow(text, "text/csv").status == 200
    assert both.invoke(text, "text/csv") == both.mlflow(text, "text/csv")


def test_csv_of_a_tensor_of_texts_is_texts(save: Save) -> None:
    both = Pair(save(infer_signature(np.array(["a"]))))
    assert both.invoke("t\n5\nx\n", "text/csv").answer == ["U() str('5')", "U() str('x')"]


def test_csv_of_a_model_without_a_signature_is_read_as_by_mlflow(save: Save) -> None:
    both = Pair(save())
    for text in ("a,b,c\n1,x,true\n2,,false\n", "a\n1.5\n\n2\n", 'a,b\n"1,5",NA\n'):
        assert both.invoke(text, "text/csv") == both.mlflow(text, "text/csv")
    assert both.invoke("", "text/csv").status == 400


class Reprs(PythonModel):
    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return [repr(value) for value in model_input["a"].tolist()]


def test_a_missing_text_of_csv_is_nan_as_by_mlflow_and_null_is_none(save: Save) -> None:
    signature = columns(ColSpec("string", "a", required=False), ColSpec("double", "c"))
    both = Pair(save(signature, Reprs()))
    text = "a,c\n,1\n"
    assert both.mlflow(text, "text/csv").answer == both.invoke(text, "text/csv").answer == ["nan"]
    assert both.invoke({"dataframe_split": {"columns": ["a", "c"], "data": [[None, 1]]}}).answer == ["None"]


@pytest.mark.parametrize("required", [True, False])
def test_bytes_in_csv_are_refused_and_mlflow_gives_the_model_their_text(save: Save, required: bool) -> None:
    both = Pair(save(columns(ColSpec("binary", "a", required=required)), Reprs()))
    assert both.mlflow("a\nIglt\n", "text/csv").answer == ["'Iglt'"]
    told = both.invoke("a\nIglt\n", "text/csv")
    assert told.status == 400
    assert "column 'a' takes binary: CSV cannot hold bytes; send them as base64 in JSON" in told.answer
    assert both.invoke({"dataframe_records": [{"a": "Iglt"}]}).answer == [repr(b'"\tm')]


def test_a_missing_text_of_csv_is_refused_where_it_is_required(save: Save) -> None:
    told = Pair(save(columns(ColSpec("string", "a"), ColSpec("double", "c")))).invoke("a,c\n,1\n", "text/csv")
    assert told.status == 400
    assert "column 'a' takes string" in told.answer


@pytest.mark.parametrize("number", [2**64, 2**64 + 12345, -(2**63) - 1, 2**63, -(2**63), 10**30])
def test_whole_numbers_stay_whole_without_a_signature_whatever_reads_them(save: Save, number: int) -> None:
    both = Pair(save())
    bodies: list[Any] = [
        {"instances": [number]},
        {"inputs": {"a": [number, 1]}},
        {"dataframe_split": {"data": [[number]]}},
    ]
    try:
        for find in (accelerators.forget, accelerators.find):
            find()
            for body in bodies:
                assert both.invoke(body) == both.mlflow(body)
    finally:
        accelerators.forget()


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_whole_numbers_stay_whole_in_a_tensor_of_objects(save: Save, number: int) -> None:
    both = Pair(save(ModelSignature(inputs=Schema([TensorSpec(np.dtype("O"), (-1,))]))))
    try:
        accelerators.find()
        assert both.invoke({"inputs": [number]}) == both.mlflow({"inputs": [number]})
    finally:
        accelerators.forget()


@pytest.mark.parametrize(
    "times",
    [
        ["2025-11-27T17:00:09.5", "2025-11-27T17:00:09"],
        ["2025-11-27", "2025-11-27T17:00:09.123456789", "1999-01-01 10:00"],
        ["2025-11-27T17:00:09", "1677-09-22"],
    ],
)
def test_times_of_one_request_have_any_precision(save: Save, times: list[str]) -> None:
    both = Pair(save(columns(ColSpec("datetime", "at"))))
    wanted = both.mlflow({"inputs": {"at": times}})
    assert wanted.status == 200
    assert both.invoke({"inputs": {"at": times}}) == wanted
    assert both.invoke({"dataframe_split": {"columns": ["at"], "data": [[time] for time in times]}}) == wanted
    assert both.infer([tensor("at", "BYTES", times)]) == wanted
    wrong = both.invoke({"inputs": {"at": [*times, "5 o'clock"]}})
    assert wrong.status == 400
    assert "column 'at' takes datetime" in wrong.answer


def test_an_object_in_inputs_holds_columns_by_their_names_and_no_matrix(save: Save) -> None:
    both = Pair(save(columns(ColSpec("double", "a"), ColSpec("double", "b"))))
    body = {"inputs": {"input-0": [[1.0, 2.0]]}}
    assert both.mlflow(body).status == 400
    assert both.invoke(body).status == 400
    assert both.infer([tensor("input-0", "FP64", [1.0, 2.0], [1, 2])]).status == 200


@pytest.mark.parametrize(
    "spec",
    [ColSpec("double", "a", required=False), ColSpec(Map("double"), "a", required=False)],
    ids=["flat", "nested"],
)
def test_a_request_with_none_of_the_optional_columns_is_the_callers_mistake(save: Save, spec: ColSpec) -> None:
    both = Pair(save(columns(spec)))
    bodies: list[Any] = [
        {"dataframe_records": [{"zzz": 1.0}]},
        {"dataframe_split": {"columns": ["zzz"], "data": [[1.0], [2.0]]}},
        {"inputs": {"zzz": [1.0]}},
    ]
    for body in bodies:
        told = both.invoke(body)
        assert told == (400, "none of the model's columns was sent; it takes: a")
