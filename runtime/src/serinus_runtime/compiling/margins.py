"""The values behind a model's answers, as the model itself computes them: margins, or scores where it has no margins.

Two different models give the same label to most rows, and probabilities near 0 or 1 hide the distance of two margins.
Therefore a proof compares these as well.
"""

from __future__ import annotations

from typing import Any

from serinus_runtime.base.libraries import library
from serinus_runtime.compiling.graph import Unsupported
from serinus_runtime.compiling.known import library_of


def margins_of(model: Any, frame: Any) -> Any:
    """Returns an array with a row for each row of `frame`. Raises Unsupported, and what the model raises."""
    name, root = type(model).__name__, library_of(model)
    if (root, name) == ("sklearn", "Pipeline"):
        if len(model.steps) > 1:
            frame = model[:-1].transform(frame)
        return margins_of(model.steps[-1][1], frame)
    if (root, name) == ("xgboost", "Booster"):
        return model.predict(library("xgboost").DMatrix(frame), output_margin=True)
    if root == "xgboost":
        return model.predict(frame, output_margin=True)
    if root == "lightgbm":
        return model.predict(frame, raw_score=True)
    if root == "catboost":
        return model.predict(frame, prediction_type="RawFormulaVal")
    for method in ("decision_function", "predict_proba"):
        if hasattr(model, method):
            return getattr(model, method)(frame)
    raise Unsupported(f"{name}, behind whose answers nothing can be compared,")
