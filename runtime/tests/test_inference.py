"""Which path a request for predictions takes: what is asked of the model, and how often a body is parsed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serinus_runtime.artifact.signature import Column, Signature
from serinus_runtime.base.config import Config, Settings
from serinus_runtime.base.messages import Pending, Request, Response
from serinus_runtime.cache.response_cache import response_cache_of
from serinus_runtime.model.batching import Batcher
from serinus_runtime.model.model import Answer
from serinus_runtime.records.sender import FIELDS
from serinus_runtime.serving.application import Application
from serinus_runtime.values.described import Answers
from serinus_runtime.values.inputs import Bound, ColumnInputs

SIGNATURE = Signature((Column("a", "double"), Column("b", "double")))
CACHE = {"max_bytes": 1 << 20, "ttl_seconds": 60.0}
INVOKE = b"/models/fraud/invocations"


class Adds:
    """Notes what it is asked: `bind` for each body that was parsed, `predict`, `predict_row`."""

    def __init__(self) -> None:
        self.signature = SIGNATURE
        self.answers = Answers(SIGNATURE)
        self.seen: list[Any] = []
        self.asked: list[str] = []
        self._inputs = ColumnInputs(SIGNATURE)

    def bind(self, payload: Any, *, exact: bool = False) -> Bound:
        self.asked.append("bind")
        return self._inputs.bind(payload, exact=exact)

    def predict(self, bound: Bound, params: Any = None) -> Answer:
        self.asked.append("predict")
        result = np.array([sum(row) for row in bound.rows])
        answer = Answer(result, self.answers.read(result))
        self.seen = answer.outputs
        return answer


class AddsRows(Adds):
    def predict_row(self, row: Sequence[float]) -> Any:
        self.asked.append("predict_row")
        return np.array([sum(row)])


class Timer:
    """Calls back when it is told to."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def call_later(self, delay: float, callback: Callable[[], object]) -> Any:
        self.calls.append(callback)
        return self

    def call_soon(self, callback: Callable[[], object]) -> Any:
        return self.call_later(0, callback)

    def cancel(self) -> None:
        self.calls.clear()

    def run(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Release:
    """An application of one model, with a cache and batches where they are asked for."""

    def __init__(self, model: Adds, *, batched: bool = False, **settings: Any) -> None:
        self.model = model
        self.records: list[dict[str, Any]] = []
        self.timer = Timer()
        config = Config("fraud-1-abc", "fraud", "1", Path("/none"), -1, -1, Path("/none"), Settings.of(settings))
        self.batcher = Batcher(model, self.timer, 0.01, 64) if batched else None
        self.application = Application(
            config,
            model,
            lambda record: self.records.append(dict(zip(FIELDS, record, strict=True))),
            cache=response_cache_of(config, SIGNATURE, lambda _: None),
            batcher=self.batcher,
        )

    def ask(self, rows: Sequence[Sequence[float]], *, spaces: int = 0, split: str = "s1") -> Response | Pending:
        """`spaces`: at the end of the body, which makes it another one with the same features."""
        headers = {b"content-type": b"application/json", b"x-serinus-split": split.encode()}
        request = Request(b"POST", INVOKE, {name: value for name, value in headers.items() if value}, True)
        request.body = json.dumps({"instances": rows}).encode() + b" " * spaces
        return self.application.handle(request)

    def asked(self, rows: Sequence[Sequence[float]], **how: Any) -> list[str]:
        """What the model was asked for a request that is answered at once with the sum of each row."""
        self.model.asked.clear()
        response = self.ask(rows, **how)
        assert isinstance(response, Response)
        assert json.loads(response.body)["predictions"] == [sum(row) for row in rows]
        return list(self.model.asked)


FULL, FAST = ["bind", "predict"], ["predict_row"]


def test_a_row_takes_the_fast_path_once_its_layout_is_known_and_rows_never_do() -> None:
    release = Release(AddsRows())
    assert release.asked([[1.0, 2.0]]) == FULL
    assert release.asked([[3.0, 4.0]]) == FAST
    assert release.asked([[3.0, 4.0]], split="") == FAST
    assert release.asked([[1.0, 2.0], [3.0, 4.0]]) == FULL
    assert release.asked([[1.0, 2.0], [3.0, 4.0]]) == FULL
    assert [record["cached"] for record in release.records] == [False] * 4


def test_a_model_that_predicts_no_single_rows_is_always_asked_by_the_full_path() -> None:
    release = Release(Adds())
    assert [release.asked([[1.0, 2.0]]) for _ in range(3)] == [FULL] * 3


def test_a_repeated_body_is_answered_without_being_parsed_and_repeated_features_without_the_model() -> None:
    release = Release(Adds(), cache=CACHE)
    rows = [[1.0, 2.0], [3.0, 4.0]]
    assert [release.asked(rows) for _ in range(3)] == [FULL, FULL, []]
    assert release.asked(rows, spaces=1) == ["bind"]
    assert release.asked(rows, split="") == FULL, "a gate asks the model"
    assert [record["cached"] for record in release.records] == [False, False, True, True]
    assert all(record["scores"] == [3.0, 7.0] for record in release.records)


def test_the_fast_path_uses_the_same_cache() -> None:
    release = Release(AddsRows(), cache=CACHE)
    assert release.asked([[9.0, 9.0]]) == FULL
    asked = [release.asked([[1.0, 2.0]]) for _ in range(3)]
    assert asked == [FAST, FAST, []]
    assert release.asked([[1.0, 2.0]], spaces=1) == FULL[:1], "another layout, of features that are known"
    assert [record["cached"] for record in release.records] == [False, False, False, True, True]


def test_a_batched_request_is_answered_later_unless_its_features_are_cached() -> None:
    release = Release(Adds(), batched=True, cache=CACHE)
    pending = [release.ask([[1.0, 2.0]], spaces=spaces) for spaces in range(2)]
    assert all(isinstance(one, Pending) for one in pending)
    release.model.asked.clear()
    release.timer.run()
    assert release.model.asked == ["predict"], "equal features in flight are predicted once"
    assert [record["scores"] for record in release.records] == [[3.0]] * 2
    assert release.asked([[1.0, 2.0]], spaces=2) == ["bind"]


@pytest.mark.parametrize(("fallback", "status", "rows"), [(None, 503, 0), (0.5, 200, 1)])
def test_a_request_that_finds_too_many_waiting_is_answered_at_once_and_parsed_once(
    fallback: float | None, status: int, rows: int
) -> None:
    release = Release(Adds(), batched=True, max_waiting=1, fallback_score=fallback)
    assert isinstance(release.ask([[1.0, 2.0]]), Pending)
    release.model.asked.clear()
    response = release.ask([[3.0, 4.0]])
    assert isinstance(response, Response)
    assert (response.status, release.model.asked) == (status, ["bind"])
    (record,) = release.records
    assert (record["status"], record["rows"], record["error"]) == (status, rows, "overloaded")
