"""Requests that wait, over real sockets: for their batch, for their turn, or not at all."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from serinus_runtime.artifact.loading import Loaded
from serinus_runtime.artifact.signature import Column, Signature
from serinus_runtime.base.config import Config, Settings
from serinus_runtime.cache.response_cache import response_cache_of
from serinus_runtime.http.server import Server
from serinus_runtime.model.model import Model
from serinus_runtime.process.event_loop import batcher_of
from serinus_runtime.records.sender import FIELDS
from serinus_runtime.serving.application import Application

SIGNATURE = Signature((Column("x", "double"),))


class Slow:
    """Takes as long for many rows as for one, and keeps what it was asked. Raises for a negative number."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.calls: list[list[float]] = []

    def __call__(self, frame: pd.DataFrame) -> Any:
        self.calls.append(frame["x"].tolist())
        time.sleep(self.seconds)
        if (frame["x"] < 0).any():
            raise ValueError
        return 2 * frame["x"].to_numpy()


class Worker:
    """A server in this event loop."""

    def __init__(self, path: Path, predict: Slow, **settings: Any) -> None:
        self.path = str(path / "w.sock")
        self.records: list[dict[str, Any]] = []
        config = Config("fraud-1-abc123", "fraud", "1", path, -1, -1, path, Settings.of(settings))
        model = Model(Loaded(predict, predict, predict, "tests"), SIGNATURE)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.setblocking(False)
        application = Application(
            config,
            model,
            lambda record: self.records.append(dict(zip(FIELDS, record, strict=True))),
            cache=response_cache_of(config, SIGNATURE, lambda _: None),
            batcher=batcher_of(
                config.settings, model, asyncio.get_running_loop(), lambda: len(self.server.connections)
            ),
        )
        self.server = Server(listener, application.handle, 1 << 20, refuse=application.refuse)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.path)

    async def ask(self, number: float, **headers: str) -> Reply:
        stream, writer = await self.connect()
        writer.write(request(number, **headers))
        try:
            return await reply(stream)
        finally:
            writer.close()


class Reply:
    def __init__(self, head: str, body: bytes, at: float) -> None:
        self.status = int(head.split(" ")[1])
        self.headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        self.json = json.loads(body)
        self.at = at


def request(number: float, **headers: str) -> bytes:
    body = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [number]}]}).encode()
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = "POST /v2/models/fraud/infer HTTP/1.1\r\nhost: w\r\nx-serinus-split: s\r\n"
    return f"{head}{more}content-length: {len(body)}\r\n\r\n".encode() + body


async def reply(stream: asyncio.StreamReader) -> Reply:
    head = (await asyncio.wait_for(stream.readuntil(b"\r\n\r\n"), 10)).decode()
    length = next(int(line.split(": ")[1]) for line in head.split("\r\n") if line.startswith("content-length"))
    return Reply(head, await stream.readexactly(length), time.monotonic())


def served(path: Path, predict: Slow, test: Callable[[Worker], Awaitable[None]], **settings: Any) -> Worker:
    async def run() -> Worker:
        worker = Worker(path, predict, **settings)
        await worker.server.start()
        try:
            await test(worker)
        finally:
            await worker.server.drain(patience=2.0, quiet=0.0)
        return worker

    return asyncio.run(run())


def score(answer: Reply) -> float:
    assert answer.status == 200, answer.json
    return float(answer.json["outputs"][0]["data"][0])


def test_concurrent_requests_to_a_slow_model_are_predicted_together(tmp_path: Path) -> None:
    model = Slow(0.01)

    async def test(worker: Worker) -> None:
        answers = await asyncio.gather(*(worker.ask(float(n)) for n in range(40)))
        assert [score(answer) for answer in answers] == [2.0 * n for n in range(40)]

    worker = served(tmp_path, model, test, batch_delay_ms=5.0, batch_rows=16)
    assert len(model.calls) < 20
    assert max(map(len, model.calls)) <= 16
    assert sorted(record["scores"][0] for record in worker.records) == [2.0 * n for n in range(40)]


def test_a_lone_caller_does_not_wait_for_others_that_there_are_not(tmp_path: Path) -> None:
    async def test(worker: Worker) -> None:
        began = time.monotonic()
        assert score(await worker.ask(1.0)) == 2.0
        assert time.monotonic() - began < 10.0

    served(tmp_path, Slow(0.0), test, batch_delay_ms=20_000.0, timeout_ms=60_000)


def test_requests_in_a_row_on_one_connection_are_answered_in_their_order(tmp_path: Path) -> None:
    async def test(worker: Worker) -> None:
        stream, writer = await worker.connect()
        writer.write(b"".join(request(float(n)) for n in range(5)) + b"GET /v2/health/live HTTP/1.1\r\nhost: w\r\n\r\n")
        assert [score(await reply(stream)) for _ in range(5)] == [0.0, 2.0, 4.0, 6.0, 8.0]
        assert (await reply(stream)).json == {"live": True}
        writer.close()

    served(tmp_path, Slow(0.0), test, batch_delay_ms=2.0)


def test_an_error_in_a_batch_fails_only_the_request_that_brought_it(tmp_path: Path) -> None:
    async def test(worker: Worker) -> None:
        numbers = [1.0, -1.0, 3.0, 4.0]
        answers = await asyncio.gather(*(worker.ask(number) for number in numbers))
        assert [answer.status for answer in answers] == [200, 500, 200, 200]

    worker = served(tmp_path, Slow(0.0), test, batch_delay_ms=20.0)
    assert sorted(str(record["error"]) for record in worker.records) == ["None", "None", "None", "model-error"]


def test_a_caller_that_leaves_does_not_cost_the_others_their_answers(tmp_path: Path) -> None:
    async def test(worker: Worker) -> None:
        _, writer = await worker.connect()
        _, idle = await worker.connect()
        writer.write(request(1.0))
        while not worker.server.waiting:
            await asyncio.sleep(0.001)
        writer.close()
        assert score(await worker.ask(2.0)) == 4.0
        assert worker.server.waiting == 0
        idle.close()

    served(tmp_path, Slow(0.0), test, batch_delay_ms=100.0)


def test_equal_requests_in_flight_are_predicted_once_where_there_is_a_cache(tmp_path: Path) -> None:
    model = Slow(0.0)

    async def test(worker: Worker) -> None:
        answers = await asyncio.gather(*(worker.ask(1.0) for _ in range(8)))
        assert {score(answer) for answer in answers} == {2.0}

    worker = served(
        tmp_path, model, test, batch_delay_ms=50.0, cache={"max_bytes": 1 << 20, "ttl_seconds": 60.0}
    )  # fmt: skip
    assert sum(map(len, model.calls)) < 4
    assert len(worker.records) == 8


@pytest.mark.parametrize("batch_delay_ms", [0.0, 1.0])
def test_beyond_the_most_that_may_wait_requests_are_refused_before_the_others_are_answered(
    tmp_path: Path, batch_delay_ms: float
) -> None:
    async def test(worker: Worker) -> None:
        for _ in range(3):
            await worker.ask(0.0)  # by which the worker learns how long its answers take
        answers = await asyncio.gather(*(worker.ask(float(n)) for n in range(12)))
        refused = [answer for answer in answers if answer.status == 503]
        good = [answer for answer in answers if answer.status == 200]
        assert len(refused) + len(good) == 12
        assert 3 <= len(good) <= 8
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert max(answer.at for answer in refused) < max(answer.at for answer in good)
        assert "already waiting" in refused[0].json["error"]

    worker = served(
        tmp_path, Slow(0.03), test, max_waiting=3, batch_delay_ms=batch_delay_ms, batch_rows=2, timeout_ms=60_000
    )
    assert {record["error"] for record in worker.records if record["status"] == 503} == {"overloaded"}


def test_a_request_that_the_queue_would_make_late_is_refused_at_once_with_the_fallback(tmp_path: Path) -> None:
    async def test(worker: Worker) -> None:
        for _ in range(40):
            await worker.ask(0.0)
        begun = time.time()
        headers = {"x_serinus_start": str(begun), "x_envoy_expected_rq_timeout_ms": "45"}
        answers = await asyncio.gather(*(worker.ask(1.0, **headers) for _ in range(12)))
        assert all(answer.status == 200 for answer in answers)
        fallen = [answer for answer in answers if answer.headers.get("x-serinus-fallback") == "true"]
        assert 1 <= len(answers) - len(fallen) <= 6
        assert {score(answer) for answer in fallen} == {0.5}

    worker = served(tmp_path, Slow(0.01), test, fallback_score=0.5)
    assert "overloaded" in {record["error"] for record in worker.records}
