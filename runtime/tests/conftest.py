"""Real workers for the tests: started as the host starts them, with this interpreter, and always stopped."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import one_thread  # noqa: F401  it sets variables
import pytest
from pods import ALIKE, RunningPod, environment_of

# A thousand connections are more than the usual limit of an ordinary user, who may raise it.
_FILES, _MOST_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)
if 0 <= _FILES < 4096:
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096 if _MOST_FILES < 0 else min(4096, _MOST_FILES), _MOST_FILES))

SOURCE = Path(__file__).resolve().parent.parent / "src"
START = f"import sys; sys.path.append({str(SOURCE)!r}); from serinus_runtime.process.worker import main; main()"
# MLflow takes seconds to import and a hand-made model does without: so most workers of the tests have none.
HIDE_MLFLOW = "import sys; sys.modules['mlflow'] = None; "
HIDE_UVLOOP = "import sys; sys.modules['uvloop'] = None; "


def _wait_until(predicate: Callable[[], Any], timeout: float = 10.0) -> Any:
    """The first true value of `predicate`, asked until `timeout` seconds have passed."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        value = predicate()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"did not happen within {timeout} s")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("worker", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


class Answer:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Speaks HTTP over a Unix socket; one connection that is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = _UnixConnection(path)

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = {}) -> Answer:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request(method, path, data, dict(headers))
        response = self._connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, path: str, body: Any, headers: Mapping[str, str] = {}) -> Answer:
        return self.request("POST", path, body, headers)

    def invoke(self, content: Any, headers: Mapping[str, str] = {}) -> Answer:
        return self.post("/invocations", content, {"Content-Type": "application/json", **headers})

    def close(self) -> None:
        self._connection.close()

    def raw(self, data: bytes, *, shut: bool = False) -> bytes:
        """All that comes back for `data` on a connection of its own, until the worker closes it."""
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(20)
            stream.connect(str(self.path))
            stream.sendall(data)
            if shut:
                stream.shutdown(socket.SHUT_WR)
            received = b""
            while part := stream.recv(65536):
                received += part
            return received


class RunningWorker:
    """A worker process with its socket to the host and its listening socket."""

    def __init__(self, directory: Path, artifact: Path, config: Mapping[str, Any], start: list[str]) -> None:
        self.socket = directory / "w.sock"
        self.scratch = directory / "scratch"
        self.log = directory / "worker.log"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.socket))
        listener.listen(128)
        self.wire, theirs = socket.socketpair()
        content = {
            "release": "fraud-1-abc123", "model": "fraud", "version": "1", "artifact": str(artifact),
            "listen_fd": listener.fileno(), "report_fd": theirs.fileno(), "log": False, "scratch": str(self.scratch),
            "settings": {}, "readable": [], "confine": True, **config,
        }  # fmt: skip
        file = directory / "config.json"
        file.write_text(json.dumps(content))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*start, str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=(listener.fileno(), theirs.fileno()), cwd=directory,
            )  # fmt: skip
        listener.close()
        theirs.close()
        self._reports = self.wire.makefile("r")
        self.client = Client(self.socket)

    def report(self) -> dict[str, Any]:
        """The next line that it reports; empty at the end."""
        line = self._reports.readline()
        return json.loads(line) if line else {}

    def hand_in(self, connection: socket.socket) -> None:
        """To the collector, as the host does."""
        socket.send_fds(self.wire, [b"\n"], [connection.fileno()])
        connection.close()

    def leave(self) -> None:
        """As a host does that dies."""
        self._reports.close()
        self.wire.close()

    def wait_ready(self) -> dict[str, Any]:
        assert self.report() == {"state": "loading"}
        report = self.report()
        assert report.get("state") == "ready", (report, self.log.read_text())
        return report

    def stop(self) -> int:
        """SIGTERM, as the host does; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=15)

    def close(self) -> None:
        self.client.close()
        self.leave()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose path is short enough for a Unix socket."""
    path = Path(tempfile.mkdtemp(prefix="sr-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


StartWorker = Callable[..., RunningWorker]


@pytest.fixture
def start_worker(short_path: Path) -> Iterator[StartWorker]:
    """`start_worker(artifact, python=.., with_mlflow=.., with_uvloop=.., **config)`; stopped when the test ends."""
    with contextlib.ExitStack() as stack:

        def start(
            artifact: Path,
            python: str = sys.executable,
            with_mlflow: bool = False,
            with_uvloop: bool = True,
            **config: Any,
        ) -> RunningWorker:
            hidden = ("" if with_mlflow else HIDE_MLFLOW) + ("" if with_uvloop else HIDE_UVLOOP)
            command = [python, "-I", "-c", hidden + START]
            directory = Path(tempfile.mkdtemp(dir=short_path))
            worker = RunningWorker(directory, artifact, config, command)
            stack.callback(worker.close)
            return worker

        yield start


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As an image holds it: numpy and pandas, and no MLflow, which takes seconds to import."""
    return environment_of(tmp_path_factory.mktemp("environment") / "environment", ALIKE)


@pytest.fixture
def start_pod(tmp_path: Path, environment: Path) -> Iterator[Callable[..., RunningPod]]:
    """`start_pod(artifact, python=.., **fields of SERINUS_RELEASE)`; stopped when the test ends."""
    with contextlib.ExitStack() as stack:

        def start(artifact: Path, **said: Any) -> RunningPod:
            directory = tmp_path / f"pod-{os.urandom(4).hex()}"
            pod = RunningPod(directory, artifact, said.pop("environment", environment), **said)
            stack.callback(pod.close)
            return pod

        yield start


MakeArtifact = Callable[..., Path]

COLUMNS = ("amount:double", "hour:long", "country:string")


def column_spec(text: str) -> dict[str, Any]:
    """`amount:double`, or `amount:double?` where it may be missing."""
    name, kind = text.split(":")
    return {"type": kind.rstrip("?"), "name": name, "required": not kind.endswith("?")}


def _make_artifact(
    directory: Path,
    code: str,
    columns: Sequence[str] = COLUMNS,
    example: Sequence[Any] | None = (12.5, 3, "FR"),
    outputs: Sequence[Any] | None = None,
    signature: bool = True,
) -> Path:
    """A hand-made MLflow model: `code` is a module with `_load_pyfunc`. MLmodel is written as JSON, which is YAML."""
    (directory / "code").mkdir(parents=True)
    name = f"handmade_{os.urandom(4).hex()}"
    (directory / "code" / f"{name}.py").write_text(code)
    specs = [column_spec(column) for column in columns]
    mlmodel: dict[str, Any] = {
        "flavors": {"python_function": {"loader_module": name, "code": "code", "env": "conda.yaml"}},
        "utc_time_created": "2026-01-01 00:00:00.000000",
    }
    if signature:
        mlmodel["signature"] = {"inputs": json.dumps(specs), "outputs": json.dumps(outputs) if outputs else None}
    (directory / "MLmodel").write_text(json.dumps(mlmodel))
    if example is not None:
        split = {"columns": [spec["name"] for spec in specs], "data": [list(example)]}
        (directory / "serving_input_example.json").write_text(json.dumps({"dataframe_split": split}))
    return directory


ADDS_UP = """
import numpy

class Model:
    def predict(self, data, params=None):
        return data["amount"].to_numpy(dtype="float64") + data["hour"].to_numpy(dtype="float64")

def _load_pyfunc(path):
    return Model()
"""


@pytest.fixture
def adds_up_code() -> str:
    return ADDS_UP


@pytest.fixture
def make_artifact() -> MakeArtifact:
    """`make_artifact(directory, code, columns=.., example=.., outputs=.., signature=..)`"""
    return _make_artifact


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    return _wait_until


@pytest.fixture
def adds_up(tmp_path: Path) -> Path:
    """A model that answers amount + hour."""
    return _make_artifact(tmp_path / "model", ADDS_UP)


def find_python(version: str) -> str | None:
    """An interpreter of that minor version: on the PATH, or among pyenv's own."""
    roots = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    try:
        of_pyenv = sorted(str(path) for path in roots.glob(f"{version}.*/bin/python"))
    except PermissionError:  # of another user, as after `su` without a login
        of_pyenv = []
    for candidate in filter(None, [shutil.which(f"python{version}"), *of_pyenv]):
        asked = subprocess.run([candidate, "-c", "import sys; print(sys.version)"], capture_output=True, text=True)
        if asked.stdout.startswith(f"{version}."):
            return candidate
    return None


# Root's home may hold them where an ordinary user here has none.
@pytest.fixture(params=[pytest.param(version, marks=pytest.mark.root) for version in ("3.8", "3.9", "3.13")])
def bare_python(request: pytest.FixtureRequest) -> str:
    """An interpreter of another version, with the standard library alone; skips where there is none."""
    found = find_python(request.param)
    if found is None:
        pytest.skip(f"no Python {request.param} on this machine")
    return found
