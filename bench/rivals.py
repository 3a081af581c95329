"""The peers: servers of models that teams use today, each in its own environment, with one worker and one thread."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from bench import HERE
from bench.models import MODELS, saved
from bench.processes import free_port
from bench.requests import infer, instances, split
from bench.servers import Launch, Launched, Server, python_of

_TREES = MODELS / "xgboost" / "trees.ubj"


def mlflow_serve(case: str) -> Server:
    def how(port: int, directory: Path) -> Launch:  # noqa: ARG001
        python = python_of("mlflow")
        command = [str(python), "-m", "mlflow", "models", "serve", "-m", str(saved(case)), "-p", str(port)]
        command += ["--host", "127.0.0.1", "--env-manager", "local", "--workers", "1"]
        return Launch(command, _on_path(python), split("/invocations"))

    return Launched("mlflow models serve", case, how)


def mlserver_mlflow(case: str) -> Server:
    def how(port: int, directory: Path) -> Launch:
        uri = str(saved(case))
        _mlserver(directory, port, "mlserver_mlflow.MLflowRuntime", uri)
        python = python_of("mlserver")
        return Launch(_start_mlserver(python, directory), _on_path(python), split("/invocations"))

    return Launched("MLServer, mlflow runtime", case, how)


def mlserver_xgboost(case: str) -> Server:
    def how(port: int, directory: Path) -> Launch:
        saved("xgboost")
        _mlserver(directory, port, "mlserver_xgboost.XGBoostModel", str(_TREES))
        python = python_of("mlserver")
        return Launch(_start_mlserver(python, directory), _on_path(python), infer("/v2/models/bench/infer"))

    return Launched("MLServer, xgboost runtime", case, how)


def _start_mlserver(python: Path, directory: Path) -> list[str]:
    return [str(python.parent / "mlserver"), "start", str(directory)]


def _mlserver(directory: Path, port: int, implementation: str, uri: str) -> None:
    settings: dict[str, object] = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
    }
    settings |= {"debug": False, "parallel_workers": 0}  # in the server's process: faster here than over a queue
    (directory / "settings.json").write_text(json.dumps(settings))
    model = {"name": "bench", "implementation": implementation, "parameters": {"uri": uri}}
    (directory / "model-settings.json").write_text(json.dumps(model))


def kserve(case: str) -> Server:
    return _scripted("KServe Python server", case, "kserve", "/v1/models/bench:predict")


def fastapi(case: str) -> Server:
    return _scripted("FastAPI by hand, tuned", case, "fastapi", "/predict")


def _scripted(name: str, case: str, peer: str, path: str) -> Server:
    def how(port: int, directory: Path) -> Launch:  # noqa: ARG001
        saved("xgboost")
        command = [str(python_of(peer)), str(HERE / "peers" / peer / "serve.py"), str(_TREES), str(port)]
        return Launch(command, {}, instances(path))

    return Launched(name, case, how)


def bentoml(case: str) -> Server:
    def how(port: int, directory: Path) -> Launch:  # noqa: ARG001
        saved("xgboost")
        python = python_of("bentoml")
        command = [str(python.parent / "bentoml"), "serve", "service:Trees", "--port", str(port), "--host", "127.0.0.1"]
        command += ["--working-dir", str(HERE / "peers" / "bentoml")]
        environment = {"BENCH_TREES": str(_TREES), "BENTOML_DO_NOT_TRACK": "True"}
        return Launch(command, {**_on_path(python), **environment}, instances("/predict"))

    return Launched("BentoML", case, how)


def _on_path(python: Path) -> dict[str, str]:
    return {"PATH": f"{python.parent}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true"}


PEERS: dict[str, dict[str, Callable[[str], Server]]] = {
    "xgboost": {
        "mlflow": mlflow_serve,
        "mlserver-mlflow": mlserver_mlflow,
        "mlserver-xgboost": mlserver_xgboost,
        "kserve": kserve,
        "bentoml": bentoml,
        "fastapi": fastapi,
    },
    "pipeline": {"mlflow": mlflow_serve},
    "pyfunc": {"mlflow": mlflow_serve},
}
"""Case -> short name -> the server."""
