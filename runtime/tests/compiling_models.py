"""Models to compile, logged by ordinary MLflow code, and what is asked of each: that its graph answers alike."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import numpy as np
import onnx
import pandas as pd
import xgboost
from mlflow.models import infer_signature
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from serinus_runtime.artifact.loading import load
from serinus_runtime.artifact.signature import read_mlmodel, signature_of
from serinus_runtime.compiling import convert
from serinus_runtime.trials import prove

NUMBERS, TEXTS = ["amount", "age", "distance"], ["country", "channel"]


def payments() -> pd.DataFrame:
    random = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "amount": random.exponential(80, 400),
            "age": random.normal(40, 10, 400),
            "distance": np.where(random.random(400) < 0.1, np.nan, random.exponential(5, 400)),
            "country": random.choice(["FR", "DE", "IT"], 400),
            "channel": random.choice(["web", "pos"], 400),
            "hour": random.integers(0, 24, 400),
        }
    )
    frame["fraud"] = (frame["amount"] + 40 * (frame["country"] == "FR") + random.normal(0, 20, 400) > 120).astype(int)
    return frame


def mixed(final: Any, texts: Any) -> Any:
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    columns = ColumnTransformer(
        [("n", numbers, NUMBERS), ("h", "passthrough", ["hour"]), ("t", texts, TEXTS)], sparse_threshold=0
    )
    return make_pipeline(columns, final)


def one_hot(**how: Any) -> OneHotEncoder:
    return OneHotEncoder(**{"handle_unknown": "ignore", **how})


def compile_it(model: Any, inputs: pd.DataFrame, label: Any, path: Path, method: str, flavor: str = "sklearn") -> Path:
    """Trains, logs and converts; the directory of the artifact, with the compiled model in `compiled` beside it."""
    warnings.simplefilter("ignore")
    if isinstance(model, str):
        kind: Any = {"xgboost": xgboost, "lightgbm": lightgbm}[model]
        dataset = xgboost.DMatrix(inputs, label) if kind is xgboost else lightgbm.Dataset(inputs, label)
        objective = "binary:logistic" if kind is xgboost else "binary"
        model = kind.train({"objective": objective, "verbosity": 0 if kind is xgboost else -1}, dataset, 20)
        answers = model.predict(xgboost.DMatrix(inputs) if kind is xgboost else inputs)
    else:
        model.fit(inputs, label)
        answers = getattr(model, method)(inputs)
    how = {"pyfunc_predict_fn": method, "serialization_format": "cloudpickle"} if flavor == "sklearn" else {}
    getattr(mlflow, flavor).save_model(
        model,
        path / "artifact",
        signature=infer_signature(inputs, answers),
        input_example=inputs.head(3),
        pip_requirements=["scikit-learn"],
        **how,
    )
    rows = inputs.astype(object).where(inputs.notna(), None).to_numpy().tolist()
    convert_it(path / "artifact", rows)
    return path / "artifact"


def convert_it(artifact: Path, rows: list[list[Any]]) -> None:
    mlmodel = read_mlmodel(artifact)
    method = str(mlmodel["flavors"]["python_function"].get("predict_fn") or "predict")
    directory = artifact.parent / "compiled"
    convert.write(load(artifact, mlmodel), signature_of(mlmodel).columns, method, rows, directory)
    (directory / "MLmodel").write_text(json.dumps(convert.needed(mlmodel)))


def assert_proven(artifact: Path) -> None:
    directory = artifact.parent / "compiled"
    onnx.checker.check_model(str(directory / "model.onnx"), full_check=True)
    proof = prove.prove(directory, artifact)
    assert proof["rows"] > proof["own"] + 100
    assert proof["largest"] < 2e-7
    assert {key: proof[key] for key in ("differing", "refusals", "alone")} == {
        "differing": [], "refusals": [], "alone": [],
    }  # fmt: skip


def nullable(data: pd.DataFrame, tmp_path: Path, remainder: Any) -> Path:
    inputs = data[["amount", "country"]].assign(online=(data["age"] > 40).astype(object))
    inputs.loc[::7, "country"] = None
    inputs.loc[::11, "online"] = None
    texts = make_pipeline(SimpleImputer(missing_values=None, strategy="constant", fill_value="?"), one_hot())
    columns = ColumnTransformer([("n", StandardScaler(), ["amount"]), ("t", texts, ["country"])], remainder=remainder)
    model = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=5))
    return compile_it(model, inputs, data["fraud"], tmp_path, "predict_proba")
