"""One running Serinus for all of these tests, with an MLflow server of its own and small models in it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from whole_serinus import Serinus, mlflow_environment

from serinus.core.home import Home
from serinus.targets.local.supervisor import down, up

MODELS = Path(__file__).parent / "models"
RATE = float(os.environ.get("SERINUS_TEST_RATE", "600"))
"""Requests a second, end to end. What two shared cores can take beside the generator and the tests."""


@pytest.fixture(scope="session")
def rate() -> float:
    return RATE


@pytest.fixture(scope="session")
def serinus() -> Iterator[Serinus]:
    directory = Path(tempfile.mkdtemp(prefix="serinus-whole-", dir="/tmp"))
    home = Home(directory / "home")
    try:
        addresses = up(home)
        headers = {"Authorization": f"Bearer {home.token.read_text().strip()}"}
        with (
            pytest.MonkeyPatch.context() as environment,
            httpx.Client(base_url=addresses.api, headers=headers, timeout=20, trust_env=False) as api,
            httpx.Client(base_url=addresses.envoy, timeout=20, trust_env=False) as callers,
        ):
            # What `up` has just seen answer is not doubted by the first status.
            assert not [line for line in api.get("/v1/status").json()["warnings"] if "registry" in line]
            for name, value in mlflow_environment(addresses.mlflow_env).items():
                environment.setenv(name, value)
            environment.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
            environment.setenv("MLFLOW_UV_AUTO_DETECT", "false")  # this project's own lock is no part of a model
            yield Serinus(home, addresses, api, callers, mlflow.MlflowClient(addresses.mlflow))
    finally:
        down(home)
        if "SERINUS_KEEP_HOME" not in os.environ:
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session", name="requirements")
def the_requirements() -> Callable[..., list[str]]:
    return requirements


@pytest.fixture(scope="session", name="transactions")
def the_transactions() -> Callable[..., tuple[pd.DataFrame, np.ndarray]]:
    return transactions


def requirements(*packages: str) -> list[str]:
    """Of what is installed here, so that all models share one environment, which is built once."""
    return [f"{name}=={version(name)}" for name in ("mlflow-skinny", "numpy", "pandas", *packages)]


def transactions(rows: int = 2000) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(7)
    frame = pd.DataFrame({"amount": random.exponential(80, rows), "hour": random.integers(0, 24, rows).astype(float)})
    return frame, (frame["amount"] + 4 * frame["hour"] + random.normal(0, 30, rows) > 220).to_numpy().astype(int)


@pytest.fixture(scope="session")
def register(serinus: Serinus) -> Callable[..., str]:
    """register("card", strength=0.5): trains and registers another version, as a data scientist does; its number."""

    def train(model: str, strength: float) -> str:
        frame, label = transactions()
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=strength)).fit(frame, label)
        logged = mlflow.sklearn.log_model(
            pipeline,
            name="model",
            registered_model_name=model,
            pyfunc_predict_fn="predict_proba",
            serialization_format="cloudpickle",
            signature=infer_signature(frame.head(), pipeline.predict_proba(frame.head())),
            input_example=frame.head(5),
            pip_requirements=requirements("scikit-learn", "cloudpickle"),
        )
        return str(logged.registered_model_version)

    return train


@pytest.fixture(scope="session")
def register_code(serinus: Serinus, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """register_code("nan"): registers models/nan.py as a model of that name; its version. `data`: text that the model
    finds beside itself."""

    def log(name: str, *, data: str = "", signature: bool = True, example: bool = True, model: str = "") -> str:
        frame, _ = transactions(5)
        file = tmp_path_factory.mktemp("data") / "data.txt"
        file.write_text(data or "nothing")  # an empty file is taken for one that was lost
        typed: Mapping[str, Any] = {"signature": infer_signature(frame, np.zeros(5))} if signature else {}
        logged = mlflow.pyfunc.log_model(
            name="model",
            registered_model_name=model or name.replace("_", "-"),
            loader_module=name,
            code_paths=[str(MODELS / f"{name}.py")],
            data_path=str(file),
            input_example=frame if signature and example else None,
            pip_requirements=requirements("scikit-learn", "cloudpickle"),
            **typed,
        )
        return str(logged.registered_model_version)

    return log
