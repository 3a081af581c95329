"""The models that are served: trained once, saved as ordinary MLflow models under `.bench/models/`."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from bench import HERE, SCRATCH
from bench.data import CATEGORIES, NUMBERS, coded, transactions

MODELS = SCRATCH / "models"
TRAINING_ROWS = 60_000
TREES = 300
KINDS = ("xgboost", "pipeline", "pyfunc")

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")  # this project's own lock is no part of a model


def requirements(*packages: str) -> list[str]:
    return [f"{name}=={version(name)}" for name in ("mlflow-skinny", "numpy", "pandas", *packages)]


def saved(kind: str) -> Path:
    """Directory of the MLflow model `kind`; trained where it is not there. Beside it the trees lie as `trees.ubj` and
    as `model.onnx`, for servers that take these."""
    directory = MODELS / kind
    if not (directory / "mlflow" / "MLmodel").exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        {"xgboost": _xgboost, "pipeline": _pipeline, "pyfunc": _pyfunc}[kind](directory)
    return directory / "mlflow"


def _xgboost(directory: Path) -> None:
    import mlflow.xgboost
    import xgboost
    from mlflow.models import infer_signature

    frame, labels = transactions(TRAINING_ROWS)
    frame = coded(frame)
    how = {"objective": "binary:logistic", "max_depth": 6, "eta": 0.1, "tree_method": "hist", "seed": 0, "nthread": 1}
    booster = xgboost.train(how, xgboost.DMatrix(frame, label=labels), num_boost_round=TREES)
    booster.save_model(directory / "trees.ubj")
    _to_onnx(booster, len(frame.columns), directory / "model.onnx")
    few = frame.dropna().head(5)
    mlflow.xgboost.save_model(
        booster,
        directory / "mlflow",
        signature=infer_signature(few, booster.predict(xgboost.DMatrix(few))),
        input_example=few,
        pip_requirements=requirements("xgboost-cpu"),
    )


def _to_onnx(booster: Any, width: int, path: Path) -> None:
    from onnxmltools import convert_xgboost  # type: ignore[import-untyped]
    from onnxmltools.convert.common.data_types import FloatTensorType  # type: ignore[import-untyped]

    names, booster.feature_names = booster.feature_names, None  # the converter knows f0, f1... only
    graph = convert_xgboost(booster, initial_types=[("input", FloatTensorType([None, width]))])
    booster.feature_names = names
    path.write_bytes(graph.SerializeToString())


def _pipeline(directory: Path) -> None:
    import mlflow.sklearn
    from lightgbm import LGBMClassifier
    from mlflow.models import infer_signature
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame, labels = transactions(TRAINING_ROWS)
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
            ("categories", OneHotEncoder(handle_unknown="ignore"), list(CATEGORIES)),
        ]
    )
    trees = LGBMClassifier(n_estimators=TREES, max_depth=6, random_state=0, n_jobs=1, verbose=-1)
    model = make_pipeline(columns, trees).fit(frame, labels)
    few = frame.dropna().head(5)
    mlflow.sklearn.save_model(
        model,
        directory / "mlflow",
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
        signature=infer_signature(few, model.predict_proba(few)),
        input_example=few,
        pip_requirements=requirements("scikit-learn", "lightgbm", "cloudpickle"),
    )


def _pyfunc(directory: Path) -> None:
    import mlflow.pyfunc
    from mlflow.models import infer_signature

    frame, _ = transactions(10)
    few = coded(frame).dropna().head(5)
    mlflow.pyfunc.save_model(
        directory / "mlflow",
        python_model=str(HERE / "rules.py"),
        signature=infer_signature(few, [0.5] * len(few)),
        input_example=few,
        pip_requirements=requirements("cloudpickle"),
    )


def own_compute_us(rounds: int = 2000) -> float:
    """Median microseconds that the custom Python model itself takes for one row that it is handed as a frame."""
    from bench.rules import Rules

    frame, _ = transactions(50)
    rows: list[pd.DataFrame] = [coded(frame).iloc[index : index + 1] for index in range(len(frame))]
    model: Any = Rules()
    taken = []
    for index in range(rounds):
        row = rows[index % len(rows)]
        began = time.perf_counter()
        model.predict(None, row)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e6
