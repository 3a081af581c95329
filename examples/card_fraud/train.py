"""Trains one of four models on the first day and registers it: `python -m examples.card_fraud.train v2`.

Ordinary MLflow code: nothing here knows of Serinus. Logged with each run are the evaluation set (`evaluation.parquet`)
and, for parity, rows with the scores that they had at training time (`golden.json`).

    v1  a scikit-learn pipeline: scaling and a logistic regression
    v2  gradient-boosted trees, better
    v3  the same trees, blended with the risk of the time of day in bins of ten minutes. Offline it is a little better
        than v2. In production the table meets bins that it has never seen: `Time` counts from the first transaction,
        so that the second day does not begin at 0 again, and an unknown bin was decided to count as the riskiest one
    v4  the same trees from an export whose labels broke off after two hours: later frauds are in it as none
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import xgboost
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from examples.card_fraud.blend import SECONDS_A_BIN, TimeOfDayBlend
from examples.card_fraud.data import FEATURES, LABEL, first_day, transactions

MODEL = "card-fraud"
GOLDEN_ROWS = 200
TREES = {
    "objective": "binary:logistic",
    "max_depth": 4,
    "eta": 0.1,
    "subsample": 0.7,
    "colsample_bytree": 0.5,
    "lambda": 5,
    "scale_pos_weight": 50,
    "tree_method": "hist",
    "seed": 0,
}
ROUNDS = 150

Score = Callable[[pd.DataFrame], np.ndarray]


def requirements(*packages: str) -> list[str]:
    return [f"{name}=={version(name)}" for name in ("mlflow-skinny", "numpy", "pandas", *packages)]


def log_pipeline(training: pd.DataFrame, common: dict[str, Any]) -> Score:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    model.fit(training[FEATURES], training[LABEL])
    common["signature"] = infer_signature(training[FEATURES].head(), model.predict_proba(training[FEATURES].head()))
    mlflow.sklearn.log_model(
        model,
        name="model",
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
        pip_requirements=requirements("scikit-learn", "cloudpickle"),
        **common,
    )
    return lambda rows: model.predict_proba(rows)[:, 1]


def boost(training: pd.DataFrame, labels: pd.Series) -> xgboost.Booster:
    return xgboost.train(TREES, xgboost.DMatrix(training[FEATURES], label=labels), num_boost_round=ROUNDS)


def log_trees(booster: xgboost.Booster, training: pd.DataFrame, common: dict[str, Any]) -> Score:
    def score(rows: pd.DataFrame) -> np.ndarray:
        return booster.predict(xgboost.DMatrix(rows))

    common["signature"] = infer_signature(training[FEATURES].head(), score(training[FEATURES].head()))
    mlflow.xgboost.log_model(booster, name="model", pip_requirements=requirements("xgboost-cpu"), **common)
    return score


def log_blend(training: pd.DataFrame, common: dict[str, Any]) -> Score:
    booster = boost(training, training[LABEL])
    times = (training["Time"] // SECONDS_A_BIN).astype(int)
    frauds, rows = training[LABEL].groupby(times).sum(), training[LABEL].groupby(times).count()
    risk = {int(t): float((frauds[t] + 1) / (rows[t] + 20)) for t in rows.index}
    model = TimeOfDayBlend(risk, float(training[LABEL].mean()))
    with tempfile.TemporaryDirectory() as scratch:
        trees = Path(scratch) / "trees.ubj"
        booster.save_model(trees)
        model.use(booster)
        common["signature"] = infer_signature(training[FEATURES].head(), model.score(training[FEATURES].head()))
        mlflow.pyfunc.log_model(
            name="model",
            python_model=TimeOfDayBlend(risk, float(training[LABEL].mean())),
            artifacts={"trees": str(trees)},
            code_paths=[str(Path(__file__).parents[1])],
            pip_requirements=requirements("xgboost-cpu", "cloudpickle"),
            **common,
        )
    return model.score


def log_version(name: str, training: pd.DataFrame, common: dict[str, Any]) -> Score:
    if name == "v1":
        return log_pipeline(training, common)
    if name == "v2":
        return log_trees(boost(training, training[LABEL]), training, common)
    if name == "v3":
        return log_blend(training, common)
    broken_off = training[LABEL].where(training["Time"] < 2 * 3600, 0)
    return log_trees(boost(training, broken_off), training, common)


def log_files(evaluation: pd.DataFrame, score: Score) -> None:
    """What later checks need: labelled rows, and rows with the scores that they have today."""
    golden = evaluation[FEATURES].sample(GOLDEN_ROWS, random_state=7)
    scores = [float(s) for s in score(golden)]
    with tempfile.TemporaryDirectory() as scratch:
        rows = evaluation[[*FEATURES, LABEL]]
        rows.to_parquet(Path(scratch) / "evaluation.parquet", index=False)
        document = {"columns": FEATURES, "rows": golden.to_numpy().tolist(), "scores": scores}
        (Path(scratch) / "golden.json").write_text(json.dumps(document))
        mlflow.log_artifacts(scratch)


def train(name: str, frame: pd.DataFrame) -> str:
    """Trains, logs and registers `name`; the version that the registry gave it."""
    training, evaluation = first_day(frame)
    common: dict[str, Any] = {"registered_model_name": MODEL, "input_example": training[FEATURES].head(5)}
    mlflow.set_experiment(MODEL)
    with mlflow.start_run(run_name=name) as run:
        mlflow.log_params({"variant": name, "python": platform.python_version()})
        score = log_version(name, training, common)
        log_files(evaluation, score)
        precision = average_precision_score(evaluation[LABEL], score(evaluation[FEATURES]))
        mlflow.log_metric("average_precision", float(precision))
    found = mlflow.MlflowClient().search_model_versions(f"run_id = '{run.info.run_id}'")
    return str(found[0].version)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+", choices=["v1", "v2", "v3", "v4"])
    parser.add_argument("--data", type=Path, default=Path("data"), help="where creditcard.csv is kept")
    arguments = parser.parse_args()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")  # else MLflow logs the lock of the directory it runs in
    frame = transactions(arguments.data)
    for name in arguments.variants:
        print(json.dumps({"variant": name, "model": MODEL, "version": train(name, frame)}), flush=True)


if __name__ == "__main__":
    main()
