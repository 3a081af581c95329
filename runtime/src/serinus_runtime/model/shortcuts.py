"""Faster ways to predict that are equivalent to MLflow's own, by the construction of the model and of MLflow.

*Data*: MLflow's schema enforcement is skipped. It does not change a frame whose columns have the names, the order and
the types of the signature, and `Frames.frame` builds no others.

*Matrix*: the columns are passed as a matrix instead of a frame. The first step of the model must convert the frame to
that matrix itself. It must be exactly one of the listed classes that do so, use no column by name, and be trained on
the columns of the signature in their order. If there are only columns of whole numbers, they are passed as float64 only
where that class converts them to a float itself. Up to 2**53 the conversion loses nothing, and larger numbers are
passed as a frame.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple, Sequence

from serinus_runtime.artifact.loading import Loaded, Predict
from serinus_runtime.artifact.signature import Column
from serinus_runtime.base.libraries import library
from serinus_runtime.compiling.boosters import best_rounds
from serinus_runtime.compiling.graph import Unsupported
from serinus_runtime.compiling.known import genuine, library_of
from serinus_runtime.compiling.margins import margins_of
from serinus_runtime.model.boosting import dense_predict

_ENFORCED_ALREADY = frozenset({"double", "float", "integer", "long", "boolean", "string", "binary", "datetime"})
"""Types of columns that the enforcement does not change. It converts arrays, objects and maps."""

_TREES = ("DecisionTree", "ExtraTree", "ExtraTrees", "RandomForest", "GradientBoosting", "HistGradientBoosting")
_CASTS = frozenset(
    [
        *(("sklearn", tree + kind) for tree in _TREES for kind in ("Classifier", "Regressor")),
        *(
            ("sklearn", name)
            for name in (
                "IsolationForest", "KNNImputer", "MLPClassifier", "MLPRegressor", "MaxAbsScaler", "MinMaxScaler",
                "NuSVC", "NuSVR", "PCA", "PolynomialFeatures", "PowerTransformer", "QuantileTransformer",
                "RobustScaler", "SVC", "SVR", "StandardScaler",
            )
        ),
        ("lightgbm", "Booster"), ("lightgbm", "LGBMClassifier"), ("lightgbm", "LGBMRegressor"), ("xgboost", "Booster"),
        ("xgboost", "XGBClassifier"), ("xgboost", "XGBRFClassifier"), ("xgboost", "XGBRFRegressor"),
        ("xgboost", "XGBRegressor"),
    ]
)  # fmt: skip
"""Classes that first convert any frame of numbers to a matrix of floats."""
_TAKES = frozenset(
    ("sklearn", name)
    for name in (
        "BayesianRidge", "ElasticNet", "ElasticNetCV", "GaussianNB", "HuberRegressor", "Lasso", "LassoCV",
        "LinearDiscriminantAnalysis", "LinearRegression", "LinearSVC", "LogisticRegression", "LogisticRegressionCV",
        "Ridge", "RidgeClassifier", "SGDClassifier", "SGDRegressor", "SelectKBest", "SelectPercentile",
        "SimpleImputer", "VarianceThreshold",
    )
)  # fmt: skip
"""Classes that first convert the frame to a matrix of NumPy's common type of its columns."""
_LABELS_AT = 0.5
_MISSING_SIGNS = ("missing", "missing_values")


class Shortcut(NamedTuple):
    """A faster way. `call` takes a matrix. `scores` (of the matrix) and `wanted` (of the frame, by the model) are the
    values behind the answers, which are compared as well. None: the answers are the scores."""

    name: str
    call: Predict
    scores: Predict | None = None
    wanted: Predict | None = None


def passes_enforcement(loaded: Loaded, columns: Sequence[Column]) -> bool:
    """Whether `direct` gets the same input with and without MLflow's enforcement. `columns` is empty for tensors, and
    where there is no signature."""
    metadata = getattr(getattr(loaded.public, "__self__", None), "metadata", None)
    for name in ("_is_type_hint_from_example", "_is_signature_from_type_hint"):
        by_hints = getattr(metadata, name, None)
        if callable(by_hints) and by_hints():  # The rows are converted to the type of the hint or the example.
            return False
    return {column.type for column in columns} <= _ENFORCED_ALREADY


def matrix_shortcuts(loaded: Loaded, columns: Sequence[Column]) -> list[Shortcut]:
    """Returns the shortcuts, the fastest first. Empty: a matrix may not be equivalent to a frame."""
    if loaded.flavor not in ("mlflow.sklearn", "mlflow.xgboost", "mlflow.lightgbm"):
        return []
    if not _takes_matrix(loaded.raw, columns, whole=all(column.type in ("integer", "long") for column in columns)):
        return []
    found = _native(loaded.raw) if loaded.flavor == "mlflow.xgboost" else None
    if library_of(loaded.raw) == "xgboost" and type(loaded.raw).__name__ == "Booster":
        return [] if found is None else [found]
    scores = _scores(loaded.raw)
    return [*([] if found is None else [found]), Shortcut("model", loaded.direct, scores, scores)]


def signs_of(model: Any) -> list[float]:
    """Returns numbers that the model or one of its steps takes for missing values."""
    steps = [part for _, part in getattr(model, "steps", ())] if library_of(model) == "sklearn" else []
    found = [getattr(model, name, None) for name in _MISSING_SIGNS]
    own = [float(sign) for sign in found if isinstance(sign, (int, float)) and not isinstance(sign, bool)]
    return [*(sign for sign in own if math.isfinite(sign)), *(sign for step in steps for sign in signs_of(step))]


def _takes_matrix(model: Any, columns: Sequence[Column], *, whole: bool) -> bool:
    """Whether the model can take a matrix. `whole`: all columns are of whole numbers."""
    try:
        genuine(model)
    except Unsupported:
        return False
    if _hands_on_frames(model) or not _same_names(model, [column.name for column in columns]):
        return False
    kind = (library_of(model), type(model).__name__)
    if kind == ("sklearn", "Pipeline"):
        steps = [step for _, step in model.steps if step is not None and not isinstance(step, str)]
        plain = not any(_hands_on_frames(step) for step in steps)
        return plain and bool(steps) and _takes_matrix(steps[0], columns, whole=whole)
    return not _has_categories(model) and (kind in _CASTS or (kind in _TAKES and not whole))


def _has_categories(model: Any) -> bool:
    """Whether it was trained on categorical columns, which a matrix does not have."""
    library = library_of(model)
    if library == "xgboost" and any(kind == "c" for kind in getattr(model, "feature_types", None) or ()):
        return True
    if library == "lightgbm" and getattr(getattr(model, "booster_", model), "pandas_categorical", None):
        return True
    return getattr(model, "_preprocessor", None) is not None  # The attribute of HistGradientBoosting.


def _hands_on_frames(model: Any) -> bool:
    """Whether a step returns a frame, whose names the next one may use."""
    if library_of(model) != "sklearn":
        return False
    told = vars(model).get("_sklearn_output_config") or {}
    everywhere = library("sklearn").get_config().get("transform_output", "default")
    return everywhere != "default" or any(kind != "default" for kind in told.values())


def _same_names(model: Any, names: Sequence[Any]) -> bool:
    if library_of(model) == "lightgbm":  # It only uses their order.
        return True
    trained = getattr(model, "feature_names_in_", None)
    if trained is None and library_of(model) == "xgboost":
        trained = getattr(model, "feature_names", None)
    return trained is None or list(map(str, trained)) == list(map(str, names))


def _scores(model: Any) -> Predict | None:
    final = model.steps[-1][1] if type(model).__name__ == "Pipeline" else model
    has = library_of(final) in ("xgboost", "lightgbm") or any(
        hasattr(final, name) for name in ("decision_function", "predict_proba")
    )
    return (lambda data: margins_of(model, data)) if has else None


def _native(model: Any) -> Shortcut | None:
    """Returns XGBoost's native function without MLflow's wrapper, which inspects a signature each time, and XGBoost's
    own, which inspects the matrix. It has the same rounds and missing value as `predict`."""
    name = type(model).__name__
    booster = model if name == "Booster" else model.get_booster()
    learner = json.loads(booster.save_config())["learner"]
    if learner["gradient_booster"]["name"] != "gbtree":
        return None
    if name == "Booster":
        return _of_booster(booster)
    missing = model.missing
    if isinstance(missing, bool) or not isinstance(missing, (int, float)) or math.isinf(missing):
        return None
    values = dense_predict(booster, missing=float(missing), rounds=best_rounds(model) or 0)
    if values is None:
        return None
    if name == "XGBRegressor":
        return Shortcut("values", values)
    if name != "XGBClassifier" or learner["objective"]["name"] != "binary:logistic" or model.n_classes_ != 2:
        return None

    def labels(matrix: Any) -> Any:
        return (values(matrix) > _LABELS_AT).astype("int64")

    return Shortcut("labels", labels, values, lambda frame: model.predict_proba(frame)[:, 1])


def _of_booster(booster: Any) -> Shortcut | None:
    values = dense_predict(booster)
    if values is None:
        return None
    numpy, refused = library("numpy"), library("xgboost.core").XGBoostError

    def checked(matrix: Any) -> Any:
        # A DMatrix refuses numbers that float32 cannot hold.
        with numpy.errstate(over="ignore"):
            single = matrix.astype("float32")
        if numpy.isinf(single).any():
            raise refused("a number is out of the range of float32")
        return values(single)

    return Shortcut("booster", checked)
