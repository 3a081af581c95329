"""What every Scorer must do, see `core.ports.Scorer`."""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from serinus.backends.host import SocketScorer
from serinus.backends.host.records import Records
from serinus.core.errors import InvalidInput, NotFound, TemporaryError, Unavailable
from serinus.core.home import Home
from serinus.core.values import Release, ServingSettings


class Worker(socketserver.ThreadingUnixStreamServer):
    """Speaks as a release's worker would: what a test has put into `reply`, and keeps what it was asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Handler)
        self.status, self.headers, self.reply = 200, dict[str, str](), answer([0.5])
        self.asked: list[tuple[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: Worker

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body["inputs"]))
        self.send(self.server.status, self.server.reply)

    def do_GET(self) -> None:
        self.server.asked.append((self.path, None))
        self.send(200, {"inputs": [{"name": "kind", "datatype": "BYTES", "shape": [-1]}]})

    def send(self, status: int, body: Any) -> None:
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """Quiet."""


def answer(data: list[Any], shape: list[int] | None = None, name: str = "output-0") -> Mapping[str, Any]:
    return {"outputs": [{"name": name, "shape": shape or [len(data)], "datatype": "FP64", "data": data}]}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "h")
    for directory in home.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


@pytest.fixture
def worker(home: Home) -> Iterator[Worker]:
    place(home)
    with Worker(home.release_socket("fraud-1-abcdef")) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def place(home: Home, **settings: Any) -> None:
    made, python = datetime(2026, 1, 1, tzinfo=UTC), Path(sys.executable)
    chosen = ServingSettings(**settings)
    Records(home).keep(Release("fraud-1-abcdef", "card fraud", "1", home.artifacts, "a", "e", python, chosen, made))


def score(home: Home, columns: list[str], *rows: list[Any]) -> list[float | None]:
    endpoint = str(home.release_socket("fraud-1-abcdef"))
    return list(SocketScorer(home).score(endpoint, columns, list(rows), 5.0).scores)


def test_rows_are_sent_as_one_request_with_a_typed_tensor_for_each_column(home: Home, worker: Worker) -> None:
    worker.reply = answer([0.1, 0.2])
    rows = [[1, 1.5, "web", True, date(2026, 1, 2)], [2, 3, "pos", None, date(2026, 1, 3)]]
    assert score(home, ["n", "amount", "kind", "new", "day"], *rows) == [0.1, 0.2]
    assert worker.asked == [
        (
            "/v2/models/card%20fraud/infer",
            [
                {"name": "n", "shape": [2], "datatype": "INT64", "data": [1, 2]},
                {"name": "amount", "shape": [2], "datatype": "FP64", "data": [1.5, 3]},
                {"name": "kind", "shape": [2], "datatype": "BYTES", "data": ["web", "pos"]},
                {"name": "new", "shape": [2], "datatype": "BOOL", "data": [True, None]},
                {"name": "day", "shape": [2], "datatype": "BYTES", "data": ["2026-01-02", "2026-01-03"]},
            ],
        )
    ]


def test_a_missing_number_is_sent_as_null(home: Home, worker: Worker) -> None:
    worker.reply = answer([0.1, 0.2])
    score(home, ["amount"], [float("nan")], [2.0])
    assert worker.asked[0][1] == [{"name": "amount", "shape": [2], "datatype": "FP64", "data": [None, 2.0]}]


def test_a_column_without_any_value_has_the_type_that_the_release_declares(home: Home, worker: Worker) -> None:
    score(home, ["kind", "amount"], [None, None])
    assert worker.asked[0] == ("/v2/models/card%20fraud", None)
    assert [tensor["datatype"] for tensor in worker.asked[1][1]] == ["BYTES", "FP64"]


def test_the_score_is_the_last_column_of_the_first_output(home: Home, worker: Worker) -> None:
    worker.reply = answer([0.9, 0.1, 0.3, 0.7], [2, 2])
    assert score(home, ["x"], [1], [2]) == [0.1, 0.7]


def test_the_score_is_the_output_that_the_release_names(home: Home, worker: Worker) -> None:
    place(home, score_output="risk")
    worker.reply = {"outputs": [*answer([1.0])["outputs"], *answer([0.25], name="risk")["outputs"]]}
    assert score(home, ["x"], [1]) == [0.25]
    worker.reply = answer([1.0])
    with pytest.raises(TemporaryError, match="no scores"):
        score(home, ["x"], [1])


def test_what_is_not_a_finite_number_is_no_score(home: Home, worker: Worker) -> None:
    worker.reply = answer([None, float("nan"), "high", 1])
    assert score(home, ["x"], [1], [2], [3], [4]) == [None, None, None, 1.0]


def test_the_time_that_it_took_is_told(home: Home, worker: Worker) -> None:
    scored = SocketScorer(home).score(str(home.release_socket("fraud-1-abcdef")), ["x"], [[1]], 5.0)
    assert 0 < scored.seconds < 5


def test_a_refusal_is_invalid_input_in_the_releases_words(home: Home, worker: Worker) -> None:
    worker.status, worker.reply = 400, {"error": "column 'x' takes double: a string was sent"}
    with pytest.raises(InvalidInput, match="column 'x' takes double"):
        score(home, ["x"], ["4111111111111111"])


@pytest.mark.parametrize("status", [500, 503, 504])
def test_a_failure_is_temporary(home: Home, worker: Worker, status: int) -> None:
    worker.status, worker.reply = status, {"error": "the model raised ValueError"}
    with pytest.raises(TemporaryError, match="raised ValueError"):
        score(home, ["x"], [1])


def test_a_fallback_is_not_the_releases_answer(home: Home, worker: Worker) -> None:
    worker.headers = {"X-Serinus-Fallback": "true"}
    with pytest.raises(TemporaryError, match="fallback"):
        score(home, ["x"], [1])


@pytest.mark.parametrize("reply", [None, [], {"outputs": []}, answer([0.5, 0.6])])
def test_what_is_not_one_score_a_row_is_no_answer(home: Home, worker: Worker, reply: Any) -> None:
    worker.reply = reply
    with pytest.raises(TemporaryError):
        score(home, ["x"], [1])


def test_a_release_that_does_not_answer_is_unavailable(home: Home) -> None:
    place(home)
    with pytest.raises(Unavailable, match="fraud-1-abcdef"):
        score(home, ["x"], [1])


def test_an_endpoint_of_no_placed_release_is_not_found(home: Home) -> None:
    with pytest.raises(NotFound):
        score(home, ["x"], [1])
