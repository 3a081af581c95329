"""The package versions with which a model was logged, from its flavors."""

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
"""The package by the field of a flavor."""


def logged_with(flavors: Mapping[str, Any]) -> Mapping[str, str]:
    """Returns versions by package. Local builds and other versions that no package index has are left out."""
    found = {}
    for where, package in _SAID_BY.items():
        flavor, _, field = where.partition(".")
        content = flavors.get(flavor)
        said = content.get(field) if isinstance(content, dict) else None
        # The suffix of `2.1.0+cpu` says how the wheel was built. The package index does not have it.
        version = re.fullmatch(r"(\d+(?:\.\d+)+(?:(?:a|b|rc|\.post|\.dev)\d+)?)(?:\+[\w.]+)?", str(said))
        if version:
            found[package] = version[1]
    return found
