"""Protocols, refusals, fallbacks and records, in this process, with small models of known answers."""

from __future__ import annotations

import base64
import json
import re
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serinus_runtime.artifact.loading import Loaded
from serinus_runtime.artifact.signature import Column, Signature, TensorSpec
from serinus_runtime.base import accelerators
from serinus_runtime.base.config import Config, Settings
from serinus_runtime.base.messages import Request
from serinus_runtime.http.server import Response
from serinus_runtime.model.model import Model
from serinus_runtime.records.sender import FIELDS, Record
from serinus_runtime.serving.application import Application

COLUMNS = (Column("amount", "double"), Column("hour", "long"), Column("country", "string"))
CARD = "4000001234567899"


def adds(frame: pd.DataFrame) -> Any:
    return frame["amount"].to_numpy() + frame["hour"].to_numpy()


class Served:
    """An application around one predict function, and the records that it kept."""

    def __init__(
        self,
        predict: Callable[[Any], Any],
        signature: Signature,
        *,
        kind: Callable[..., Model] | None = None,
        **settings: Any,
    ) -> None:
        config = Config("fraud-1-abc123", "fraud", "1", Path("/none"), -1, -1, Path("/none"), Settings.of(settings))
        self.model = (kind or Model)(
            Loaded(predict, predict, predict, "tests"),
            signature,
            one_at_a_time=config.settings.one_at_a_time,
            together=config.settings.rows == "together",
        )
        self.records: list[dict[str, Any]] = []
        self._application = Application(config, self.model, self._keep, lambda: self.full)
        self.full = False

    def _keep(self, record: Record) -> None:
        kept = dict(zip(FIELDS, record, strict=True))
        kept["inputs"] = json.loads(kept["inputs"]) if isinstance(kept["inputs"], bytes) else kept["inputs"]
        kept["columns"] = kept["columns"] and list(kept["columns"])
        if kept["answers"] is None and kept["status"] < 400:  # as whoever reads them has it
            kept["answers"] = kept["scores"]
        self.records.append(kept)

    def request(self, method: bytes, path: bytes, body: bytes, headers: dict[bytes, bytes]) -> Response:
        request = Request(method, path, headers, True)
        request.body = body
        response = self._application.handle(request)
        assert isinstance(response, Response)
        return response

    def infer(self, content: Any, **headers: str) -> tuple[int, Any]:
        return self._post(b"/v2/models/fraud/infer", content, headers)

    def invoke(self, content: Any, **headers: str) -> tuple[int, Any]:
        return self._post(b"/models/fraud/invocations", content, {"content_type": "application/json", **headers})

    def _post(self, path: bytes, content: Any, headers: dict[str, str]) -> tuple[int, Any]:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        lines = {b"x-serinus-split": b"s1", b"x-serinus-role": b"canary"}
        lines.update({name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()})
        response = self.request(b"POST", path, body, lines)
        return response.status, json.loads(response.body)


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def row(amount: Any = 1.5, hour: Any = 2, country: Any = "FR") -> dict[str, Any]:
    inputs = [tensor("amount", "FP64", [amount]), tensor("hour", "INT64", [hour])]
    return {"inputs": [*inputs, tensor("country", "BYTES", [country])]}


@pytest.fixture(autouse=True, params=["accelerated", "plain"])
def both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """With the accelerators of this environment, and with the standard library alone."""
    accelerators.forget()
    if request.param == "accelerated":
        accelerators.find()
        assert accelerators.orjson is not None
    yield
    accelerators.forget()


@pytest.fixture
def served() -> Served:
    return Served(adds, Signature(COLUMNS))


# --- the Open Inference Protocol


def test_named_columns_are_answered_with_one_score_a_row(served: Served) -> None:
    content = {
        "id": "mine",
        "inputs": [
            tensor("country", "BYTES", ["FR", "DE"], [2, 1]),
            tensor("hour", "INT32", [1, 2]),
            tensor("amount", "FP32", [0.5, 1]),
        ],
    }
    status, answer = served.infer(content)
    assert status == 200
    assert answer == {
        "model_name": "fraud",
        "model_version": "1",
        "id": "mine",
        "outputs": [{"name": "output-0", "datatype": "FP64", "shape": [2], "data": [1.5, 3.0]}],
    }


def test_one_tensor_of_rows_is_taken_by_a_model_of_numbers_in_signature_order() -> None:
    served = Served(adds, Signature(COLUMNS[:2]))
    nested = {"inputs": [tensor("any", "FP64", [[0.5, 1], [2.5, 2]], [2, 2])]}
    flat = {"inputs": [tensor("any", "FP64", [0.5, 1, 2.5, 2], [2, 2])]}
    assert served.infer(nested)[1]["outputs"][0]["data"] == [1.5, 4.5]
    assert served.infer(flat)[1]["outputs"][0]["data"] == [1.5, 4.5]


def test_null_is_nan_for_floats_and_refused_for_integers_and_required_strings() -> None:
    served = Served(lambda frame: frame["amount"].isna().to_numpy(dtype="float64"), Signature(COLUMNS))
    assert served.infer(row(amount=None))[1]["outputs"][0]["data"] == [1.0]
    for content, column in ((row(hour=None), "hour"), (row(country=None), "country")):
        status, answer = served.infer(content)
        assert status == 400
        assert f"'{column}'" in answer["error"]


def test_whole_numbers_are_floats_but_fractions_are_no_integers(served: Served) -> None:
    assert served.infer(row(amount=1, hour=2.0))[0] == 200
    status, answer = served.infer(row(hour=2.5))
    assert status == 400
    assert "'hour' takes long: a number with a fraction" in answer["error"]


BAD = [
    (row(amount=CARD), "'amount' takes double: a string"),
    (row(hour=CARD), "'hour' takes long: a string"),
    (row(country=4), "'country' takes string: an integer"),
    (row(amount=True), "'amount' takes double: a boolean"),
    (row(amount=[CARD]), "takes double: a string"),
    (row(hour=2**70), "'hour' takes long: a number is out of range"),
    (row(amount=10**400), "out of range|cannot|not JSON"),
    ({"inputs": row()["inputs"][:2]}, "'country' takes string: it is required"),
    ({"inputs": [*row()["inputs"], tensor(CARD, "FP64", [1.0])]}, "does not have; it takes: amount, hour, country"),
    ({"inputs": [*row()["inputs"], tensor("amount", "FP64", [1.0])]}, "twice"),
    ({"inputs": [*row()["inputs"][:2], tensor("country", "FP64", [1.0])]}, "takes BYTES, FP64"),
    ({"inputs": [*row()["inputs"][:2], tensor("country", "BYTES", ["a", "b"])]}, "same number of rows"),
    ({"inputs": [tensor("amount", "FP64", [1.0], [2])]}, "has 1 values"),
    ({"inputs": [tensor("amount", "FP64", [1.0], [1, 1, 1])]}, r"shape|tensor"),
    ({"inputs": [tensor("x", "FP128", [1.0])]}, "datatype"),
    ({"inputs": [{"name": "amount", "datatype": "FP64", "shape": [-1], "data": [1.0]}]}, "shape"),
    ({"inputs": [{"name": "amount", "datatype": "FP64", "shape": [1]}]}, "data"),
    ({"inputs": [tensor("amount", "FP64", [], [0])]}, "required|rows"),
    ({"inputs": []}, "inputs"),
    ({"inputs": CARD}, "inputs"),
    ({"inputs": [CARD]}, "each input"),
    ({"inputs": row()["inputs"], "outputs": [{"name": CARD}]}, "the outputs are: output-0"),
    ({"inputs": row()["inputs"], "outputs": [CARD]}, "outputs"),
    ({"inputs": row()["inputs"], "id": 7}, "id"),
    ([CARD], "object"),
    (b"{" + CARD.encode(), "not JSON"),
    (b"\xff\xfe" + CARD.encode(), "UTF-8"),
    (b'{"inputs": NaN, "card": "' + CARD.encode() + b'"}', "NaN"),
    (b"[" * 100_000, "nesting|not JSON"),
    (b"", "not JSON"),
]


@pytest.mark.parametrize(("content", "says"), BAD, ids=range(len(BAD)))
def test_a_callers_mistake_is_a_400_that_says_what_without_what_was_sent(
    served: Served, content: Any, says: str
) -> None:
    status, answer = served.infer(content)
    assert status == 400
    assert re.search(says, answer["error"]), answer["error"]
    assert CARD not in json.dumps(answer)
    assert served.records[-1]["status"] == 400
    assert served.records[-1]["inputs"] is None


def test_outputs_can_be_chosen_by_name() -> None:
    served = Served(lambda frame: pd.DataFrame({"a": frame["amount"], "b": frame["hour"]}), Signature(COLUMNS))
    _, answer = served.infer({**row(), "outputs": [{"name": "b"}]})
    assert answer["outputs"] == [{"name": "b", "datatype": "INT64", "shape": [1], "data": [2]}]


def test_binary_inputs_are_read_as_tritons_client_sends_them(served: Served) -> None:
    raw = struct.pack("<d", 1.5) + struct.pack("<q", 2) + struct.pack("<I", 2) + b"FR"
    inputs = [
        {"name": name, "datatype": kind, "shape": [1], "parameters": {"binary_data_size": size}}
        for name, kind, size in (("amount", "FP64", 8), ("hour", "INT64", 8), ("country", "BYTES", 6))
    ]
    head = json.dumps({"inputs": inputs}).encode()
    length = str(len(head))
    status, answer = served.infer(head + raw, inference_header_content_length=length)
    assert (status, answer["outputs"][0]["data"]) == (200, [3.5])
    for body, size in ((head + raw[:-1], length), (head + raw + b"x", length), (head + raw, "99999"), (head, "-1")):
        assert served.infer(body, inference_header_content_length=size)[0] == 400


def test_metadata_names_inputs_and_outputs_with_datatypes_and_shapes() -> None:
    outputs = (TensorSpec(None, "float64", (-1, 2)),)
    served = Served(adds, Signature(COLUMNS, (), outputs))
    response = served.request(b"GET", b"/v2/models/fraud/versions/1", b"", {})
    content = json.loads(response.body)
    assert content["inputs"][0] == {"name": "amount", "datatype": "FP64", "shape": [-1]}
    assert [entry["datatype"] for entry in content["inputs"]] == ["FP64", "INT64", "BYTES"]
    assert content["outputs"] == [{"name": "output-0", "datatype": "FP64", "shape": [-1, 2]}]


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        (b"GET", b"/v2", 200, b'"name":"serinus"'),
        (b"GET", b"/v2/health/live", 200, b'{"live":true}'),
        (b"GET", b"/v2/health/ready", 200, b'{"ready":true}'),
        (b"GET", b"/v2/models/fraud/ready?x=1", 200, b'"ready":true'),
        (b"GET", b"/models/fraud/ping", 200, b"\n"),
        (b"GET", b"/health", 200, b"\n"),
        (b"GET", b"/v2/models/other/ready", 404, b"error"),
        (b"GET", b"/v2/models/fraud/versions/2", 404, b"error"),
        (b"GET", b"/v2/models/fraud/infer", 405, b"POST"),
        (b"POST", b"/v2/models/fraud", 405, b"GET"),
        (b"GET", b"/4000001234567899", 404, b"fraud"),
    ],
)
def test_each_path_answers_as_the_protocol_says(
    served: Served, method: bytes, path: bytes, status: int, body: bytes
) -> None:
    response = served.request(method, path, b"", {})
    assert response.status == status
    assert body in response.body
    assert CARD.encode() not in response.body


# --- MLflow's protocol


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_split": {"columns": ["hour", "amount", "country"], "data": [[2, 1.5, "FR"]]}},
        {"dataframe_split": {"data": [[1.5, 2, "FR"]]}},
        {"dataframe_records": [{"amount": 1.5, "hour": 2, "country": "FR", "not_asked_for": 1}]},
        {"instances": [{"amount": 1.5, "hour": 2, "country": "FR"}]},
        {"instances": [[1.5, 2, "FR"]]},
        {"inputs": {"amount": [1.5], "hour": [2], "country": ["FR"]}},
        {"inputs": {"amount": 1.5, "hour": 2, "country": "FR"}},
        {"inputs": [{"amount": 1.5, "hour": 2, "country": "FR"}], "params": {"ignored": 1}},
    ],
)
def test_every_format_of_mlflow_gives_the_same_prediction(served: Served, content: Any) -> None:
    assert served.invoke(content) == (200, {"predictions": [3.5]})


def test_csv_is_read_by_the_signatures_types(served: Served) -> None:
    body = b'country,amount,hour\r\n"F,R",1.5,2\r\nDE,,3\r\n'
    status, answer = served.invoke(body, content_type="text/csv; charset=utf-8")
    assert (status, answer) == (200, {"predictions": [3.5, None]})
    for wrong in (b"amount,hour,country\n1.5,2,FR,9\n", b"amount,hour,country\nx,2,FR\n", b"amount\n", b"\xff\n1\n"):
        assert served.invoke(wrong, content_type="text/csv")[0] == 400


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "", "application/json; charset=latin-1"])
def test_another_content_type_is_a_415(served: Served, kind: str) -> None:
    assert served.invoke({"instances": [[1.5, 2, "FR"]]}, content_type=kind)[0] == 415


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"instances": [[1]], "inputs": [[1]]},
        {"dataframe_split": CARD},
        {"dataframe_split": {"columns": CARD, "data": [[1]]}},
        {"dataframe_split": {"columns": ["amount"], "data": [[1, CARD]]}},
        {"dataframe_split": {"columns": ["amount", "hour", "country"], "data": [[1.5, 2, "FR"], [1]]}},
        {"dataframe_records": [CARD]},
        {"dataframe_records": []},
        {"instances": CARD},
        {"instances": []},
        {"inputs": {}},
        {"inputs": {"amount": [1], "hour": [1, 2], "country": ["FR"]}},
    ],
)
def test_a_malformed_invocation_is_a_400_without_what_was_sent(served: Served, content: Any) -> None:
    status, answer = served.invoke(content)
    assert status == 400
    assert CARD not in answer["error"]


# --- other types, other signatures


def test_every_scalar_type_reaches_the_model_as_mlflow_would_give_it() -> None:
    kinds = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
    seen: list[pd.DataFrame] = []
    served = Served(
        lambda frame: seen.append(frame) or np.zeros(len(frame)),  # type: ignore[func-returns-value]
        Signature(tuple(Column(kind, kind) for kind in kinds)),
    )
    values = [True, 1, 2, 0.1, 0.1, "a", base64.b64encode(b"\x00\xff").decode(), "2026-01-02T03:04:05"]
    assert served.invoke({"instances": [values]})[0] == 200
    (frame,) = seen
    assert [str(kind) for kind in frame.dtypes] == [
        "bool", "int32", "int64", "float32", "float64", "object", "object", "datetime64[ns]",
    ]  # fmt: skip
    assert frame["binary"][0] == b"\x00\xff"
    assert frame["datetime"][0] == pd.Timestamp("2026-01-02T03:04:05")
    for i, wrong in ((0, 1), (1, 2**31), (6, "?"), (7, "yesterday"), (7, "2026-01-02T03:04:05+01:00")):
        assert served.invoke({"instances": [[*values[:i], wrong, *values[i + 1 :]]]})[0] == 400


def test_an_optional_column_may_be_left_out() -> None:
    signature = Signature((Column("amount", "double"), Column("note", "string", required=False)))
    served = Served(lambda frame: frame["amount"].to_numpy() + ("note" in frame), signature)
    assert served.invoke({"instances": [{"amount": 1.0}]})[1] == {"predictions": [1.0]}
    assert served.invoke({"instances": [{"amount": 1.0, "note": None}]})[1] == {"predictions": [2.0]}


def test_a_tensor_model_takes_tensors_of_its_shape_and_type() -> None:
    served = Served(lambda array: array.sum(axis=1), Signature((), (TensorSpec(None, "float32", (-1, 2)),)))
    assert served.infer({"inputs": [tensor("x", "FP32", [1, 2.5], [1, 2])]})[1]["outputs"][0]["data"] == [3.5]
    assert served.invoke({"inputs": [[1, 2.5]]})[1] == {"predictions": [3.5]}
    assert served.invoke({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2.5]]}})[0] == 200
    for wrong in ([[1, 2, 3]], [[1, CARD]], [[1], [2, 3]], 1, [], [[1, True]]):
        status, answer = served.invoke({"inputs": wrong})
        assert status == 400
        assert CARD not in answer["error"]


def test_a_model_of_named_tensors_gets_a_dict() -> None:
    specs = (TensorSpec("a", "int64", (-1,)), TensorSpec("b", "float64", (-1, 2)))
    served = Served(lambda arrays: arrays["a"] + arrays["b"].sum(axis=1), Signature((), specs))
    content = {"inputs": [tensor("b", "FP64", [1, 2, 3, 4], [2, 2]), tensor("a", "INT64", [10, 20])]}
    assert served.infer(content)[1]["outputs"][0]["data"] == [13.0, 27.0]
    assert served.infer({"inputs": content["inputs"][:1]})[0] == 400
    assert served.records[0]["columns"] == ["a", "b"]


def test_without_a_signature_the_model_gets_what_was_sent() -> None:
    served = Served(lambda frame: frame["amount"], Signature())
    two = [tensor("amount", "FP64", [7.5]), tensor("hour", "INT64", [1])]
    assert served.infer({"inputs": two})[1]["outputs"][0]["data"] == [7.5]
    assert served.invoke({"dataframe_records": [{"amount": 1}]})[1] == {"predictions": [{"amount": 1}]}
    assert served.invoke({"dataframe_records": []})[0] == 400


# --- answers of all kinds


@pytest.mark.parametrize(
    ("result", "data", "scores"),
    [
        (np.array([[0.9, 0.1]]), [0.9, 0.1], [0.1]),
        (np.array([0.25], dtype="float32"), [0.25], [0.25]),
        (np.array([float("nan")]), [None], [None]),
        (np.array([float("inf")]), [None], [None]),
        (np.array([1]), [1], [1.0]),
        (np.array([True]), [True], [1.0]),
        (["fraud"], ["fraud"], [None]),
        ([0.5], [0.5], [0.5]),
        (pd.Series([0.5], name="p"), [0.5], [0.5]),
        (np.array([None], dtype=object), [None], [None]),
    ],
)
def test_what_a_model_answers_is_sent_as_json_allows_and_scored_by_its_last_column(
    result: Any, data: list[Any], scores: list[Any]
) -> None:
    served = Served(lambda _: result, Signature(COLUMNS))
    status, answer = served.infer(row())
    assert (status, answer["outputs"][0]["data"]) == (200, data)
    assert served.records[-1]["scores"] == scores
    assert served.records[-1]["answers"] == scores
    assert served.invoke({"instances": [[1.5, 2, "FR"]]})[0] == 200


def test_the_score_can_be_an_output_named_in_the_settings() -> None:
    served = Served(
        lambda frame: pd.DataFrame({"score": [0.75], "label": ["fraud"]}), Signature(COLUMNS), score_output="score"
    )
    assert served.invoke({"instances": [[1.5, 2, "FR"]]})[1] == {"predictions": [{"score": 0.75, "label": "fraud"}]}
    assert served.records[-1]["scores"] == [0.75]


def raises(_: Any) -> Any:
    raise ValueError(f"could not convert {CARD}")


def leaves(_: Any) -> Any:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("predict", "code"),
    [
        (raises, "model-error"),
        (leaves, "model-error"),
        (lambda _: np.array([1.0, 2.0]), "wrong-rows"),
        (lambda _: 0.5, "bad-answer"),
        (lambda _: None, "bad-answer"),
        (lambda frame: [object()] * len(frame), "bad-answer"),
    ],
)
def test_a_model_that_fails_is_a_500_without_its_message_or_the_marked_fallback(
    predict: Callable[[Any], Any], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    served = Served(predict, Signature(COLUMNS))
    status, answer = served.infer(row())
    assert status == 500
    assert CARD not in answer["error"]
    record = served.records[-1]
    assert (record["error"], record["fallback"], record["scores"]) == (code, False, None)
    assert CARD not in capsys.readouterr().err

    safe = Served(predict, Signature(COLUMNS), fallback_score=0.3)
    columns = (("amount", "FP64", 1.0), ("hour", "INT64", 1), ("country", "BYTES", "a"))
    three = {"inputs": [tensor(name, kind, [value] * 3) for name, kind, value in columns]}
    status, answer = safe.infer(three)
    assert status == 200
    assert answer["outputs"][0]["data"] == [0.3] * 3
    assert answer["parameters"] == {"fallback": True, "fallback_reason": code}
    _, invoked = safe.invoke({"instances": [[1.5, 2, "FR"]]})
    assert (invoked["predictions"], invoked["fallback"]) == ([0.3], True)
    record = safe.records[0]
    assert (record["fallback"], record["answers"], record["scores"], record["error"]) == (True, [0.3] * 3, None, code)


def test_the_failure_says_the_type_only() -> None:
    _, answer = Served(raises, Signature(COLUMNS)).infer(row())
    assert answer == {"error": "the model failed: ValueError"}


def test_rows_are_predicted_one_by_one_where_the_release_asks_for_it() -> None:
    sizes: list[int] = []

    def counted(frame: pd.DataFrame) -> Any:
        sizes.append(len(frame))
        return adds(frame)

    served = Served(counted, Signature(COLUMNS), one_at_a_time=True)
    content = {"instances": [[1.0, 1, "a"], [2.0, 2, "b"], [3.0, 3, "c"]]}
    assert served.invoke(content)[1] == {"predictions": [2.0, 4.0, 6.0]}
    assert sizes == [1, 1, 1]


def mean(frame: pd.DataFrame) -> Any:
    return np.array([float(frame["amount"].mean())])


def test_one_answer_to_all_rows_is_given_where_they_belong_together_and_is_a_failure_elsewhere() -> None:
    content = {"instances": [[1.0, 1, "a"], [2.0, 2, "b"], [6.0, 3, "c"]]}
    tensors = [{"name": n, "shape": [2], "datatype": d, "data": v} for n, d, v in AMOUNTS]
    each = Served(mean, Signature(COLUMNS))
    assert (each.invoke(content)[0], each.infer({"inputs": tensors})[0]) == (500, 500)
    together = Served(mean, Signature(COLUMNS), rows="together", one_at_a_time=True)
    assert together.invoke(content) == (200, {"predictions": [3.0]})
    assert together.infer({"inputs": tensors})[1]["outputs"][0]["data"] == [3.0]
    record = together.records[0]
    assert (record["status"], record["rows"], record["scores"]) == (200, 3, [3.0])


AMOUNTS = [("amount", "FP64", [1.0, 5.0]), ("hour", "INT64", [1, 2]), ("country", "BYTES", ["a", "b"])]


# --- deadlines and records


def test_a_request_whose_time_is_up_is_not_computed() -> None:
    calls: list[int] = []
    served = Served(lambda frame: calls.append(1) or adds(frame), Signature(COLUMNS))  # type: ignore[func-returns-value]
    late = {"x_serinus_start": f"{time.time() - 1:.6f}", "x_envoy_expected_rq_timeout_ms": "250"}
    assert served.infer(row(), **late)[0] == 504
    assert calls == []
    assert served.records[-1]["error"] == "timeout"
    assert served.infer(row(), x_serinus_start=f"{time.time() - 1:.6f}")[0] == 504, "the release's own time-out"
    assert served.infer(row(), x_serinus_start=f"{time.time():.6f}", x_envoy_expected_rq_timeout_ms="250")[0] == 200
    assert served.infer(row())[0] == 200, "nobody said when it began"
    safe = Served(adds, Signature(COLUMNS), fallback_score=0.5)
    status, answer = safe.infer(row(), **late)
    assert (status, answer["parameters"]["fallback_reason"]) == (200, "timeout")


def test_a_record_holds_what_the_judge_and_the_log_need(served: Served) -> None:
    start = time.time() - 0.02
    told = {"x_serinus_prediction_id": "own-1", "x_serinus_caller": "payments"}
    served.infer(row(), x_request_id="req-1", x_entity_id="card-9", x_serinus_start=f"{start:.6f}", **told)
    (record,) = served.records
    assert record["t"] >= start
    assert 20 <= record["ms"] < 2000
    del record["t"], record["ms"]
    assert record == {
        "id": "req-1", "entity": "card-9", "role": "canary", "split": "s1", "status": 200, "rows": 1,
        "columns": ["amount", "hour", "country"], "inputs": [[1.5, 2, "FR"]], "scores": [3.5], "answers": [3.5],
        "fallback": False, "error": None, "cached": False, "prediction": "own-1", "caller": "payments",
    }  # fmt: skip


def test_what_did_not_come_through_the_router_is_answered_but_not_recorded(served: Served) -> None:
    response = served.request(b"POST", b"/v2/models/fraud/infer", json.dumps(row()).encode(), {})
    assert response.status == 200
    assert served.records == []


@pytest.mark.parametrize("identity", [b"a\r\nset-cookie: x", b"", b"x" * 129, b"with space"])
def test_a_request_id_becomes_a_header_only_when_it_is_clean(served: Served, identity: bytes) -> None:
    body = json.dumps(row()).encode()
    response = served.request(b"POST", b"/v2/models/fraud/infer", body, {b"x-request-id": identity})
    lines = response.headers.split(b"\r\n")
    assert lines[0] == b"x-serinus-release: fraud-1-abc123"
    assert lines[1].startswith(b"x-request-id: ")
    assert len(lines[1]) == len(b"x-request-id: ") + 32
    clean = served.request(b"POST", b"/v2/models/fraud/infer", body, {b"x-request-id": b"ok:1"})
    assert b"x-request-id: ok:1\r\n" in clean.headers


def test_where_the_release_asks_for_it_nothing_is_predicted_whose_record_would_be_lost() -> None:
    calls: list[int] = []

    def counted(frame: pd.DataFrame) -> Any:
        calls.append(1)
        return adds(frame)

    strict = Served(counted, Signature(COLUMNS), unlogged="refuse")
    assert strict.infer(row())[0] == 200
    strict.full = True
    body = json.dumps(row()).encode()
    response = strict.request(b"POST", b"/v2/models/fraud/infer", body, {b"x-serinus-split": b"s1"})
    assert response.status == 503
    assert "error" in json.loads(response.body)
    assert b"retry-after: 1\r\n" in response.headers
    assert len(calls) == 1
    gate = strict.request(b"POST", b"/v2/models/fraud/infer", body, {})
    assert gate.status == 200, "what is not recorded needs no room"
    lenient = Served(adds, Signature(COLUMNS))
    lenient.full = True
    assert lenient.infer(row())[0] == 200
