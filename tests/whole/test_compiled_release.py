"""An ordinary pipeline of texts and numbers, deployed as it was logged: served compiled, with its own answers."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from whole_serinus import Serinus

PACKAGES = ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "cloudpickle")


def trained() -> tuple[Any, pd.DataFrame]:
    random = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "amount": np.where(random.random(2000) < 0.1, np.nan, random.exponential(80, 2000)),
            "hour": random.integers(0, 24, 2000).astype(float),
            "country": random.choice(["FR", "DE", "IT"], 2000),
        }
    )
    label = (frame["amount"].fillna(0) + 4 * frame["hour"] + random.normal(0, 30, 2000) > 180).astype(int)
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer(
        [("n", numbers, ["amount", "hour"]), ("t", OneHotEncoder(handle_unknown="ignore"), ["country"])]
    )
    return make_pipeline(columns, LogisticRegression()).fit(frame, label), frame


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_pipeline_of_texts_and_numbers_is_served_compiled_with_its_own_answers(serinus: Serinus) -> None:
    model, frame = trained()
    expected = model.predict_proba(frame)
    logged = mlflow.sklearn.log_model(
        model,
        name="model",
        registered_model_name="compiled",
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
        signature=infer_signature(frame, expected),
        input_example=frame.head(5),
        pip_requirements=[f"{name}=={version(name)}" for name in PACKAGES],
    )
    rollout = serinus.deployed(f"compiled@{logged.registered_model_version}")
    assert rollout["status"]["phase"] == "promoted", (rollout["status"]["reason"], rollout["notes"])
    assert any(note.startswith("compiled: ") for note in rollout["notes"]), rollout["notes"]
    release = serinus.model("compiled")["champion"]["release"]
    assert serinus.placement(release).way == "onnx"
    rows = frame.head(50).astype(object).where(frame.head(50).notna(), None).to_dict("records")
    answer = serinus.infer("compiled", rows)
    assert answer.status_code == 200, answer.text
    np.testing.assert_allclose(answer.json()["predictions"], expected[:50], rtol=1e-9)
