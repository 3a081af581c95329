"""Real workers behind a real Envoy: `echo` answers each tensor that it is sent, one of each datatype; `most` does so
for all but FP16, which not all encodings have; `adds` adds two columns."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from waiting import free_port, wait_until

from serinus.backends.envoy import EnvoyRouter, admin_socket, command, prepare
from serinus.backends.envoy.hot_restart import memory
from serinus.core.home import Home
from serinus.core.keys import router_key
from serinus.core.routing import WHOLE, Arm, Role, Routing
from serinus.lib.plain_http import NO_TLS

RUNTIME = Path(__file__).parents[2] / "runtime" / "src"
# These models do without MLflow, which takes seconds to import.
SECRET = "secret of the home"
START = (
    "import sys; sys.modules['mlflow'] = None; "
    f"sys.path.append({str(RUNTIME)!r}); from serinus_runtime.process.worker import main; main()"
)
NUMBERS = {
    "BOOL": "bool", "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64", "UINT8": "uint8",
    "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "FP16": "float16", "FP32": "float32", "FP64": "float64",
}  # fmt: skip
DTYPES = {**NUMBERS, "BYTES": "object"}

ECHO = "class Model:\n    def predict(self, data, params=None):\n        return data\n"
ADDS = "class Model:\n    def predict(self, data, params=None):\n        return (data['a'] + data['b']).to_numpy()\n"
LOAD = "\n\ndef _load_pyfunc(path):\n    return Model()\n"


def tensor_spec(name: str, dtype: str) -> Mapping[str, Any]:
    return {"type": "tensor", "name": name, "tensor-spec": {"dtype": dtype, "shape": [-1, 2]}}


def column_spec(name: str) -> Mapping[str, Any]:
    return {"type": "double", "name": name, "required": True}


def make_artifact(directory: Path, code: str, inputs: list[Mapping[str, Any]]) -> Path:
    """A hand-made MLflow model. MLmodel is written as JSON, which is YAML."""
    (directory / "code").mkdir(parents=True)
    name = f"handmade_{directory.name}"
    (directory / "code" / f"{name}.py").write_text(code + LOAD)
    mlmodel = {
        "flavors": {"python_function": {"loader_module": name, "code": "code", "env": "conda.yaml"}},
        "signature": {"inputs": json.dumps(inputs), "outputs": None},
    }
    (directory / "MLmodel").write_text(json.dumps(mlmodel))
    return directory


@contextlib.contextmanager
def worker(directory: Path, model: str, artifact: Path, listener: socket.socket, router: str = "") -> Iterator[None]:
    """Ready to answer when entered; stopped and waited for when left."""
    reading, writing = os.pipe()
    with listener:
        listener.listen(128)
        config = {
            "release": f"{model}-1-aaaaaa", "model": model, "version": "1", "artifact": str(artifact),
            "listen_fd": listener.fileno(), "report_fd": writing, "scratch": str(directory / f"scratch-{model}"),
            "router": router,
        }  # fmt: skip
        file = directory / f"{model}.json"
        file.write_text(json.dumps(config))
        with (directory / f"{model}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", START, str(file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(listener.fileno(), writing),
            )  # fmt: skip
    os.close(writing)
    try:
        with os.fdopen(reading) as reports:
            states = [json.loads(reports.readline()) for _ in range(2)]
            assert states[1]["state"] == "ready", (states, (directory / f"{model}.log").read_text())
            yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(15)


@contextlib.contextmanager
def envoy(home: Home, port: int) -> Iterator[EnvoyRouter]:
    for needed in home.directories:
        needed.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.secret.write_text(SECRET)
    prepare(home, port=port)
    with (home.logs / "envoy.log").open("wb") as log:
        process = subprocess.Popen(command(home), stdout=log, stderr=log)
    router = EnvoyRouter(home, admin_socket(home), drain=0.3)

    def answers() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/v2/health/live", verify=NO_TLS).status_code == 200
        return False

    try:
        wait_until(answers)
        yield router
    finally:
        router.close()
        process.terminate()
        process.wait(10)
        memory(home).unlink(missing_ok=True)


@dataclass(frozen=True)
class World:
    """`port`: where callers send requests, Envoy's. `direct`: of a worker of `adds` that nothing stands before."""

    port: int
    direct: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def world(directory: Path) -> Iterator[World]:
    home, port = Home(directory / "home"), free_port()
    tensors = [tensor_spec(datatype.lower(), dtype) for datatype, dtype in DTYPES.items()]
    models = {
        "echo": make_artifact(directory / "echo", ECHO, tensors),
        "most": make_artifact(directory / "most", ECHO, [spec for spec in tensors if spec["name"] != "fp16"]),
        "adds": make_artifact(directory / "adds", ADDS, [column_spec("a"), column_spec("b")]),
    }
    with contextlib.ExitStack() as stack:
        router = stack.enter_context(envoy(home, port))
        for model, artifact in models.items():
            release = f"{model}-1-aaaaaa"
            endpoint = home.release_socket(release)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(endpoint))
            stack.enter_context(worker(directory, model, artifact, listener, router_key(SECRET, release)))
            arm = Arm(release, WHOLE, Role.CHAMPION, str(endpoint))
            router.apply(Routing(model, (arm,), split="s1", salt="r1", timeout_ms=5000))
        direct = socket.create_server(("127.0.0.1", 0))
        direct_port = int(direct.getsockname()[1])
        stack.enter_context(worker(directory, "adds", models["adds"], direct))
        yield World(port, direct_port)
