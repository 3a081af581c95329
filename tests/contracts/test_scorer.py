"""What every Scorer must do, see `core.ports.Scorer`."""

from __future__ import annotations

import json
import socketserver
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Protocol

import httpx2
import pytest
from api_server import cluster_of
from servers import ServerThread
from tritonclient.grpc import service_pb2

from serinus.core.errors import InvalidInput, NotFound, TemporaryError, Unavailable
from serinus.core.examination import Question
from serinus.core.home import Home
from serinus.core.keys import router_key
from serinus.core.ports import Scorer
from serinus.core.release import Release, ServingSettings
from serinus.targets.kubernetes.scorer import ClusterScorer
from serinus.targets.kubernetes.services import Services
from serinus.targets.local.host import SocketScorer
from serinus.targets.local.host.state_files import StateFiles

FRAUD = "fraud-1-abcdef"
SECRET = "secret of the home"


class Worker:
    """Speaks as a release's worker would: what a test has put into `reply`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.headers = 200, dict[str, str]()
        self.reply: Mapping[str, Any] | bytes = answer([0.5])
        self.asked: list[tuple[str, Any]] = []
        self.shown: set[str | None] = set()


class OverUnix(Worker, socketserver.ThreadingUnixStreamServer):
    def __init__(self, path: Path) -> None:
        Worker.__init__(self)
        socketserver.ThreadingUnixStreamServer.__init__(self, str(path), Handler)


class OverTcp(Worker, socketserver.ThreadingTCPServer):
    def __init__(self) -> None:
        Worker.__init__(self)
        socketserver.ThreadingTCPServer.__init__(self, ("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: OverUnix | OverTcp

    def do_POST(self) -> None:
        self.server.shown.add(self.headers["x-serinus-router"])
        content = self.rfile.read(int(self.headers["Content-Length"]))
        grpc = self.headers["Content-Type"] == "application/grpc"
        body = content if grpc else json.loads(content)
        self.server.asked.append((self.path, body if grpc else body.get("inputs", body)))
        self.send(self.server.status, self.server.reply)

    def do_GET(self) -> None:
        self.server.shown.add(self.headers["x-serinus-router"])
        self.server.asked.append((self.path, None))
        self.send(200, {"inputs": [{"name": "kind", "datatype": "BYTES", "shape": [-1]}]})

    def send(self, status: int, body: Any) -> None:
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """Quiet."""


def answer(data: list[Any], shape: list[int] | None = None, name: str = "output-0") -> Mapping[str, Any]:
    return {"outputs": [{"name": name, "shape": shape or [len(data)], "datatype": "FP64", "data": data}]}


class Asking(Protocol):
    """A target whose worker runs in the test."""

    scorer: Scorer
    endpoint: str
    release: Release
    """As it was placed last."""

    def place(self, **settings: Any) -> None:
        """Places the release with these settings."""
        ...

    def worker(self) -> OverUnix | OverTcp:
        """Starts to listen at the endpoint."""
        ...


class OnThisMachine:
    def __init__(self, directory: Path) -> None:
        self.home = Home(directory / "h")
        for path in self.home.directories:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.home.secret.write_text(SECRET)
        self.endpoint = str(self.home.release_socket(FRAUD))
        self.scorer: Scorer = SocketScorer(self.home)

    def place(self, **settings: Any) -> None:
        self.release = fraud(**settings)
        StateFiles(self.home).keep(self.release)
        self.scorer = SocketScorer(self.home)

    def worker(self) -> OverUnix:
        return OverUnix(Path(self.endpoint))


class OnACluster:
    """The API server knows one Service, whose address is on this machine."""

    def __init__(self) -> None:
        self._placed: dict[str, Release] = {}
        self._listening = OverTcp()
        self.endpoint = f"{FRAUD}.serinus.svc:{self._listening.server_address[1]}"
        self.scorer: Scorer = ClusterScorer(
            Services(cluster_of(self._service)), self._release_at, lambda release: router_key(SECRET, release)
        )

    def place(self, **settings: Any) -> None:
        self.release = self._placed[self.endpoint] = fraud(**settings)

    def worker(self) -> OverTcp:
        return self._listening

    def close(self) -> None:
        self._listening.server_close()

    def _release_at(self, endpoint: str) -> Release:
        if endpoint not in self._placed:
            raise NotFound("No release is placed at this endpoint.")
        return self._placed[endpoint]

    @staticmethod
    def _service(request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == f"/api/v1/namespaces/serinus/services/{FRAUD}"
        return httpx2.Response(200, json={"metadata": {"name": FRAUD}, "spec": {"clusterIP": "127.0.0.1"}})


def fraud(**settings: Any) -> Release:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return Release(FRAUD, "card fraud", "1", "a", "e", ServingSettings(**settings), made)


@pytest.fixture(params=["local", "kubernetes"])
def asking(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asking]:
    if request.param == "local":
        yield OnThisMachine(tmp_path)
        return
    with closing(OnACluster()) as on_a_cluster:
        yield on_a_cluster


@pytest.fixture
def worker(asking: Asking) -> Iterator[Worker]:
    asking.place()
    with ServerThread(asking.worker()) as server:
        yield server


def score(asking: Asking, columns: list[str], *rows: list[Any]) -> list[float | None]:
    return list(asking.scorer.score(asking.endpoint, columns, list(rows), 5.0).scores)


def test_rows_are_sent_as_one_request_with_a_typed_tensor_for_each_column(asking: Asking, worker: Worker) -> None:
    worker.reply = answer([0.1, 0.2])
    rows = [[1, 1.5, "web", True, date(2026, 1, 2)], [2, 3, "pos", None, date(2026, 1, 3)]]
    assert score(asking, ["n", "amount", "kind", "new", "day"], *rows) == [0.1, 0.2]
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


def test_a_missing_number_is_sent_as_null(asking: Asking, worker: Worker) -> None:
    worker.reply = answer([0.1, 0.2])
    score(asking, ["amount"], [float("nan")], [2.0])
    assert worker.asked[0][1] == [{"name": "amount", "shape": [2], "datatype": "FP64", "data": [None, 2.0]}]


def test_a_column_without_any_value_has_the_type_that_the_release_declares(asking: Asking, worker: Worker) -> None:
    score(asking, ["kind", "amount"], [None, None])
    assert worker.asked[0] == ("/v2/models/card%20fraud", None)
    assert [tensor["datatype"] for tensor in worker.asked[1][1]] == ["BYTES", "FP64"]
    assert worker.shown == {router_key(SECRET, FRAUD)}


def test_the_score_is_the_last_column_of_the_first_output(asking: Asking, worker: Worker) -> None:
    worker.reply = answer([0.9, 0.1, 0.3, 0.7], [2, 2])
    assert score(asking, ["x"], [1], [2]) == [0.1, 0.7]


def test_the_score_is_the_output_that_the_release_names(asking: Asking, worker: Worker) -> None:
    asking.place(score_output="risk")
    worker.reply = {"outputs": [*answer([1.0])["outputs"], *answer([0.25], name="risk")["outputs"]]}
    assert score(asking, ["x"], [1]) == [0.25]
    worker.reply = answer([1.0])
    with pytest.raises(TemporaryError, match="no scores"):
        score(asking, ["x"], [1])


def test_what_is_not_a_finite_number_is_no_score(asking: Asking, worker: Worker) -> None:
    worker.reply = answer([None, float("nan"), "high", 1])
    assert score(asking, ["x"], [1], [2], [3], [4]) == [None, None, None, 1.0]


def test_the_time_that_it_took_is_told(asking: Asking, worker: Worker) -> None:
    scored = asking.scorer.score(asking.endpoint, ["x"], [[1]], 5.0)
    assert 0 < scored.seconds < 5


def test_a_refusal_is_invalid_input_in_the_releases_words(asking: Asking, worker: Worker) -> None:
    worker.status, worker.reply = 400, {"error": "column 'x' takes double: a string was sent"}
    with pytest.raises(InvalidInput, match="column 'x' takes double"):
        score(asking, ["x"], ["4111111111111111"])


@pytest.mark.parametrize("status", [500, 503, 504])
def test_a_failure_is_temporary(asking: Asking, worker: Worker, status: int) -> None:
    worker.status, worker.reply = status, {"error": "the model raised ValueError"}
    with pytest.raises(TemporaryError, match="raised ValueError"):
        score(asking, ["x"], [1])


def test_a_fallback_is_not_the_releases_answer(asking: Asking, worker: Worker) -> None:
    worker.headers = {"X-Serinus-Fallback": "true"}
    with pytest.raises(TemporaryError, match="fallback"):
        score(asking, ["x"], [1])


@pytest.mark.parametrize("reply", [None, [], {"outputs": []}, answer([0.5, 0.6])])
def test_what_is_not_one_score_a_row_is_no_answer(asking: Asking, worker: Worker, reply: Any) -> None:
    worker.reply = reply
    with pytest.raises(TemporaryError):
        score(asking, ["x"], [1])


def test_a_release_that_does_not_answer_is_unavailable(asking: Asking) -> None:
    asking.place()
    with pytest.raises(Unavailable, match="fraud-1-abcdef"):
        asking.scorer.score(asking.endpoint, ["x"], [[1]], 0.3)


def test_an_endpoint_of_no_placed_release_is_not_found(asking: Asking) -> None:
    with pytest.raises(NotFound):
        score(asking, ["x"], [1])


# --- by one protocol or another ---------------------------------------------------------------------------


TENSORS = [
    {"name": "amount", "shape": [2], "datatype": "FP64", "data": [1.5, None]},
    {"name": "n", "shape": [2], "datatype": "INT64", "data": [-3, 2**53 + 1]},
    {"name": "kind", "shape": [2], "datatype": "BYTES", "data": ["web", "é"]},
    {"name": "new", "shape": [2], "datatype": "BOOL", "data": [True, False]},
]
ROWS = {"dataframe_split": {"columns": ["amount"], "data": [[1.5], [None]]}}
QUESTION = Question(ROWS, TENSORS)


def asked(asking: Asking, protocol: str, question: Question = QUESTION) -> Any:
    return asking.scorer.ask(asking.endpoint, asking.release, protocol, question, 5.0)


def test_invocations_are_asked_by_mlflows_protocol(asking: Asking, worker: Worker) -> None:
    worker.reply = {"predictions": [{"risk": 0.5, "label": "a"}, {"risk": None, "label": "b"}]}
    found = asked(asking, "invocations")
    assert worker.asked == [("/models/card%20fraud/invocations", ROWS)]
    assert (found.answers, found.scores) == ([[0.5, "a"], [None, "b"]], [0.5, None])


def test_a_number_that_is_missing_is_null_in_mlflows_protocol(asking: Asking, worker: Worker) -> None:
    worker.reply = {"predictions": [0.5]}
    asked(asking, "invocations", Question({"inputs": [[float("nan"), float("inf")]]}, None))
    assert worker.asked == [("/models/card%20fraud/invocations", [[None, None]])]


@pytest.mark.parametrize(
    ("predictions", "answers", "scores"),
    [
        ([0.1, 0.2], [[0.1], [0.2]], [0.1, 0.2]),
        ([[0.9, 0.1], [0.3, 0.7]], [[0.9, 0.1], [0.3, 0.7]], [0.1, 0.7]),
        ({"risk": [0.1, 0.2], "label": [1, 0]}, [[0.1, 1], [0.2, 0]], [0.1, 0.2]),
        ([0.5], [[0.5]], [0.5]),
        (["a", "b"], [["a"], ["b"]], [None, None]),
        ([], [[]], [None]),
    ],
)
def test_an_answer_of_any_form_becomes_rows_of_values(
    asking: Asking, worker: Worker, predictions: Any, answers: Any, scores: Any
) -> None:
    worker.reply = {"predictions": predictions}
    found = asked(asking, "invocations")
    assert (found.answers, found.scores) == (answers, scores)


def test_a_score_that_has_a_name_is_found_by_it(asking: Asking, worker: Worker) -> None:
    asking.place(score_output="risk")
    worker.reply = {"predictions": [{"risk": 0.5, "label": 1}, {"risk": 0.25, "label": 0}]}
    assert asked(asking, "invocations").scores == [0.5, 0.25]
    worker.reply = {"predictions": [{"label": 1}, {"label": 0}]}
    assert asked(asking, "invocations").scores == [None, None]
    worker.reply = {"predictions": {"label": [1, 0]}}
    with pytest.raises(TemporaryError, match="did not answer as invocations says"):
        asked(asking, "invocations")


def test_the_open_inference_protocol_is_asked_with_the_tensors(asking: Asking, worker: Worker) -> None:
    outputs = [*answer([0.1, 0.2, 0.3, float("nan")], [2, 2])["outputs"], *answer([7, 8], name="n")["outputs"]]
    worker.reply = {"outputs": outputs}
    found = asked(asking, "open-inference")
    assert worker.asked == [("/v2/models/card%20fraud/infer", TENSORS)]
    assert (found.answers, found.scores) == ([[0.1, 0.2, 7], [0.3, None, 8]], [0.2, None])


def test_grpc_is_asked_in_messages_that_the_generated_ones_read(asking: Asking, worker: Worker) -> None:
    reply = service_pb2.ModelInferResponse(model_name="card fraud")
    for name, datatype, field, values in (
        ("risk", "FP64", "fp64_contents", [0.25, 0.5]),
        ("n", "INT64", "int64_contents", [-1, 2**53 + 1]),
        ("kind", "BYTES", "bytes_contents", [b"a", b"\xff"]),
    ):
        output = reply.outputs.add(name=name, datatype=datatype, shape=[2])
        getattr(output.contents, field).extend(values)
    worker.reply = frame(reply)
    found = asked(asking, "grpc")
    assert (found.answers, found.scores) == ([[0.25, -1, "a"], [0.5, 2**53 + 1, "/w=="]], [0.25, 0.5])
    [(path, body)] = worker.asked
    request = service_pb2.ModelInferRequest.FromString(body[5:])
    assert (path, request.model_name) == ("/inference.GRPCInferenceService/ModelInfer", "card fraud")
    amount, n, kind, new = request.inputs
    assert [one.datatype for one in request.inputs] == ["FP64", "INT64", "BYTES", "BOOL"]
    assert (amount.contents.fp64_contents[0], str(amount.contents.fp64_contents[1])) == (1.5, "nan")
    assert list(n.contents.int64_contents) == [-3, 2**53 + 1]
    assert list(kind.contents.bytes_contents) == [b"web", "é".encode()]
    assert list(new.contents.bool_contents) == [True, False]


def test_raw_contents_are_read_as_well(asking: Asking, worker: Worker) -> None:
    reply = service_pb2.ModelInferResponse()
    reply.outputs.add(name="risk", datatype="FP32", shape=[2])
    reply.outputs.add(name="kind", datatype="BYTES", shape=[2])
    reply.raw_output_contents.extend([struct.pack("<2f", 0.25, 0.5), b"\1\0\0\0a\2\0\0\0bc"])
    worker.reply = frame(reply)
    assert asked(asking, "grpc").answers == [[0.25, "a"], [0.5, "bc"]]


def frame(message: Any) -> bytes:
    data = message.SerializeToString()
    return b"\0" + struct.pack(">I", len(data)) + data


@pytest.mark.parametrize("reply", [b"", b"\0\0\0\0\1", b"\0\0\0\0\2\x2a\xff", {"outputs": []}])
@pytest.mark.parametrize("protocol", ["open-inference", "invocations", "grpc"])
def test_what_is_no_answer_of_the_protocol_is_none(asking: Asking, worker: Worker, protocol: str, reply: Any) -> None:
    worker.reply = reply
    with pytest.raises(TemporaryError):
        asked(asking, protocol)


@pytest.mark.parametrize(("status", "error"), [("3", InvalidInput), ("13", TemporaryError), ("14", TemporaryError)])
def test_a_grpc_status_is_an_error_in_the_releases_words(
    asking: Asking, worker: Worker, status: str, error: type[Exception]
) -> None:
    worker.headers = {"grpc-status": status, "grpc-message": "input %C3%BC is not one of this model"}
    worker.reply = b""
    with pytest.raises(error, match="input ü is not one of this model"):
        asked(asking, "grpc")


@pytest.mark.parametrize("protocol", ["open-inference", "grpc"])
def test_rows_without_a_form_in_tensors_are_not_asked_by_them(asking: Asking, worker: Worker, protocol: str) -> None:
    with pytest.raises(InvalidInput, match="cannot carry these rows"):
        asked(asking, protocol, Question(ROWS, None))
    assert worker.asked == []


@pytest.mark.parametrize("protocol", ["open-inference", "invocations", "grpc"])
def test_a_fallback_is_no_answer_by_any_protocol(asking: Asking, worker: Worker, protocol: str) -> None:
    worker.headers = {"X-Serinus-Fallback": "true"}
    with pytest.raises(TemporaryError, match="fallback"):
        asked(asking, protocol)
