"""From a recipe to a model that MLflow has saved, with values that are worth asking it."""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature, infer_signature
from mlflow.types.schema import ParamSchema, Schema
from sklearn.pipeline import make_pipeline

from fidelity import estimators, pyfuncs
from fidelity.case import JSON, Recipe
from fidelity.values import NUMBERS, frame_of, tensors_of, typical

Example = Any
_REQUIREMENTS = ["mlflow", "scikit-learn", "cloudpickle"]


class CannotBuild(Exception):
    """The recipe makes no model, for instance since the estimator refuses its settings. Nothing is compared."""


@dataclass(frozen=True)
class Built:
    """`rows`: typical ones, as JSON values. `splits`: thresholds and sentinels of the model, for numbers' edges."""

    recipe: Recipe
    artifact: Path
    rows: list[list[JSON]]
    splits: list[float]


def build(recipe: Recipe, directory: Path) -> Built:
    """Raises CannotBuild."""
    for module in (pyfuncs, estimators):
        cloudpickle.register_pickle_by_value(module)
    dice = random.Random(f"rows {recipe.seed}")
    rows = [[typical(spec, dice, recipe.holes) for spec in recipe.inputs] for _ in range(recipe.rows)]
    _mark_missing(recipe, rows, dice)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            splits = (_save_trained if recipe.trained else _save_custom)(recipe, deepcopy(rows), directory)
    except Exception as error:
        raise CannotBuild(
            f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        ) from error
    return Built(recipe, directory, rows, splits)


def _mark_missing(recipe: Recipe, rows: list[list[JSON]], dice: random.Random) -> None:
    """Where a setting names the number that stands for a missing value, callers send it, and the training saw it."""
    mark = recipe.settings.get("missing")
    for row in rows if mark is not None else ():
        for i, spec in enumerate(recipe.inputs):
            if spec["type"] in NUMBERS and dice.random() < 0.2:
                row[i] = float(str(mark)) if spec["type"] in ("double", "float") else mark


def _signature(recipe: Recipe, answers: Any) -> ModelSignature | bool:
    """False: MLflow is not to infer one from the example."""
    if not recipe.signed:
        return False
    params: Any = ParamSchema.from_json(json.dumps(recipe.params)) if recipe.params else None
    return ModelSignature(
        inputs=Schema.from_json(json.dumps(recipe.inputs)),
        outputs=_outputs(answers),
        params=params,
    )


def _outputs(answers: Any) -> Schema | None:
    """As an author has it from `infer_signature`; None where that does not know the answer's type."""
    try:
        return infer_signature(model_output=answers).outputs if answers is not None else None
    except Exception:  # noqa: BLE001  whatever MLflow raises there, an author would log it without
        return None


# --- estimators


def _save_trained(recipe: Recipe, rows: list[list[JSON]], directory: Path) -> list[float]:
    inputs = frame_of(recipe.inputs, rows)
    kind = estimators.KINDS[recipe.estimator]
    target = _target(kind.target, inputs, recipe)
    model, splits = _fitted(recipe, inputs, target)
    answers = _answers(recipe, model, inputs)
    how: dict[str, Any] = {"pip_requirements": _REQUIREMENTS, "signature": _signature(recipe, answers)}
    if recipe.example:
        how["input_example"] = inputs.head(3)
    flavor = "sklearn" if recipe.steps or recipe.flavor == "sklearn" else recipe.flavor
    if flavor == "sklearn":
        how |= {"serialization_format": "cloudpickle", "pyfunc_predict_fn": recipe.method}
        mlflow.sklearn.save_model(model, directory, **how)
    else:
        words = {"xgboost": "xgb_model", "lightgbm": "lgb_model", "catboost": "cb_model"}
        getattr(mlflow, flavor).save_model(**{words[flavor]: model}, path=directory, **how)
    return splits


def _target(kind: str, inputs: pd.DataFrame, recipe: Recipe) -> Any:
    dice = np.random.default_rng(recipe.seed)
    numbers = [pd.to_numeric(inputs.iloc[:, i], errors="coerce") for i in range(inputs.shape[1])]
    numbers = [part.fillna(part.median()) for part in numbers if part.notna().any()]
    total = sum((part.astype("float64").rank(pct=True) for part in numbers), dice.random(len(inputs)))
    ranks = pd.Series(total).rank(pct=True).to_numpy()
    if kind == "class":
        return (ranks > 0.6).astype(int)
    return np.floor(ranks * 2.999).astype(int) if kind == "classes" else ranks if kind == "number" else None


def _fitted(recipe: Recipe, inputs: pd.DataFrame, target: Any) -> tuple[Any, list[float]]:
    """The model to save, and the splits of what decides in it."""
    settings = dict(recipe.settings)
    inputs = _categorical(inputs) if settings.get("enable_categorical") else inputs
    if recipe.estimator in ("Booster", "LGBMBooster"):
        model = _booster(recipe, settings, inputs, target)
        return model, _splits(model, settings)
    model = estimators.make(recipe.estimator, settings)
    first = estimators.before(recipe.steps)
    given = first.fit_transform(inputs, target) if first is not None else inputs
    words = {}
    half = len(inputs) // 2
    if settings.get("early_stopping_rounds"):
        words = {"eval_set": [(given[half:], target[half:])], "verbose": False}
    elif settings.get("early_stopping") and estimators.flavor_of(recipe.estimator) == "lightgbm":
        import lightgbm

        words = {
            "eval_set": [(given[half:], target[half:])],
            "callbacks": [lightgbm.early_stopping(int(settings["early_stopping"]), verbose=False)],
        }
    if words:
        given, target = given[:half], target[:half]
    model.fit(given, target, **words)
    splits = _splits(model, settings)
    return (model if first is None else make_pipeline(first, model)), splits


def _categorical(inputs: pd.DataFrame) -> pd.DataFrame:
    return inputs.astype(dict.fromkeys(inputs.select_dtypes(["object"]).columns, "category"))


def _booster(recipe: Recipe, settings: dict[str, Any], inputs: pd.DataFrame, target: Any) -> Any:
    half = len(inputs) // 2
    if recipe.estimator == "Booster":
        import xgboost

        rounds = settings.pop("early_stopping_rounds", None)
        given = {key: value for key, value in settings.items() if value is not None}
        parts = [xgboost.DMatrix(inputs[s], target[s]) for s in (slice(half), slice(half, None))]
        return xgboost.train(
            {**given, "nthread": 1}, parts[0], 8, evals=[(parts[1], "v")], early_stopping_rounds=rounds,
            verbose_eval=False,
        )  # fmt: skip
    import lightgbm

    rounds = settings.pop("early_stopping", None)
    given = {key: value for key, value in settings.items() if value is not None}
    callbacks: list[Any] = [lightgbm.early_stopping(int(rounds), verbose=False)] if rounds else []
    sets = [lightgbm.Dataset(inputs[s], target[s], params={"verbose": -1}) for s in (slice(half), slice(half, None))]
    return lightgbm.train(given, sets[0], 8, valid_sets=[sets[1]], callbacks=callbacks)


def _answers(recipe: Recipe, model: Any, inputs: pd.DataFrame) -> Any:
    """Of some rows, as the pyfunc will answer; None: it is not known before it is saved."""
    if recipe.estimator == "Booster":
        import xgboost

        return model.predict(xgboost.DMatrix(inputs.head(5)))
    given = _categorical(inputs) if recipe.settings.get("enable_categorical") else inputs
    method = recipe.method if recipe.steps or recipe.flavor == "sklearn" else "predict"
    return getattr(model, method)(given.head(5))


def _splits(model: Any, settings: Mapping[str, Any]) -> list[float]:
    """Thresholds of trees and the number that stands for a missing value."""
    found: set[float] = set()
    missing = settings.get("missing")
    if missing is not None:
        found.add(float(missing))
    found |= set(_of_trees(model))
    kept = sorted(value for value in found if math.isfinite(value))
    return kept[:: max(1, len(kept) // 60)]


def _of_trees(model: Any) -> list[float]:
    booster = getattr(model, "get_booster", None) or getattr(model, "booster_", None) or model
    booster = booster() if callable(booster) and not hasattr(booster, "trees_to_dataframe") else booster
    if hasattr(booster, "trees_to_dataframe"):
        try:
            table = booster.trees_to_dataframe()
        except Exception:  # noqa: BLE001  a linear booster has no trees
            return []
        name = "Split" if "Split" in table else "threshold"
        return [float(value) for value in pd.to_numeric(table[name], errors="coerce").dropna().tolist()]
    trees = getattr(model, "estimators_", None)
    parts = list(np.ravel(np.array(trees, dtype=object))) if trees is not None else [model]
    found: list[float] = []
    for part in parts:
        if hasattr(part, "tree_"):
            found += [float(t) for t, f in zip(part.tree_.threshold, part.tree_.feature, strict=True) if f >= 0]
    for stage in getattr(model, "_predictors", ()):
        found += [float(t) for part in stage for t in part.nodes["num_threshold"]]
    return found


# --- Python models


def _save_custom(recipe: Recipe, rows: list[list[JSON]], directory: Path) -> list[float]:
    how: dict[str, Any] = {"pip_requirements": _REQUIREMENTS}
    if recipe.hinted:
        model: Any = pyfuncs.Texts(recipe.answer)
    else:
        model = pyfuncs.Witness(recipe.answer)
        example = tensors_of(recipe.inputs, rows[:3]) if recipe.tensors else frame_of(recipe.inputs, rows[:3])
        how["signature"] = _signature(recipe, _answer_of(model, example))
        if recipe.example:
            how["input_example"] = example
    mlflow.pyfunc.save_model(directory, python_model=model, **how)
    return []


def _answer_of(model: pyfuncs.Witness, example: Example) -> Any:
    try:
        return model.predict(None, example)  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001  a form of answer that these rows do not have
        return None
