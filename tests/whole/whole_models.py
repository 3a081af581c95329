"""Small models, trained and registered as a data scientist does."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MODELS = Path(__file__).parent / "models"


def requirements(*packages: str) -> list[str]:
    """Of what is installed here, so that all models share one environment, which is built once."""
    return [f"{name}=={version(name)}" for name in ("mlflow-skinny", "numpy", "pandas", *packages)]


def transactions(rows: int = 2000) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(7)
    frame = pd.DataFrame({"amount": random.exponential(80, rows), "hour": random.integers(0, 24, rows).astype(float)})
    return frame, (frame["amount"] + 4 * frame["hour"] + random.normal(0, 30, rows) > 220).to_numpy().astype(int)


def trained(model: str, strength: float) -> str:
    """Trains and registers another version of the model; its number."""
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


def of_code(name: str, file: Path, *, signature: bool = True, example: bool = True, model: str = "") -> str:
    """Registers models/<name>.py as a model of that name, or of the name `model`; its version. The model finds `file`
    beside itself."""
    frame, _ = transactions(5)
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
