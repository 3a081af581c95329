"""The versions with which a model was logged, as its flavours say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SAID_BY = {
    "catboost.catboost_version": "catboost", "fastai.fastai_version": "fastai", "h2o.h2o_version": "h2o",
    "keras.keras_version": "keras", "lightgbm.lgb_version": "lightgbm", "onnx.onnx_version": "onnx",
    "paddle.paddle_version": "paddlepaddle", "pmdarima.pmdarima_version": "pmdarima",
    "prophet.prophet_version": "prophet", "python_function.cloudpickle_version": "cloudpickle",
    "pytorch.pytorch_version": "torch", "sentence_transformers.sentence_transformers_version": "sentence-transformers",
    "shap.shap_version": "shap", "sklearn.sklearn_version": "scikit-learn", "spacy.spacy_version": "spacy",
    "spark.pyspark_version": "pyspark", "statsmodels.statsmodels_version": "statsmodels",
    "tensorflow.keras_version": "keras", "transformers.transformers_version": "transformers",
    "xgboost.xgb_version": "xgboost",
}  # fmt: skip
"""Field of a flavour -> package."""


def logged_with(flavors: Mapping[str, Any]) -> Mapping[str, str]:
    """Package -> version. What is no plain version is passed over: nothing of it would be on a package index."""
    found = {}
    for where, package in _SAID_BY.items():
        flavor, _, field = where.partition(".")
        content = flavors.get(flavor)
        said = content.get(field) if isinstance(content, dict) else None
        # `2.1.0+cpu` is how the wheel was built, which the index does not know.
        version = re.fullmatch(r"(\d+(?:\.\d+)+(?:(?:a|b|rc|\.post|\.dev)\d+)?)(?:\+[\w.]+)?", str(said))
        if version:
            found[package] = version[1]
    return found
