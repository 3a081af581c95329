"""A real worker under callers that mean no good: it says what is wrong, lives on, and does not grow."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CARD = "4000001234567899"
ROW = {"dataframe_split": {"columns": ["amount", "hour", "country"], "data": [[12.5, 3, "FR"]]}}
INFER = "/v2/models/fraud/infer"
POST = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
GET = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
Worker = Any


@pytest.fixture
def worker(start_worker: Callable[..., Worker], adds_up: Path) -> Iterator[Worker]:
    """Still answers when the test is done."""
    running = start_worker(adds_up)
    running.wait_ready()
    yield running
    assert running.process.poll() is None, running.log.read_text()
    assert answers(running)
    assert "Traceback" not in running.log.read_text()


def answers(worker: Worker) -> bool:
    return bool(worker.client.invoke(ROW).json == {"predictions": [15.5]})


def memory(worker: Worker) -> int:
    """Bytes that are resident."""
    lines = Path(f"/proc/{worker.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


@contextlib.contextmanager
def connected(worker: Worker) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(20)
        stream.connect(str(worker.socket))
        yield stream


def everything(stream: socket.socket) -> bytes:
    """Until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := stream.recv(65536):
            received += part
    return received


def tensor(shape: list[Any], data: Any, datatype: str = "FP64", name: str = "amount") -> dict[str, Any]:
    return {"inputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}]}


# --- bodies that are no requests

BODIES: dict[str, tuple[str, Any, int, str]] = {
    "truncated JSON": (INFER, b'{"inputs": [{"name": "' + CARD.encode(), 400, "not JSON"),
    "deep JSON": (INFER, b'{"inputs":' + b"[" * 200_000, 400, "not JSON"),
    "deep objects": ("/invocations", b'{"a":' * 100_000, 400, "not JSON"),
    "NaN": (INFER, b'{"inputs": [NaN]}', 400, "NaN"),
    "Infinity": ("/invocations", b'{"instances": [[-Infinity, 1, "FR"]]}', 400, "Infinity"),
    "a number beyond doubles": ("/invocations", b'{"instances": [[1e999, 1, "FR"]]}', 400, "amount.*out of range|JSON"),
    "endless digits": ("/invocations", b'{"instances": [[' + b"7" * 50_000 + b', 1, "FR"]]}', 400, "JSON|out of range"),
    "a whole number beyond 64 bits": ("/invocations", {"instances": [[1, 2**64, "FR"]]}, 400, "hour.*out of range"),
    "bytes that are no UTF-8": ("/invocations", b'{"instances": [["\xff\xfe"]]}', 400, "UTF-8"),
    "a lone surrogate": ("/invocations", b'{"instances": [[1, 2, "\\ud800"]]}', 400, "country.*Unicode"),
    "an unknown input": (INFER, tensor([1], [1.0], name=CARD), 400, "shape|takes"),
    "duplicate columns": (
        "/invocations",
        {"dataframe_split": {"columns": ["amount", "amount", "country"], "data": [[1, 2, CARD]]}},
        400,
        "twice",
    ),
    "rows of other lengths": ("/invocations", {"instances": [[1, 2, "FR"], [CARD]]}, 400, "rows are not all as long"),
    "a shape that the data does not fill": (INFER, tensor([7], [1.0]), 400, "shape .7. has 1 values"),
    "a shape that no body can fill": (INFER, tensor([2**31 - 1] * 32, [1.0]), 400, "shape"),
    "a shape without end": (INFER, tensor([2**61] * 40_000, [1.0]), 400, "1 to 32 sizes"),
    "a negative shape": (INFER, tensor([-1], [1.0]), 400, "whole numbers"),
    "another media type": ("/invocations", b"<a/>", 415, "Content-Type"),
    "not HTTP's idea of a model": ("/v2/models/" + CARD, b"", 404, "no such path"),
}


def test_a_body_that_is_no_request_is_refused_at_once_with_what_and_where(worker: Worker) -> None:
    for case, (path, body, status, says) in BODIES.items():
        kind = "text/xml" if status == 415 else "application/json"
        before = time.monotonic()
        answer = worker.client.post(path, body, {"Content-Type": kind})
        assert time.monotonic() - before < 5, case
        assert answer.status == status, (case, answer.body)
        assert CARD not in answer.body.decode(), case
        assert re.search(says, answer.json["error"]), (case, answer.json["error"])


def test_a_truncated_body_is_told_so_when_its_sender_is_done(worker: Worker) -> None:
    answer = worker.client.raw(POST % (50, b'{"instances"'), shut=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"the connection ended in the middle of a request" in answer


def test_a_half_closed_connection_gets_its_answers(worker: Worker) -> None:
    body = json.dumps(ROW).encode()
    assert worker.client.raw((POST % (len(body), body)) * 3, shut=True).count(b'{"predictions":[15.5]}') == 3


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
def test_a_body_of_100_mb_is_refused_and_not_kept(worker: Worker, chunked: bool) -> None:
    before = memory(worker)
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 100000000"
    with connected(worker) as stream:
        stream.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
        piece = b"186a0\r\n" + b"x" * 100_000 + b"\r\n" if chunked else b"x" * 100_000
        for _ in range(1000):
            stream.sendall(piece)
        stream.sendall(b"0\r\n\r\n" if chunked else b"")
        assert stream.recv(65536).startswith(b"HTTP/1.1 413 ")
        body = json.dumps(ROW).encode()
        stream.sendall(POST % (len(body), body))
        assert b'{"predictions":[15.5]}' in stream.recv(65536), "the connection goes on"
    assert memory(worker) - before < 30 << 20


def test_many_pipelined_megabytes_are_not_kept_while_nobody_reads_the_answers(worker: Worker) -> None:
    before = memory(worker)
    body = json.dumps(ROW).encode()
    request = (POST % (len(body), body)) * 200
    with connected(worker) as stream:
        stream.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            for _ in range(2000):
                stream.sendall(request)
        assert memory(worker) - before < 30 << 20


def test_a_thousand_idle_connections_cost_little_and_the_next_caller_is_served(worker: Worker) -> None:
    before = memory(worker)
    with contextlib.ExitStack() as stack:
        for i in range(1000):
            stream = stack.enter_context(connected(worker))
            if i % 2:
                stream.sendall(GET[: 1 + i % len(GET[:-1])])
        began = time.monotonic()
        assert answers(worker)
        assert time.monotonic() - began < 2
        assert memory(worker) - before < 30 << 20


def test_bodies_in_tiny_chunks_are_kept_as_their_bytes(worker: Worker) -> None:
    """Not as one object for each chunk."""
    before = memory(worker)
    chunk = b"2\r\n12\r\n" * 10_000
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            stream = stack.enter_context(connected(worker))
            stream.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 4)
        assert answers(worker)
        assert memory(worker) - before < 30 << 20


def test_a_connection_that_vanishes_in_the_middle_leaves_nothing(worker: Worker) -> None:
    for size in (1, 40, len(POST) + 5):
        with connected(worker) as stream:
            stream.sendall((POST % (50, b"x" * 40))[:size])
    assert answers(worker)


SMUGGLED = [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n",
    b"Content-Length: 0x5\r\n\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"Content-Length : 0\r\n\r\n",
]


def test_a_request_whose_end_is_in_doubt_is_answered_alone(worker: Worker) -> None:
    for framing in SMUGGLED:
        answer = worker.client.raw(b"POST /invocations HTTP/1.1\r\nHost: x\r\n" + framing + GET)
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), framing
        assert answer.count(b"HTTP/1.1") == 1, framing
