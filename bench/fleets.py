"""Many small models over several environments, whose right answers are known."""

from __future__ import annotations

import json
import pickle
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from bench import SCRATCH
from bench.models import requirements
from bench.openloop import Ask
from bench.product import Installation
from bench.requests import Protocol

WIDTH = 5
ROWS = 20
ENVIRONMENTS = [[f"six=={six}", f"joblib=={joblib}"] for six, joblib in product(
    ("1.16.0", "1.17.0"), ("1.4.0", "1.4.2", "1.5.0", "1.5.1"))]  # fmt: skip
"""What tells the environments apart: packages that every model has anyway."""
_COLUMNS = [f"x{index}" for index in range(WIDTH)]
_AT_ONCE = 8


@dataclass(frozen=True)
class Small:
    """One model: a logistic regression, and what it must answer."""

    name: str
    environment: int
    weights: np.ndarray
    compiled: bool

    def scores(self) -> np.ndarray:
        """Of `rows()`, as computed here."""
        return np.asarray(1 / (1 + np.exp(-(rows() @ self.weights))))

    def asks(self) -> list[Ask]:
        protocol = Protocol(
            f"/models/{self.name}/invocations", lambda row: {"dataframe_split": {"columns": _COLUMNS, "data": [row]}}
        )
        return [Ask(request, self.name) for request in protocol.raw(rows().tolist())]

    def spec(self) -> str:
        serving = {"timeout": "10s", "compile": "auto" if self.compiled else "off"}
        return (
            f"model: {self.name}\nserving: {json.dumps(serving)}\n"
            "gates: {evaluation: null, golden: null, latency_p99: 5s}\nrollout: {steps: []}\n"
        )


def rows() -> np.ndarray:
    return np.random.default_rng(5).normal(0, 1, (ROWS, WIDTH)).round(4)


def small(count: int, environments: int, uncompiled: Sequence[int] = ()) -> list[Small]:
    """`count` models over the first `environments`; those of the environments in `uncompiled` serve as they are."""
    random = np.random.default_rng(3)
    found = []
    for index in range(count):
        environment = index % environments
        weights = random.normal(0, 1, WIDTH)
        found.append(Small(f"fleet-{index:03d}", environment, weights, environment not in uncompiled))
    return found


def directory_of(model: Small) -> Path:
    """Its MLflow model: the template of its environment with weights of its own."""
    target = SCRATCH / "fleet" / f"{model.name}-{model.environment}"
    if target.exists():
        shutil.rmtree(target)
    with_requirements(_template(), ENVIRONMENTS[model.environment], target)
    regression = pickle.loads((target / "model.pkl").read_bytes())  # noqa: S301 - written by `_template`
    regression.coef_, regression.intercept_ = model.weights.reshape(1, -1), np.zeros(1)
    (target / "model.pkl").write_bytes(pickle.dumps(regression))
    return target


def with_requirements(source: Path, more: Sequence[str], target: Path) -> Path:
    """A copy of an MLflow model that needs `more` beside what it needs."""
    shutil.copytree(source, target)
    (target / "requirements.txt").write_text(
        "\n".join([(source / "requirements.txt").read_text().strip(), *more]) + "\n"
    )
    environment: dict[str, Any] = yaml.safe_load((source / "conda.yaml").read_text())
    pip = next(one["pip"] for one in environment["dependencies"] if isinstance(one, dict))
    pip += more
    (target / "conda.yaml").write_text(yaml.safe_dump(environment))
    return target


def _template() -> Path:
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    directory = SCRATCH / "fleet" / "template"
    if not (directory / "MLmodel").exists():
        shutil.rmtree(directory, ignore_errors=True)
        frame = pd.DataFrame(rows(), columns=_COLUMNS)
        model = LogisticRegression().fit(frame, np.arange(ROWS) % 2)
        mlflow.sklearn.save_model(
            model,
            directory,
            pyfunc_predict_fn="predict_proba",
            serialization_format="cloudpickle",
            signature=infer_signature(frame, model.predict_proba(frame)),
            input_example=frame.head(3),
            pip_requirements=requirements("scikit-learn", "cloudpickle"),
        )
    return directory


def publish(installation: Installation, models: Sequence[Small]) -> None:
    """Registers and deploys them all, some at a time. DidNotStart: one is not promoted."""
    began, flying = time.monotonic(), list[str]()
    with installation.api() as api:
        for index, model in enumerate(models):
            version = installation.register(model.name, directory_of(model))
            flying.append(installation.order(api, model.name, version, model.spec()))
            if len(flying) >= _AT_ONCE:
                installation.ended(api, flying.pop(0))
            if index % 20 == 19:
                print(f"  {index + 1} models after {time.monotonic() - began:.0f} s", flush=True)
        for rollout in flying:
            installation.ended(api, rollout)


def zipf(models: Sequence[Small], length: int, seed: int = 1) -> list[Ask]:
    """Requests to all of them, the k-th as often as 1/k."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, len(models) + 1)
    asks = [model.asks() for model in models]
    chosen = random.choice(len(models), length, p=shares / shares.sum())
    return [asks[index][number % ROWS] for number, index in enumerate(chosen)]


def wrong_answers(installation: Installation, models: Sequence[Small]) -> int:
    """Asks each model each row once, and compares with the offline scores. Unanswered is wrong."""
    import httpx

    wrong = 0
    with httpx.Client(base_url=installation.addresses["envoy"], timeout=30, trust_env=False) as callers:
        body = {"dataframe_split": {"columns": _COLUMNS, "data": rows().tolist()}}
        for model in models:
            answer = callers.post(f"/models/{model.name}/invocations", json=body)
            if answer.status_code != 200:
                wrong += ROWS
                continue
            served = np.asarray([_score(one) for one in answer.json()["predictions"]])
            wrong += int(np.sum(np.abs(served - model.scores()) > 1e-5))
    return wrong


def _score(prediction: Any) -> float:
    return float(prediction[-1] if isinstance(prediction, list) else prediction)
