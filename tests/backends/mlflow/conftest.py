"""A real MLflow server, with models that a data scientist's script has logged there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from waiting import free_port, wait_until

from serinus.backends.mlflow import MlflowRegistry, server
from serinus.core.home import Home
from serinus.lib.plain_http import NO_TLS


@dataclass(frozen=True)
class Server:
    home: Home
    port: int
    process: subprocess.Popen[bytes]

    @property
    def directory(self) -> Path:
        return self.home.mlflow

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"


PASSWORD = "of-the-tests"


@pytest.fixture(autouse=True)
def _let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client reads them."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


CREDENTIALS = {"MLFLOW_TRACKING_USERNAME": "serinus", "MLFLOW_TRACKING_PASSWORD": PASSWORD}


@pytest.fixture(autouse=True)
def _no_models_and_aliases_are_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """The server is the same for many tests."""
    yield
    if "mlflow_server" not in request.fixturenames:
        return
    uri = request.getfixturevalue("mlflow_server").uri
    url = f"{uri}/api/2.0/mlflow/registered-models"
    with httpx.Client(base_url=url, auth=("serinus", PASSWORD), verify=NO_TLS) as client:
        found = client.get("/search").raise_for_status().json()["registered_models"]
        for name in {model["name"] for model in found} - {"card-fraud", "constant"}:
            client.request("DELETE", "/delete", json={"name": name}).raise_for_status()
        for alias in next(model for model in found if model["name"] == "constant").get("aliases", ()):
            given = {"name": "constant", "alias": alias["alias"]}
            client.request("DELETE", "/alias", json=given).raise_for_status()


def answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def running(directory: Path, port: int) -> Iterator[Server]:
    """On a home at `directory`. Stopped at the end, if it still runs."""
    home = Home(directory)
    environment = os.environ | server.environment()
    for needed in (directory, home.sockets):  # the sockets of a home with a long path are elsewhere
        needed.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.mlflow_password.write_text(PASSWORD)
    with (directory / "server.log").open("ab") as log:
        process = subprocess.Popen(server.command(home, port), env=environment, stdout=log, stderr=log)
    started = Server(home, port, process)
    try:
        wait_until(lambda: answers(started.uri) or process.poll() is not None, 120, "the start of MLflow")
        assert process.poll() is None, (directory / "server.log").read_text()
        yield started
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def run_server() -> Callable[..., Any]:
    """`with run_server(directory, port) as server:`"""
    return running


@pytest.fixture(scope="session")
def new_port() -> Callable[[], int]:
    return free_port


DATA_SCIENTIST = """
import mlflow, pandas
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

rows = pandas.DataFrame({"amount": [1.0, 2.0, 3.0, 4.0], "hour": [1, 2, 3, 4]})
model = LogisticRegression().fit(rows, [0, 0, 1, 1])

with mlflow.start_run():
    mlflow.log_text("amount,hour,fraud", "evaluation.csv")
    mlflow.log_text("nested", "reports/quality.txt")
    mlflow.sklearn.log_model(
        model, name="model", registered_model_name="card-fraud", pip_requirements=["scikit-learn==1.7.2"],
        signature=infer_signature(rows, model.predict(rows)), input_example=rows.head(2),
    )

class Constant(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [0.5] * len(model_input)

with open("weights.txt", "w") as file:
    file.write("0.5")
with mlflow.start_run():
    mlflow.pyfunc.log_model(
        name="model", python_model=Constant(), registered_model_name="constant", artifacts={"weights": "weights.txt"},
        pip_requirements=["cloudpickle"],
    )

# As before MLflow 3: the model is a folder among the run's artifacts.
client = mlflow.MlflowClient()
with mlflow.start_run() as run:
    mlflow.sklearn.save_model(model, "saved", pip_requirements=["scikit-learn==1.7.2"])
    with open("saved/evaluation.csv", "w") as file:
        file.write("of the model")
    mlflow.log_text("of the run", "evaluation.csv")
    mlflow.log_artifacts("saved", "folder")
client.create_model_version("card-fraud", f"runs:/{run.info.run_id}/folder", run.info.run_id)
client.set_registered_model_alias("card-fraud", "champion", "1")
client.set_registered_model_alias("card-fraud", "challenger", "2")
"""


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """card-fraud@1 (@champion), a logged model; card-fraud@2 (@challenger), files of a run; constant@1, a pyfunc."""
    directory = tmp_path_factory.mktemp("mlflow")
    with running(directory / "server", free_port()) as started:
        environment = os.environ | CREDENTIALS | {"MLFLOW_TRACKING_URI": started.uri, "PYTHONDONTWRITEBYTECODE": ""}
        subprocess.run([sys.executable, "-c", DATA_SCIENTIST], env=environment, cwd=directory, check=True, timeout=150)
        yield started


@pytest.fixture
def registry(mlflow_server: Server, tmp_path: Path) -> MlflowRegistry:
    return MlflowRegistry(mlflow_server.uri, tmp_path / "artifacts")


@pytest.fixture
def make_artifact(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small artifact that is whole; `files` adds to it or, with None, leaves out, `flavor` and `top` change
    MLmodel's python_function flavour and its other fields."""

    def make(
        files: Mapping[str, str | None] | None = None,
        flavor: Mapping[str, Any] | None = None,
        top: Mapping[str, Any] | None = None,
    ) -> Path:
        python_function = {
            "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
            "loader_module": "mlflow.sklearn",
            "model_path": "model.pkl",
            "python_version": "3.11.7",
        }
        mlmodel: dict[str, Any] = {
            "flavors": {"python_function": without_none(python_function | dict(flavor or {})), "sklearn": {}},
            "mlflow_version": "3.17.2",
            "signature": {
                "inputs": '[{"type": "double", "name": "amount", "required": true},'
                ' {"type": "string", "name": "country"}]',
                "outputs": '[{"type": "long", "required": true}]',
                "params": None,
            },
            "utc_time_created": "2023-01-15 10:12:13.123456",
        }
        contents: dict[str, str | None] = {
            "MLmodel": yaml.safe_dump(without_none(mlmodel | dict(top or {}))),
            "model.pkl": "weights",
            "python_env.yaml": "python: 3.9.18\nbuild_dependencies: [pip==23.0]\ndependencies: [-r requirements.txt]\n",
            "requirements.txt": "mlflow==2.9.2\nscikit-learn==1.3.2\n",
            "serving_input_example.json": '{"dataframe_split": {"columns": ["amount"], "data": [[1.0]]}}',
        }
        root = tmp_path / "model"
        for name, content in (contents | dict(files or {})).items():
            if content is not None:
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
        return root

    return make


def without_none(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value is not None}
