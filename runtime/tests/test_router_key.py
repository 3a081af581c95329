"""A release believes only who shows its router key: nobody else is answered, and nobody else leaves a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serinus_runtime.artifact.loading import Loaded
from serinus_runtime.artifact.signature import Column, Signature
from serinus_runtime.base.config import Config
from serinus_runtime.base.messages import Response
from serinus_runtime.http.http1 import Parser
from serinus_runtime.model.model import Model
from serinus_runtime.records.sender import Record
from serinus_runtime.serving.application import Application

KEY = "5" * 64
BODY = json.dumps({"dataframe_split": {"columns": ["a"], "data": [[1.0]]}}).encode()
ROUTED = {b"x-serinus-split": b"s1", b"x-serinus-role": b"champion", b"x-entity-id": b"card-1", b"x-request-id": b"r-1"}
TARGETS = [
    (b"POST", b"/models/fraud/invocations"), (b"POST", b"/invocations"), (b"POST", b"/v2/models/fraud/infer"),
    (b"POST", b"/inference.GRPCInferenceService/ModelInfer"), (b"POST", b"/inference.GRPCInferenceService/ServerLive"),
    (b"GET", b"/v2/models/fraud"), (b"GET", b"/v2/health/ready"), (b"GET", b"/ping"), (b"GET", b"/nothing"),
]  # fmt: skip


class Released:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.asked = 0
        self.parser = Parser(1 << 20)
        config = Config("fraud-1-abc123", "fraud", "1", Path("/none"), -1, -1, Path("/none"), router=KEY)
        self.application = Application(config, self._model(), self.records.append)

    def _model(self) -> Model:
        def predict(rows: Any) -> list[float]:
            self.asked += 1
            return [0.5] * len(rows)

        return Model(Loaded(predict, predict, predict, "tests"), Signature((Column("a", "double", True),)))

    def parsed(self, method: bytes, target: bytes, key: bytes | None) -> Any:
        """The request as it comes from a socket; after the first like it, by the pattern of that."""
        lines = {**ROUTED, b"content-type": b"application/json", b"content-length": b"%d" % len(BODY)}
        if key is not None:
            lines[b"x-serinus-router"] = key
        head = b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"host: x", *map(b": ".join, lines.items())])
        self.parser.feed(head + b"\r\n\r\n" + BODY)
        return self.parser.next_request()

    def ask(self, method: bytes, target: bytes, key: bytes | None) -> Response:
        answer = self.application.handle(self.parsed(method, target, key))
        assert isinstance(answer, Response)
        return answer


@pytest.mark.parametrize("key", [None, b"", b"4" * 64, KEY[:-1].encode(), KEY.encode() + b"5", b"\xff" * 64])
def test_who_does_not_show_it_is_answered_nothing_and_leaves_no_record(key: bytes | None) -> None:
    released = Released()
    for _ in range(2):
        for method, target in TARGETS:
            assert released.ask(method, target, key).status == 401, target
    assert (released.asked, released.records) == (0, [])


def test_who_does_not_show_it_is_not_let_wait_among_those_who_do() -> None:
    released = Released()
    for waiting in (0, 10_000):
        refused = released.application.refuse(released.parsed(*TARGETS[0], None), waiting, 1.0)
        assert refused is not None
        assert refused.status == 401
    assert released.application.refuse(released.parsed(*TARGETS[0], KEY.encode()), 0, 1.0) is None
    assert released.records == []


def test_who_shows_it_is_believed() -> None:
    released = Released()
    for _ in range(2):
        assert released.ask(*TARGETS[0], KEY.encode()).status == 200
        assert released.ask(*TARGETS[0], b"4" * 64).status == 401
    assert released.asked == len(released.records) == 2
    assert released.records[0][1:5] == ("r-1", "card-1", "champion", "s1")
