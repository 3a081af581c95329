"""What workers, trials, the registry and the fleet repository answer, where it is not what they should answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from servers import ServerThread

from serinus.backends.git import GitFleet
from serinus.backends.mlflow import MlflowRegistry
from serinus.core.errors import Refused, SerinusError, TemporaryError
from serinus.predictions.segments.columns import parse_body
from serinus.predictions.segments.wire import Hello, Malformed
from serinus.targets.asking.grpc_calls import outputs_of
from serinus.targets.asking.scorer import _scores
from serinus.targets.local.host import unix_http
from serinus.targets.trials import Ended, Failed, document_of
from serinus.targets.trials.answers import rehearsal_of, scores_of

BRACKETS = "[" * 60_000 + "]" * 60_000
HEAD = b"HTTP/1.1 200 OK\r\n"

Answering = Callable[[Callable[[socket.socket], None]], Path]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """A worker's socket that answers by a function."""
    with tempfile.TemporaryDirectory(prefix="serinus-", dir="/tmp") as directory, socket.socket(socket.AF_UNIX) as s:
        path = Path(directory) / "s"
        threads = []

        def started(answer: Callable[[socket.socket], None]) -> Path:
            s.bind(str(path))
            s.listen()

            def run() -> None:
                try:
                    stream, _ = s.accept()
                    with stream:
                        stream.recv(65536)
                        answer(stream)
                except OSError:
                    pass

            threads.append(threading.Thread(target=run))
            threads[-1].start()
            return path

        yield started
        s.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(20)


def _dripping(stream: socket.socket) -> None:
    stream.sendall(HEAD + b"x-a: ")
    while True:
        stream.sendall(b"a")
        time.sleep(0.05)


def _dripping_body(stream: socket.socket) -> None:
    stream.sendall(HEAD + b"content-length: 1000000\r\n\r\n")
    while True:
        stream.sendall(b"1")
        time.sleep(0.05)


def _endless(stream: socket.socket) -> None:
    stream.sendall(HEAD + b"\r\n")
    while True:
        stream.sendall(b"[" * 65536)


def _endless_head(stream: socket.socket) -> None:
    stream.sendall(HEAD)
    while True:
        stream.sendall(b"x: y\r\n" * 1000)


@pytest.mark.parametrize("answer", [_dripping, _dripping_body, _endless, _endless_head])
def test_an_answer_without_an_end_ends(answering: Answering, answer: Callable[[socket.socket], None]) -> None:
    path = answering(answer)
    began = time.monotonic()
    with pytest.raises((OSError, http.client.HTTPException)):
        unix_http.call(path, "GET", "/", None, {}, 0.3)
    assert time.monotonic() - began < 10


def test_a_deep_answer_is_no_answer(answering: Answering) -> None:
    body = BRACKETS.encode()
    path = answering(lambda stream: stream.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body))
    assert unix_http.call(path, "GET", "/", None, {}, 5.0).body is None


def test_the_words_of_a_refusal_are_bounded(answering: Answering) -> None:
    body = json.dumps({"error": "x" * 1_000_000}).encode()
    path = answering(lambda stream: stream.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body))
    assert len(unix_http.call(path, "GET", "/", None, {}, 5.0).error) == 2_000


@pytest.mark.parametrize(
    "outputs",
    [
        [{"name": "a", "shape": [2**62] * 100_000, "data": []}],
        [{"name": "a", "shape": "xyz", "data": [1.0]}],
        [{"name": "a", "shape": [1, 0], "data": [1.0]}],
        [{"name": "a", "shape": [1, -1], "data": {"a": 1}}],
        [{"name": "a", "shape": [1], "data": [10**400]}],
        [["name"]],
        {"a": 1},
        None,
    ],
)
def test_scores_that_are_none_are_said_to_be_none(outputs: object) -> None:
    with pytest.raises(TemporaryError, match="no scores"):
        _scores({"outputs": outputs}, None)


def test_a_message_with_many_dimensions_is_refused() -> None:
    shape = b"\x1a" + bytes([100]) + b"\x7f" * 100
    output = b"\x2a" + bytes([len(shape)]) + shape
    with pytest.raises(ValueError, match="dimensions"):
        outputs_of(b"\0" + len(output).to_bytes(4, "big") + output)


@pytest.mark.parametrize("said", [BRACKETS, '{"a": ' + BRACKETS + "}", "[]", "1" * 10_000, "\ud800", "", "{"])
def test_what_a_trial_says_that_is_no_answer_is_a_failure_in_words(said: str) -> None:
    with pytest.raises(Failed) as caught:
        document_of(Ended(0, said, "its last words"))
    assert "its last words" in str(caught.value)


@pytest.mark.parametrize(
    "said", [None, {}, [1.0], [1.0, "x"], [1.0, [2.0]], [1.0, True], [1.0, 10**400], [1.0, {"path": "/etc"}], "ab"]
)
def test_scores_of_a_trial_are_numbers_one_a_row(said: object) -> None:
    assert scores_of(said, 2) is None
    assert scores_of([1, None], 2) == [1.0, None]


@pytest.mark.parametrize(
    "changes",
    [
        {"document": [1]},
        {"rows": -1},
        {"rows": 10**400},
        {"answers": {"a": 1}},
        {"reason": "x" * 3_000},
        {"source": ["/etc/passwd"]},
        {"warnings": [{"category": "a", "library": "a", "message": "a", "own": "/etc"}]},
        {"warnings": [{"category": "a", "library": "a", "message": "a", "own": True}] * 30},
        {"versions": None},
    ],
)
def test_a_rehearsal_is_taken_by_its_types_and_sizes(changes: dict[str, object]) -> None:
    plain: dict[str, object] = {
        "source": "", "document": None, "tensors": None, "rows": 0, "answers": [], "reason": "", "refused": False,
        "warnings": [], "versions": [],
    }  # fmt: skip
    rehearsal_of(plain)
    with pytest.raises(ValueError, match="validation error"):
        rehearsal_of({**plain, **changes})


HELLO = Hello("card-1-abcdef", "card", "0" * 8)
BATCHES = {
    "many lists": b'{"t": [' + b"[]," * (8 << 20) + b"[]]}",
    "many numbers": b'{"t": [' + b"1," * (12 << 20) + b"1]}",
    "deep": b'{"t": ' + BRACKETS.encode() + b"}",
    "deep in a column": b'{"t": [1], "scores": ' + BRACKETS.encode() + b"}",
    "not JSON": b"\xff\xfe",
    "a list": b"[]",
    "other types": b'{"t": [{"a": 1}]}',
    "a number beyond any": b'{"t": [1e999]}',
    "NaN": b'{"t": [NaN]}',
    "no other columns": b'{"t": [1.0]}',
    "half a pair": b'{"t": ["\\ud800"]}',
}


@pytest.mark.parametrize("what", BATCHES)
def test_records_that_are_none_are_refused(what: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_body(BATCHES[what], HELLO)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("what", ["many lists", "many numbers"])
def test_records_that_are_none_take_little_memory(what: str) -> None:
    """In a process whose memory is bounded, as the collector's own would not be."""
    code = (
        "import resource, sys\nfrom serinus.predictions.segments.columns import parse_body\n"
        "from serinus.predictions.segments.wire import Hello, Malformed\nbody = sys.stdin.buffer.read()\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (400 << 20, 400 << 20))\n"
        f"try:\n    parse_body(body, {HELLO!r})\nexcept Malformed as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=BATCHES[what], capture_output=True, timeout=30, check=True
    )
    assert 5 < len(done.stdout) < 200


REGISTRY_ANSWERS = {
    "deep": BRACKETS.encode(),
    "a list": b"[]",
    "other fields": b'{"registered_models": {"a": 1}}',
    "other types": b'{"registered_models": [{"name": ["x"], "aliases": 7}]}',
    "no text": b"\xff\xfe\x00",
    "nothing": b"",
    "a page": b"<html>login</html>",
}


@pytest.mark.parametrize("what", REGISTRY_ANSWERS)
@pytest.mark.parametrize("status", [200, 404, 400, 500])
def test_a_registry_that_is_none_is_said_and_stops_nothing_else(tmp_path: Path, what: str, status: int) -> None:
    """Each is an error that the engine knows. Of anything else the whole of a tick would fail."""

    class Strange(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(REGISTRY_ANSWERS[what])))
            self.end_headers()
            self.wfile.write(REGISTRY_ANSWERS[what])

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ServerThread(HTTPServer(("127.0.0.1", 0), Strange)) as server:
        registry = MlflowRegistry(f"http://127.0.0.1:{server.server_port}", tmp_path)
        for asked in (registry.aliases, lambda: registry.find("a", "1"), lambda: registry.newest("a")):
            with contextlib.suppress(SerinusError):
                assert asked() == {}  # of an answer without models: there are none


def _pushed(fleet: Path, content: bytes) -> None:
    """By somebody who may write to the repository."""
    stream = b"commit refs/heads/main\ncommitter x <x> now\ndata 1\nx\n"
    for name in ("live/card.yaml", "models/card.yaml"):
        stream += f'M 100644 inline "{name}"\ndata {len(content)}\n'.encode() + content + b"\n"
    subprocess.run(
        ["git", f"--git-dir={fleet}", "fast-import", "--quiet", "--date-format=now"], input=stream, check=True
    )


@pytest.mark.parametrize(
    "content",
    [b"#" * (5 << 20), b"x: " + BRACKETS.encode(), b"\xff\xfe: [", b"x: 2025-13-41", b"x: !!python/name:os.system"],
)
def test_a_file_of_the_fleet_repository_that_is_none_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    fleet = GitFleet(tmp_path / "fleet")
    _pushed(tmp_path / "fleet", content)
    with pytest.raises(Refused, match=r"live/card\.yaml"):
        fleet.live("card")
    if len(content) > 4 << 20:
        with pytest.raises(Refused, match="not a file of at most 4 MiB"):
            fleet.read("card")
