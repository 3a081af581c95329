"""What is answered from memory, and what never is; through the whole application, in this process."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serinus_runtime.artifact.loading import Loaded
from serinus_runtime.artifact.signature import Column, Param, Signature
from serinus_runtime.base.config import Config, Settings
from serinus_runtime.base.messages import Request, Response
from serinus_runtime.cache.response_cache import response_cache_of
from serinus_runtime.model.model import Model
from serinus_runtime.records.sender import FIELDS
from serinus_runtime.serving.application import Application

SIGNATURE = Signature(
    (Column("amount", "double"), Column("hour", "long"), Column("country", "string", required=False)),
    params=(Param("factor", "double"),),
)
NAMES = ["amount", "hour", "country"]
CACHE = {"max_bytes": 1 << 20, "ttl_seconds": 60.0}
INFER, INVOKE = b"/v2/models/fraud/infer", b"/models/fraud/invocations"


class Served:
    """An application with a memory, the rows that its model was asked for, and the records."""

    def __init__(self, predict: Callable[[pd.DataFrame], Any], **settings: Any) -> None:
        self.asked = 0

        def counted(frame: pd.DataFrame, params: Mapping[str, Any] | None = None) -> Any:
            self.asked += 1
            result = predict(frame)
            return result * params["factor"] if params else result

        chosen = Settings.of({"cache": CACHE, **settings})
        config = Config("fraud-1-abc123", "fraud", "1", Path("/none"), -1, -1, Path("/none"), chosen)
        loaded = Loaded(counted, counted, counted, "tests")
        self.model = Model(loaded, SIGNATURE, one_at_a_time=chosen.one_at_a_time)
        self.said: list[str] = []
        self.records: list[dict[str, Any]] = []
        self.cache = response_cache_of(config, SIGNATURE, self.said.append)
        self._application = Application(
            config,
            self.model,
            lambda record: self.records.append(dict(zip(FIELDS, record, strict=True))),
            cache=self.cache,
        )

    def post(self, path: bytes, content: Any, **headers: str) -> Response:
        lines = {b"content-type": b"application/json", b"x-serinus-split": b"s1"}
        lines.update({name.replace("_", "-").encode(): value.encode() for name, value in headers.items()})
        request = Request(b"POST", path, {name: value for name, value in lines.items() if value}, True)
        request.body = content if isinstance(content, bytes) else json.dumps(content).encode()
        response = self._application.handle(request)
        assert isinstance(response, Response)
        return response


def adds(frame: pd.DataFrame) -> Any:
    return frame["amount"].to_numpy() + frame["hour"].to_numpy() + frame["country"].isna().to_numpy()


def split(*rows: list[Any], **more: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": NAMES, "data": rows}, **more}


def tensors(amount: Any, hour: Any, country: Any, **more: Any) -> dict[str, Any]:
    kinds = {"amount": "FP64", "hour": "INT64", "country": "BYTES"}
    values = {"amount": amount, "hour": hour, "country": country}
    inputs = [{"name": name, "datatype": kinds[name], "shape": [1], "data": [values[name]]} for name in NAMES]
    return {"inputs": inputs, **more}


def test_the_third_time_the_same_body_is_answered_from_memory_and_is_on_record() -> None:
    served = Served(adds)
    answers = [served.post(INVOKE, split([1.5, 2, "FR"]), x_request_id=f"r{n}", x_entity_id="card-1") for n in range(4)]
    assert served.asked == 2
    assert {answer.body for answer in answers} == {b'{"predictions":[3.5]}'}
    assert b"x-request-id: r3\r\n" in answers[3].headers
    assert [record["cached"] for record in served.records] == [False, False, True, True]
    last = served.records[3]
    assert (last["id"], last["entity"], last["split"], last["status"]) == ("r3", "card-1", "s1", 200)
    assert (last["rows"], last["scores"], list(last["columns"])) == (1, [3.5], NAMES)
    assert json.loads(last["inputs"]) == [[1.5, 2, "FR"]]


def test_the_same_features_are_known_by_another_protocol_order_and_spelling() -> None:
    served = Served(adds)
    for _ in range(2):
        served.post(INVOKE, split([1.5, 2, "FR"]))
    answer = served.post(INFER, tensors(15e-1, 2.0, "FR", id="q", outputs=[{"name": "output-0"}]))
    content = json.loads(answer.body)
    assert content["id"] == "q"
    assert content["outputs"] == [{"name": "output-0", "datatype": "FP64", "shape": [1], "data": [3.5]}]
    turned = {"dataframe_records": [{"country": "FR", "hour": 2, "amount": 1.5}]}
    assert json.loads(served.post(INVOKE, turned).body) == {"predictions": [3.5]}
    assert served.asked == 2
    assert [record["cached"] for record in served.records] == [False, False, True, True]
    assert served.records[2]["inputs"] == [[1.5, 2.0, "FR"]]


def test_a_request_for_an_output_that_there_is_not_is_refused_from_memory_too() -> None:
    served = Served(adds)
    for _ in range(2):
        served.post(INFER, tensors(1.5, 2, "FR"))
    assert served.post(INFER, tensors(1.5, 2, "FR", outputs=[{"name": "other"}])).status == 400


def test_gates_ask_the_model_and_not_its_memory() -> None:
    served = Served(adds)
    for _ in range(4):
        served.post(INVOKE, split([1.5, 2, "FR"]), x_serinus_split="")
    assert served.asked == 4
    assert served.records == []


@pytest.mark.parametrize("settings", [{"cache": None}, {"one_at_a_time": True}, {"rows": "together"}])
def test_without_a_cache_and_for_a_model_whose_answers_depend_on_company_nothing_is_remembered(
    settings: dict[str, Any],
) -> None:
    served = Served(adds, **settings)
    for _ in range(4):
        served.post(INVOKE, split([1.5, 2, "FR"]))
    assert served.cache is None
    assert served.asked == 4


@pytest.mark.parametrize("fallback", [None, 0.5])
def test_an_error_and_a_fallback_are_not_remembered(fallback: float | None) -> None:
    def fails_at_first(frame: pd.DataFrame) -> Any:
        if served.asked <= 3:
            raise ValueError
        return adds(frame)

    served = Served(fails_at_first, fallback_score=fallback)
    for _ in range(3):
        assert served.post(INVOKE, split([1.5, 2, "FR"])).status == (500 if fallback is None else 200)
    assert served.post(INVOKE, split([1.5, 2, "FR"])).body == b'{"predictions":[3.5]}'
    assert served.records[-1]["fallback"] is False


def test_a_request_whose_time_is_up_is_not_answered_from_memory_either() -> None:
    served = Served(adds)
    for _ in range(3):
        served.post(INVOKE, split([1.5, 2, "FR"]))
    late = served.post(INVOKE, split([1.5, 2, "FR"]), x_serinus_start="1000.0")
    assert late.status == 504
    assert served.records[-1]["error"] == "timeout"


def test_params_have_answers_of_their_own() -> None:
    served = Served(adds)
    for _ in range(3):
        assert json.loads(served.post(INVOKE, split([1.5, 2, "FR"], params={"factor": 2})).body) == {
            "predictions": [7.0]
        }
        assert json.loads(served.post(INVOKE, split([1.5, 2, "FR"])).body) == {"predictions": [3.5]}
    assert served.asked == 4


def test_a_model_that_contradicts_itself_loses_its_memory_and_the_log_says_so() -> None:
    rng = np.random.default_rng(1)
    served = Served(lambda frame: rng.random(len(frame)))
    answers = {served.post(INVOKE, split([1.5, 2, "FR"])).body for _ in range(6)}
    assert len(answers) == 6
    assert served.said == [
        "the model answered equal rows differently from before: its predictions are no longer cached\n"
    ]


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: pd.DataFrame({"no": -x, "score": 2 * x}),
        lambda x: pd.Series(2 * x, name="score"),
        lambda x: {"score": 2 * x, "class": np.where(x > 1.5, "fraud", "fine")},
        lambda x: np.column_stack([-x, x / 3]).astype("float32"),
        lambda x: x / 0.0 - x / 0.0,
        lambda x: [float(value) for value in x],
    ],
)
def test_every_kind_of_answer_is_the_same_from_memory(answer: Callable[[Any], Any]) -> None:
    served = Served(lambda frame: answer(frame["amount"].to_numpy()))
    for path, content in ((INVOKE, split([1.5, 2, "FR"], [0.1, 3, None])), (INFER, tensors(1.5, 2, "FR"))):
        with np.errstate(divide="ignore", invalid="ignore"):
            bodies = [served.post(path, content).body for _ in range(2)]
            bodies += [served.post(path, json.dumps(content, indent=1).encode()).body, served.post(path, content).body]
        assert len(set(bodies)) == 1
    assert served.asked == 4
    assert [record["scores"] for record in served.records[:4]] == [served.records[0]["scores"]] * 4


def test_compressed_and_refused_bodies_are_never_answered_from_memory() -> None:
    served = Served(adds)
    for _ in range(3):
        served.post(INVOKE, split([1.5, 2, "FR"]))
    assert served.post(INVOKE, split([1.5, 2, "FR"]), content_encoding="gzip").status == 415
    assert served.post(INVOKE, split([1.5, 2, "FR"]), content_type="text/html").status == 415


def tells_all_apart(frame: pd.DataFrame) -> Any:
    """A number a row that follows from each bit of it."""
    rows = zip(frame["amount"], frame["hour"], frame["country"], strict=True)
    return np.array(
        [zlib.crc32(repr((float(amount).hex(), int(hour), text)).encode()) / 7 for amount, hour, text in rows]
    )


def test_random_requests_in_random_spellings_are_answered_as_without_memory() -> None:
    """Against the same application without a cache; bodies, statuses and records, but for what is a request's own."""
    rng = random.Random(7)
    served = Served(tells_all_apart, cache={"max_bytes": 1 << 18, "ttl_seconds": 60.0})
    truth = Served(tells_all_apart, cache=None)
    amounts = [1.5, 1, 1.0, 0.0, -0.0, True, "1", None, 1e300, 2**53, 2**53 + 1, 0.1]
    hours = [1, 1.0, 1.5, True, 2**60, 3]
    countries = ["FR", "1", None, "", 1, "fr"]
    for _ in range(6_000):
        rows = [
            [rng.choice(amounts), rng.choice(hours), rng.choice(countries)] for _ in range(rng.choice([1, 1, 1, 2]))
        ]
        content = _spelled(rng, rows)
        path, body = (INFER, content) if "id" in content else (INVOKE, content)
        text = json.dumps(body, indent=rng.choice([None, 1])).encode()
        expected, got = truth.post(path, text, x_request_id="r"), served.post(path, text, x_request_id="r")
        assert (got.status, got.body, got.headers) == (expected.status, expected.body, expected.headers), text
        kept, plain = served.records[-1], truth.records[-1]
        assert [kept[name] for name in ("rows", "scores", "status", "error")] == [
            plain[name] for name in ("rows", "scores", "status", "error")
        ]
    assert served.said == []
    assert truth.asked > 3 * served.asked


def _spelled(rng: random.Random, rows: list[list[Any]]) -> dict[str, Any]:
    order = rng.sample(range(3), 3)
    names = [NAMES[i] for i in order]
    moved = [[row[i] for i in order] for row in rows]
    way = rng.randrange(4)
    if way == 0:
        return {"dataframe_split": {"columns": names, "data": moved}}
    if way == 1:
        return {"dataframe_records": [dict(zip(names, row, strict=True)) for row in moved]}
    if way == 2 and len(rows) == 1:
        turned = tensors(*rows[0], id=rng.choice(["a", "b"]))
        return {**turned, "inputs": [turned["inputs"][i] for i in order]}
    return {"inputs": dict(zip(names, zip(*moved, strict=True), strict=True))}
