"""A graph that is wrong, with a proof that says otherwise: noticed under load, and served the long way."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from whole_load import wait_until
from whole_serinus import Serinus

from serinus.backends.sql import SqlStore

PACKAGES = ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "cloudpickle")
MODEL = "wrong-graph"
RARE = "IT"
"""In no row of the example: gates and proof do not meet it."""
SPEC = """
model: {model}
serving: {{timeout: {timeout}}}
gates: {{latency_p99: 2s}}
rollout: {{steps: []}}
"""


def trained() -> tuple[Any, pd.DataFrame]:
    random = np.random.default_rng(5)
    frame = pd.DataFrame(
        {"amount": random.exponential(80, 2000), "country": random.choice(["FR", "DE", RARE], 2000, p=[0.5, 0.4, 0.1])}
    )
    label = (frame["amount"] + random.normal(0, 40, 2000) + 60 * (frame["country"] == RARE) > 120).astype(int)
    columns = ColumnTransformer([("n", StandardScaler(), ["amount"]), ("t", OneHotEncoder(), ["country"])])
    return make_pipeline(columns, LogisticRegression()).fit(frame, label), frame


@dataclass
class Asking:
    """Asks row after row over one connection, and remembers which answers were wrong and when."""

    serinus: Serinus
    frame: pd.DataFrame
    expected: np.ndarray
    failed: list[Any] = field(default_factory=list)
    wrong: list[float] = field(default_factory=list)
    right_rare: list[float] = field(default_factory=list)
    asked: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Asking:
        self.threads = [threading.Thread(target=self.run, args=(start,)) for start in (0, 1000)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def run(self, start: int) -> None:
        for number in range(start, 10**9):
            if self.stop.wait(0.01):
                return
            row = number % len(self.frame)
            record = self.frame.iloc[row].to_dict()
            answer = self.serinus.infer(MODEL, [record])
            self.asked += 1
            if answer.status_code != 200:
                self.failed.append((answer.status_code, answer.text))
                continue
            score = answer.json()["predictions"][0][1]
            if abs(score - self.expected[row]) > 1e-6:
                self.wrong.append(time.time())
            elif record["country"] == RARE:
                self.right_rare.append(time.time())


def forged(home: Path, digest: str, coefficient: float) -> str:
    """Puts in place of the compiled model, in all that is kept of its proof, one with another weight; its digest."""
    compiled = home / "compiled"
    aside = compiled / "forged"
    shutil.copytree(compiled / digest, aside)
    graph = (aside / "model.onnx").read_bytes()
    weight = struct.pack("<d", coefficient)
    assert graph.count(weight) == 1
    (aside / "model.onnx").write_bytes(graph.replace(weight, struct.pack("<d", coefficient + 3.0)))
    names = ("MLmodel", "model.onnx", "plan.json")
    parts = b"".join(hashlib.sha256((aside / name).read_bytes()).digest() for name in names)
    changed = hashlib.sha256(parts).hexdigest()
    aside.rename(compiled / changed)
    for path in (compiled / "asked").glob("*.json"):
        answer = json.loads(path.read_text())
        if answer["digest"] == digest:
            path.write_text(json.dumps({**answer, "digest": changed}))
    return changed


@pytest.fixture
def register() -> Callable[[Any, pd.DataFrame], str]:
    def log(model: Any, frame: pd.DataFrame) -> str:
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name=MODEL,
            pyfunc_predict_fn="predict_proba",
            serialization_format="cloudpickle",
            signature=infer_signature(frame, model.predict_proba(frame)),
            input_example=frame[frame["country"] != RARE].head(5),
            pip_requirements=[f"{name}=={version(name)}" for name in PACKAGES],
        )
        return str(logged.registered_model_version)

    return log


def deployed(serinus: Serinus, ref: str, timeout: str) -> Mapping[str, Any]:
    wish = {"ref": ref, "spec": SPEC.format(model=MODEL, timeout=timeout), "why": "a test"}
    answer = serinus.api.post("/v1/deployments", json=wish)
    assert answer.status_code == 202, answer.text
    return serinus.ended(answer.json()["rollout"], timeout=400.0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_graph_that_was_wrong_from_the_start_is_noticed_and_answers_no_more(
    serinus: Serinus, register: Callable[[Any, pd.DataFrame], str], capsys: pytest.CaptureFixture[str]
) -> None:
    model, frame = trained()
    expected = model.predict_proba(frame)[:, 1]
    number = register(model, frame)
    first = deployed(serinus, f"{MODEL}@{number}", "3s")
    assert first["status"]["phase"] == "promoted", (first["status"]["reason"], first["notes"])
    names = list(model[0].get_feature_names_out())
    coefficient = float(model[-1].coef_[0][names.index(f"t__country_{RARE}")])
    digest = forged(serinus.home.path, first["candidate"]["compiled"]["digest"], coefficient)
    second = deployed(serinus, f"{MODEL}@{number}", "4s")
    assert second["status"]["phase"] == "promoted", (second["status"]["reason"], second["gates"])
    assert second["candidate"]["compiled"]["digest"] == digest, "the gates do not meet what is wrong with it"
    release = second["candidate"]["id"]

    def event() -> Mapping[str, Any] | None:
        found = serinus.api.get("/v1/events", params={"model": MODEL}).json()
        return next((one for one in found if one["kind"] == "distrusted"), None)

    with Asking(serinus, frame, expected) as asking:
        wait_until(lambda: asking.wrong, 30, "a wrong answer")
        # The recheck has the lowest priority: on a busy machine it waits for its share.
        noticed = wait_until(event, 400, "that it is noticed")
        wait_until(lambda: serinus.placement(release).way == "mlflow", 60, "that it goes the long way")
        began = time.time()
        wait_until(lambda: sum(at > began + 5 for at in asking.right_rare) > 20, 60, "right answers to rare rows")
    found_at = pd.Timestamp(noticed["details"]["found_at"]).timestamp()
    with capsys.disabled():
        print(
            f"\nwrong graph: first wrong answer at 0 s, noticed after {found_at - asking.wrong[0]:.1f} s, "
            f"last wrong answer {asking.wrong[-1] - found_at:.1f} s after that; {len(asking.wrong)} of {asking.asked} "
            f"answers were wrong, {len(asking.failed)} failed"
        )
    assert asking.failed == []
    assert asking.wrong[-1] < began + 5, "nothing wrong is answered once the long way is there and the others are gone"
    assert serinus.placement(release).long
    assert serinus.model(MODEL)["champion"]["release"] == release, "no rollout"
    assert serinus.model(MODEL)["state"] == "trouble"
    metrics = serinus.api.get("/metrics").text
    assert f'serinus_distrusted{{model="{MODEL}",release="{release}"}} 1.0' in metrics
    name = f'serinus_recheck_differing_total{{model="{MODEL}",release="{release}"}}'
    counted = next(line for line in metrics.splitlines() if line.startswith(name))
    assert float(counted.split()[-1]) > 0
    with closing(SqlStore(f"sqlite:///{serinus.home.store}")) as store:
        rows = store.kept_rows(MODEL)
    assert {row.row[row.columns.index("country")] for row in rows} == {RARE}
