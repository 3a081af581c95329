"""Every kind of answer: by `/invocations` as MLflow's scoring server writes it, by tensors as the metadata say."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tritonclient.grpc
import tritonclient.http
from answer_kinds import BIG, KINDS, Kind, rows
from mlflow.models import infer_signature
from mlflow.pyfunc.scoring_server import predictions_to_json
from serinus_runtime.artifact.kinds import Kind as Declared
from serinus_runtime.artifact.loading import Loaded
from serinus_runtime.artifact.signature import Column, Signature, TensorSpec, signature_of
from serinus_runtime.base.config import Config, Settings
from serinus_runtime.base.errors import ModelFailure, StartFailure
from serinus_runtime.base.messages import Request
from serinus_runtime.cache.response_cache import response_cache_of
from serinus_runtime.model.batching import _part
from serinus_runtime.model.model import Answer, Model
from serinus_runtime.records.sender import FIELDS
from serinus_runtime.serving.application import Application
from serinus_runtime.values.outputs import joined, outputs_of, scores_of
from serinus_runtime.values.predictions import write_predictions
from table import check
from tritonclient.grpc import service_pb2

INPUTS = (Column("a", "double", required=False),)
EXAMPLE = {"dataframe_split": {"columns": ["a"], "data": [[1.0], [None]]}}
WITH_MISSING, WITHOUT = [1.0, None], [1.0, 1.0]

TENSORS = [kind for kind in KINDS if not isinstance(kind.tensors, str)]
UNSENDABLE = [kind for kind in KINDS if isinstance(kind.tensors, str)]
WRITABLE = [kind for kind in KINDS if not kind.invocations.startswith("refused")]


def named(kinds: list[Kind]) -> dict[str, Any]:
    return {"argvalues": kinds, "ids": [kind.name for kind in kinds]}


class Served:
    """A model of one kind, warmed up, behind an application in this process."""

    def __init__(self, make: Any, outputs: tuple[Any, ...] = (), *, warm: bool = True, **settings: Any) -> None:
        config = Config("m-1-abc123", "m", "1", Path("/none"), -1, -1, Path("/none"), Settings.of(settings))
        signature = Signature(INPUTS, (), outputs)

        def predict(frame: Any) -> Any:
            return make([None if value != value else value for value in frame["a"].tolist()])

        self.model = Model(
            Loaded(predict, predict, predict, "tests"),
            signature,
            one_at_a_time=config.settings.one_at_a_time,
            protocols=config.settings.protocols,
        )
        if warm:
            self.model.warm_up(EXAMPLE, config.settings.score_output)
        self.records: list[dict[str, Any]] = []
        cache = response_cache_of(config, signature, lambda _: None)
        self._application = Application(config, self.model, self._keep, cache=cache)

    def _keep(self, record: Any) -> None:
        self.records.append(dict(zip(FIELDS, record, strict=True)))

    def send(self, path: str, body: bytes, method: bytes = b"POST", **headers: str) -> Any:
        lines = {b"x-serinus-split": b"s1", b"content-type": b"application/json"}
        lines.update({name.replace("_", "-").encode(): value.encode() for name, value in headers.items()})
        request = Request(method, path.encode(), lines, True)
        request.body = body
        return self._application.handle(request)

    def invoke(self, values: list[Any]) -> tuple[int, Any]:
        split = {"columns": ["a"], "data": [[value] for value in values]}
        answer = self.send("/invocations", json.dumps({"dataframe_split": split}).encode())
        return answer.status, json.loads(answer.body)

    def infer(self, values: list[Any], **more: Any) -> tuple[int, Any]:
        answer = self.send("/v2/models/m/infer", asking(values, **more))
        return answer.status, json.loads(answer.body)

    def described(self) -> dict[str, tuple[str, list[int]]]:
        outputs = json.loads(self.send("/v2/models/m", b"", b"GET").body)["outputs"]
        return {output["name"]: (output["datatype"], output["shape"]) for output in outputs}


def asking(values: list[Any], **more: Any) -> bytes:
    inputs = [{"name": "a", "datatype": "FP64", "shape": [len(values)], "data": values}]
    return json.dumps({"inputs": inputs, **more}).encode()


def by_mlflow(result: Any) -> Any:
    """What its scoring server writes, with null for NaN and the infinities. Raises what it raises."""
    text = io.StringIO()
    predictions_to_json(result, text)
    return json.loads(text.getvalue(), parse_constant=lambda _: None)


# --- by /invocations


@pytest.mark.parametrize("values", [WITH_MISSING, WITHOUT], ids=["missing", "all there"])
@pytest.mark.parametrize("kind", **named([kind for kind in WRITABLE if kind.json is None]))
def test_invocations_answers_as_mlflows_own_server(kind: Kind, values: list[Any]) -> None:
    check_invocations(kind, values, by_mlflow(kind.make(values)))


@pytest.mark.parametrize("kind", **named([kind for kind in WRITABLE if kind.json is not None]))
def test_what_mlflows_own_server_fails_on_is_answered_as_the_documentation_says(kind: Kind) -> None:
    with pytest.raises(TypeError):
        by_mlflow(kind.make(WITH_MISSING))
    check_invocations(kind, WITH_MISSING, {"predictions": kind.json})


def check_invocations(kind: Kind, values: list[Any], expected: Any) -> None:
    """By a release without a cache, and by one with, where the later answers come from memory."""
    assert Served(kind.make, protocols=["invocations"]).invoke(values) == (200, expected)
    served = Served(kind.make, protocols=["invocations"], cache={"max_bytes": 1 << 20, "ttl_seconds": 60.0})
    assert [served.invoke(values) for _ in range(5)] == [(200, expected)] * 5
    if not isinstance(kind.tensors, str):
        assert served.records[-1]["cached"]


@pytest.mark.parametrize("kind", **named([kind for kind in KINDS if kind not in WRITABLE]))
def test_what_mlflow_cannot_write_is_stopped_when_the_model_loads(kind: Kind) -> None:
    with pytest.raises(TypeError):
        by_mlflow(kind.make(WITHOUT))
    with pytest.raises(StartFailure, match=r"MLflow's scoring protocol cannot carry; see docs/inputs-and-answers\.md"):
        Served(kind.make, protocols=["invocations"])


@pytest.mark.parametrize(
    "answer",
    [
        pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])),
        pd.DataFrame([[1]], columns=pd.to_datetime(["2024-01-01"])),
        [{1, 2}],
        [{np.int64(1): 1}],
        [object()],
    ],
    ids=["tuples as names", "times as names", "sets", "numpy's numbers as keys", "objects"],
)
def test_what_mlflow_fails_on_is_the_models_failure_and_not_ours(answer: Any) -> None:
    with pytest.raises(TypeError):
        by_mlflow(answer)
    status, said = Served(lambda _: answer, warm=False).invoke([1.0])
    assert status == 500
    assert "MLflow's scoring protocol cannot carry" in said["error"]


@pytest.mark.parametrize(
    "answer",
    [
        pd.DataFrame({"a": np.array([np.datetime64("2024-01-01T01:02:03.5")], dtype=object)}),
        pd.DataFrame({"a": [float("nan")], "b": ["x"]}),
        pd.DataFrame({None: [1.5]}),
        pd.Series([1.5], name=0.5),
        [np.float32(0.1)],
        [np.array([1, 2]), [np.int8(3)]],
        [{"when": pd.Timestamp("2024-01-02", tz="UTC"), "parts": np.array([b"a", None], dtype=object)}],
        np.ma.masked_array([1.5, 2.5], [False, True]),
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        {"a": [float("inf")], 1: {"b": [np.nan]}},
    ],
    ids=str,
)
def test_odd_answers_are_written_as_mlflow_writes_them(answer: Any) -> None:
    values = [1.0] * len(answer if not isinstance(answer, dict) else answer["a"])
    served = Served(lambda _: answer, warm=False, protocols=["invocations"])
    served.model.predict = lambda bound, params=None: served_answer(answer)  # type: ignore[method-assign]
    assert served.invoke(values) == (200, by_mlflow(answer))


def served_answer(answer: Any) -> Any:
    return Answer(answer, outputs_of(answer))


def test_random_floats_are_written_to_the_last_bit() -> None:
    random = np.random.default_rng(7)
    raw = random.integers(0, 1 << 64, 2_000, dtype="uint64")
    for numbers in (raw.view("float64"), raw.view("uint32").view("float32"), raw.view("int64")):
        for answer in (numbers, numbers.reshape(-1, 4), pd.DataFrame({"a": numbers}), pd.Series(numbers)):
            served = Served(lambda _, answer=answer: answer, warm=False)
            assert served.invoke([1.0] * len(answer)) == (200, by_mlflow(answer))


# --- by tensors


@pytest.mark.parametrize("kind", **named(TENSORS))
def test_tensors_have_the_datatypes_of_the_metadata_whatever_the_rows(kind: Kind) -> None:
    assert not isinstance(kind.tensors, str)
    served = Served(kind.make, protocols=["open-inference"])
    datatypes = {name: datatype for name, (datatype, _) in kind.tensors.items()}
    assert {name: datatype for name, (datatype, _) in served.described().items()} == datatypes
    for values in (WITH_MISSING, WITHOUT, [1.0], [None]):
        status, answer = served.infer(values)
        assert status == 200, answer
        outputs = answer["outputs"]
        assert {output["name"]: output["datatype"] for output in outputs} == datatypes
        assert all(output["shape"][0] == len(values) for output in outputs)
        if values == WITH_MISSING:
            assert {output["name"]: output["data"] for output in outputs} == {
                name: data for name, (_, data) in kind.tensors.items()
            }
            assert served.records[-1]["scores"][0] == kind.score


@pytest.mark.parametrize("kind", **named(TENSORS))
def test_bytes_hold_what_json_holds(kind: Kind) -> None:
    """Read by tritonclient, from REST and from gRPC."""
    served = Served(kind.make, protocols=["open-inference"])
    outputs = served.infer(WITHOUT)[1]["outputs"]
    response = served.send("/v2/models/m/infer", asking(WITHOUT, parameters={"binary_data_output": True}))
    assert response.status == 200, response.body
    length = int(response.headers.partition(b"inference-header-content-length: ")[2].split(b"\r\n")[0])
    by_rest = tritonclient.http.InferResult.from_response_body(response.body, header_length=length)
    message = service_pb2.ModelInferResponse.FromString(by_grpc(served, WITHOUT).body[5:])
    for output in outputs:
        expected = output["data"]
        for result in (by_rest, tritonclient.grpc.InferResult(message)):
            read = result.as_numpy(output["name"])
            assert list(read.shape) == output["shape"]
            found = read.reshape(-1).tolist()
            if "bytes" in kind.name:
                assert found == [b"\xff" if kind.name == "array of bytes" else b"\xff\0"] * 2
            elif output["datatype"] == "BYTES":
                assert [value.decode() for value in found] == expected
            else:
                assert found == expected


def by_grpc(served: Served, values: list[float]) -> Any:
    message = service_pb2.ModelInferRequest(model_name="m")
    message.inputs.add(name="a", datatype="FP64", shape=[len(values)])
    message.raw_input_contents.append(struct.pack(f"<{len(values)}d", *values))
    sent = message.SerializeToString()
    path = "/inference.GRPCInferenceService/ModelInfer"
    return served.send(path, b"\0" + struct.pack(">I", len(sent)) + sent, content_type="application/grpc")


@pytest.mark.parametrize("kind", **named([kind for kind in TENSORS if kind.name != "column of numbers and texts"]))
def test_a_signature_inferred_from_the_answer_describes_it(kind: Kind) -> None:
    """As MLflow infers it, from other rows than those that are asked later."""
    assert not isinstance(kind.tensors, str)
    inferred = infer_signature(pd.DataFrame({"a": [1.0]}), kind.make(WITHOUT)).to_dict()
    served = Served(kind.make, signature_of({"signature": inferred}).outputs, protocols=["open-inference"])
    outputs = served.infer(WITHOUT)[1]["outputs"]
    assert {name: datatype for name, (datatype, _) in served.described().items()} == {
        output["name"]: output["datatype"] for output in outputs
    }
    wider = {"column of UInt8": "INT32"}  # MLflow's `integer`, the least type that it has for it
    by_values = "objects" in kind.name or "list of" in kind.name
    if len(outputs) == 1 and not by_values:
        assert outputs[0]["datatype"] == wider.get(kind.name, next(iter(kind.tensors.values()))[0])


def test_a_missing_value_is_refused_where_bytes_have_no_form_for_it() -> None:
    served = Served(lambda v: pd.DataFrame({"id": pd.array(v, dtype="Int64"), "p": 0.5}))
    asked = asking(WITH_MISSING, parameters={"binary_data_output": True})
    response = served.send("/v2/models/m/infer", asked)
    assert response.status == 400
    assert "output 'id' has a missing value" in json.loads(response.body)["error"]
    assert b"grpc-status: 3" in by_grpc(served, [1.0, float("nan")]).headers
    only = asking(WITH_MISSING, outputs=[{"name": "p"}], parameters={"binary_data_output": True})
    assert served.send("/v2/models/m/infer", only).status == 200


@pytest.mark.parametrize("kind", **named(UNSENDABLE))
def test_what_tensors_cannot_carry_is_refused_at_load_with_the_reason_and_what_to_do(kind: Kind) -> None:
    with pytest.raises(StartFailure) as refused:
        Served(kind.make)
    assert isinstance(kind.tensors, str)
    assert kind.tensors in str(refused.value)
    assert "output '" in str(refused.value)
    assert "docs/inputs-and-answers.md, or set `serving.protocols: [invocations]`" in str(refused.value)


@pytest.mark.parametrize("kind", **named(UNSENDABLE))
def test_without_an_example_it_is_the_same_reason_for_whoever_asks(kind: Kind) -> None:
    served = Served(kind.make, warm=False)
    status, said = served.infer(WITH_MISSING)
    assert status == 500
    assert kind.tensors in said["error"]
    assert served.described() == {}


def test_a_model_without_a_warm_up_is_described_from_its_first_answer_on() -> None:
    served = Served(lambda v: pd.DataFrame({"a": pd.array(v, dtype="Int64")}), warm=False)
    assert served.described() == {}
    assert served.infer(WITHOUT)[0] == 200
    assert served.described() == {"a": ("INT64", [-1])}
    declared = Served(lambda v: np.array([0.5] * len(v)), (Column("p", "double"),), warm=False)
    assert declared.described() == {"p": ("FP64", [-1])}


def test_no_datatype_is_made_up_before_the_first_answer_where_the_signature_says_none() -> None:
    """MLflow infers `object` of an array of objects, and an array of a dict of lists."""
    served = Served(lambda v: np.array([0.5] * len(v), dtype=object), (TensorSpec(None, "object", (-1,)),), warm=False)
    assert served.described() == {}
    assert served.infer(WITHOUT)[1]["outputs"][0]["datatype"] == "FP64"
    assert served.described() == {"output-0": ("FP64", [-1])}
    half = Served(
        lambda v: {"p": [0.5] * len(v), "t": ["x"] * len(v)},
        (Column("p", "array", kind=Declared("array", Declared("double"))), Column("t", "string")),
        warm=False,
    )
    assert half.described() == {}
    assert half.infer(WITHOUT)[0] == 200
    assert half.described() == {"p": ("FP64", [-1]), "t": ("BYTES", [-1])}


# --- one datatype whatever the rows


def test_numbers_of_no_type_keep_the_datatype_that_the_signature_gives_them() -> None:
    """A list of whole numbers one time, of fractions another time."""
    answers = {1.0: [1, 2], None: [0.5, 2]}
    served = Served(lambda v: answers[v[0]])
    for first in (1.0, None):
        assert served.infer([first, 1.0])[1]["outputs"][0] == {
            "name": "output-0", "datatype": "FP64", "shape": [2], "data": answers[first],
        }  # fmt: skip
    whole = Served(lambda v: [BIG] * len(v), (Column("id", "long"),))
    assert whole.infer([1.0])[1]["outputs"][0] == {"name": "id", "datatype": "INT64", "shape": [1], "data": [BIG]}


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ([1, 2], ["x", "y"]),
        ([True, False], [1, 2]),
        (np.array([1, 2]), np.array([0.5, 1.5])),
        (np.array([0.5, 1.5]), np.array(["x", "y"])),
        (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"b": [1, 2]})),
        (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 2], "b": [1, 2]})),
        ([1.5, 2.5], [BIG, 1]),
        (pd.Series([0.5, 1.5]), [{"a": 1}, {"a": 2}]),
    ],
    ids=str,
)
def test_an_answer_that_is_not_as_the_metadata_say_is_the_models_failure_and_goes_on_by_invocations(
    first: Any, later: Any
) -> None:
    served = Served(lambda v: first if v[1] is None else later)
    described = served.described()
    status, said = served.infer(WITHOUT)
    assert status == 500
    assert "cannot be sent as a tensor" in said["error"]
    assert served.described() == described
    assert served.infer(WITH_MISSING)[0] == 200
    assert served.invoke(WITHOUT) == (200, by_mlflow(later))


@pytest.mark.parametrize(
    ("later", "data"),
    [
        (np.array([1, 2]), [1, 2]),
        (np.array([0.5, 1.5], dtype="float32"), [0.5, 1.5]),
        (np.array([None, 1.5], dtype=object), [None, 1.5]),
        (np.array([None, None], dtype=object), [None, None]),
    ],
    ids=str,
)
def test_numbers_that_fit_are_answered_in_the_datatype_of_the_metadata(later: Any, data: list[Any]) -> None:
    served = Served(lambda v: np.array([0.5, 0.5]) if v[1] is None else later)
    output = served.infer(WITHOUT)[1]["outputs"][0]
    assert (output["datatype"], output["data"]) == ("FP64", data)


# --- signatures that do not say what is answered


@pytest.mark.parametrize(
    ("declared", "answer", "says"),
    [
        ([Column("p", "double")], np.array(["x", "y"]), "'p' as double, but texts"),
        ([Column("p", "string")], np.array([0.5, 1.5]), "'p' as string, but numbers"),
        ([Column("p", "double")], pd.DataFrame({"p": pd.to_datetime(["2024-01-01"] * 2)}), "'p' as double, but texts"),
        ([Column("p", "boolean")], np.array([0, 1]), "'p' as boolean, but numbers"),
        ([Column("p", "double")], pd.DataFrame({"q": [0.5, 1.5]}), "'p', but the outputs that are answered are q"),
        (
            [Column("p", "double"), Column("r", "double")],
            pd.DataFrame({"p": [0.5, 1.5], "q": [0.5, 1.5]}),
            "'r', but the outputs that are answered are p, q",
        ),
        ([Column("p", "double")], np.zeros((2, 3)), "one column, but 3 columns"),
        ([Column("p", "double"), Column("q", "double")], np.zeros((2, 3)), "2 columns, but 3 columns"),
        ([TensorSpec(None, "float64", (-1, 2))], np.zeros((2, 3)), "2 columns, but 3 columns"),
        ([TensorSpec(None, "int64", (-1,))], np.zeros((2, 2)), "one column, but 2 columns"),
        ([TensorSpec("p", "str", (-1,))], np.zeros(2), "'p' as str, but numbers"),
    ],
)
def test_a_signature_that_declares_other_outputs_is_refused_at_load_with_the_column(
    declared: list[Any], answer: Any, says: str
) -> None:
    for protocols in (["open-inference", "invocations"], ["invocations"]):
        with pytest.raises(StartFailure, match="the signature declares") as refused:
            Served(lambda _: answer, tuple(declared), protocols=protocols)
        assert says in str(refused.value)


@pytest.mark.parametrize(
    ("declared", "answer", "described"),
    [
        ([Column("p", "double")], np.zeros(2, dtype="float32"), {"p": ("FP64", [-1])}),
        ([Column("p", "float")], np.zeros(2), {"p": ("FP64", [-1])}),
        ([Column("p", "float")], [0.1, 0.2], {"p": ("FP64", [-1])}),
        ([Column("p", "long")], np.zeros(2, dtype="int32"), {"p": ("INT64", [-1])}),
        ([Column("p", "integer")], np.zeros(2, dtype="int64"), {"p": ("INT64", [-1])}),
        ([Column("p", "double")], np.array([BIG, 1]), {"p": ("INT64", [-1])}),
        ([Column("p", "double")], [1, 2], {"p": ("FP64", [-1])}),
        ([Column("p", "any")], ["x", "y"], {"p": ("BYTES", [-1])}),
        ([Column(None, "any")], np.zeros((2, 3)), {"output-0": ("FP64", [-1, 3])}),
        ([Column("a", "double"), Column("b", "double")], np.zeros((2, 2)), {"output-0": ("FP64", [-1, 2])}),
        ([TensorSpec(None, "float64", (-1, -1))], np.zeros((2, 3)), {"output-0": ("FP64", [-1, 3])}),
        ([TensorSpec(None, "float64", (-1,))], np.zeros((2, 1)), {"output-0": ("FP64", [-1, 1])}),
        ([TensorSpec(None, "object", (-1,))], np.array([1.5, None], dtype=object), {"output-0": ("FP64", [-1])}),
        ([Column(0, "double"), Column(1, "double")], pd.DataFrame(np.zeros((2, 2))),
         {"0": ("FP64", [-1]), "1": ("FP64", [-1])}),
        ([Column(0, "double")], np.zeros(2), {"0": ("FP64", [-1])}),
        ([Column("", "double")], np.zeros(2), {"": ("FP64", [-1])}),
    ],
)  # fmt: skip
def test_metadata_say_what_is_answered_where_the_signature_says_it_less_exactly(
    declared: list[Any], answer: Any, described: dict[str, Any]
) -> None:
    served = Served(lambda _: answer, tuple(declared))
    assert served.described() == described
    answered = served.infer(WITHOUT)[1]["outputs"]
    assert {output["name"]: output["datatype"] for output in answered} == {
        name: datatype for name, (datatype, _) in described.items()
    }


# --- scores, company, protocols


def test_a_score_can_be_a_key_of_the_models_dictionaries() -> None:
    make = next(kind for kind in KINDS if kind.name == "list of dictionaries").make
    served = Served(make, protocols=["invocations"], score_output="score")
    served.invoke(WITHOUT)
    assert served.records[-1]["scores"] == [0.5, 0.5]
    assert Served(make, protocols=["invocations"]).invoke(WITHOUT)[0] == 200
    with pytest.raises(StartFailure, match="no output 'risk'; the model answers: label, score"):
        Served(make, protocols=["invocations"], score_output="risk")


def test_of_two_columns_of_one_name_the_last_is_the_score_as_it_is_answered() -> None:
    make = next(kind for kind in KINDS if kind.name == "DataFrame with two columns of one name").make
    served = Served(make, protocols=["invocations"], score_output="a")
    assert served.invoke([1.0]) == (200, {"predictions": [{"a": 2}]})
    assert served.records[-1]["scores"] == [2.0]


def test_a_time_is_never_a_score() -> None:
    forecast = pd.DataFrame({"ds": pd.to_datetime(["2024-01-02"] * 2), "yhat": [1.5, 2.5]})
    served = Served(lambda _: forecast)
    served.infer(WITHOUT)
    named = Served(lambda _: forecast, score_output="yhat")
    named.infer(WITHOUT)
    assert (served.records[-1]["scores"], named.records[-1]["scores"]) == ([None, None], [1.5, 2.5])


def test_rows_without_columns_hold_no_score() -> None:
    served = Served(lambda v: np.zeros((len(v), 0)))
    assert served.invoke(WITHOUT) == (200, {"predictions": [[], []]})
    assert served.records[-1]["scores"] == [None, None]


def test_a_model_that_is_declared_to_answer_no_score_records_none_and_is_not_cached() -> None:
    served = Served(lambda v: ["fraud"] * len(v), scored=False, cache={"max_bytes": 1 << 20, "ttl_seconds": 60.0})
    for _ in range(4):
        served.infer(WITHOUT)
    assert [record["scores"] for record in served.records] == [[]] * 4
    assert [record["rows"] for record in served.records] == [2] * 4
    assert not any(record["cached"] for record in served.records)


@pytest.mark.parametrize("kind", **named([kind for kind in WRITABLE if kind.name != "sparse matrix"]))
def test_each_of_a_batch_gets_what_it_gets_alone(kind: Kind) -> None:
    served = Served(kind.make, protocols=["invocations"])
    together = kind.make([1.0, None])
    for at, value in enumerate([1.0, None]):
        part, alone = _part(together, at, at + 1, 2), kind.make([value])
        assert json.loads(write_predictions(part)) == json.loads(write_predictions(alone))
        by_part, by_itself = (served.model.answers.read(answer) for answer in (part, alone))
        assert [str(output[:4]) for output in by_part] == [str(output[:4]) for output in by_itself]


@pytest.mark.parametrize("kind", **named([kind for kind in WRITABLE if kind.name != "sparse matrix"]))
def test_rows_that_are_asked_one_at_a_time_are_answered_like_rows_together(kind: Kind) -> None:
    one_by_one = joined([kind.make([1.0]), kind.make([None])])
    assert json.loads(write_predictions(one_by_one)) == json.loads(write_predictions(kind.make([1.0, None])))


@pytest.mark.parametrize("answer", ["fraud", 0.5, {"a": [1.0, 2.0], "model": "v1"}, [1.0], np.array(0.5)])
def test_an_answer_that_has_no_part_for_each_row_is_not_taken_apart(answer: Any) -> None:
    with pytest.raises(ModelFailure):
        _part(answer, 0, 1, 2)


@pytest.mark.parametrize(
    ("answer", "score"), [(0.5, [0.5]), ("fraud", [None]), (None, [None]), ({"a": {"b": 1}}, [None]), (True, [1.0])]
)
def test_the_score_of_an_answer_without_rows_is_the_answer(answer: Any, score: list[float | None]) -> None:
    [output] = outputs_of(answer)
    assert scores_of(output) == score


def test_keys_that_change_from_row_to_row_cannot_be_put_together() -> None:
    with pytest.raises(ModelFailure, match="other keys"):
        joined([{"a": [1]}, {"b": [1]}])


def test_a_model_is_asked_by_its_protocols_only_and_says_by_which() -> None:
    alone = Served(lambda v: [{"p": 0.5} for _ in v], protocols=["invocations"])
    assert alone.invoke([1.0]) == (200, {"predictions": [{"p": 0.5}]})
    for path in ("/v2/models/m/infer", "/v2/models/m/versions/1/infer"):
        answer = alone.send(path, asking([1.0]))
        assert answer.status == 404
        assert "ask at /models/m/invocations" in json.loads(answer.body)["error"]
    headers = by_grpc(alone, [1.0]).headers
    assert b"grpc-status: 12" in headers
    assert b"/models/m/invocations" in headers
    assert alone.described() == {}
    assert alone.send("/v2/models/m/ready", b"", b"GET").status == 200

    tensors = Served(lambda v: pd.DataFrame([[1, 2]] * len(v), columns=["a", "b"]), protocols=["open-inference"])
    assert tensors.infer([1.0])[0] == 200
    for path in ("/invocations", "/models/m/invocations"):
        answer = tensors.send(path, b'{"instances": [1.0]}')
        assert answer.status == 404
        assert "ask at /v2/models/m/infer" in json.loads(answer.body)["error"]


def test_the_table_of_the_documentation_is_what_is_tested() -> None:
    check("answers", rows())
