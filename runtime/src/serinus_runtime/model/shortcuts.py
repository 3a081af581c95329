"""Which shorter ways of predicting are equivalent to MLflow's own, by how the model and MLflow are made.

*Data*: MLflow's schema enforcement is passed over. It changes nothing in a frame whose columns have the names, the
order and the types of the signature already, and `Frames.frame` builds no other.

*Matrix*: the columns go as one matrix in place of a frame. The first thing that the model does must be to make that
matrix of the frame itself: it is in a list of classes known to do so, is that very class, looks at no column by name,
and was trained on the columns of the signature in their order. Columns of whole numbers alone go as float64 only where
that class casts them to a float itself. Up to 2**53 the cast loses nothing, and larger ones go as a frame.
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
"""Types of columns that enforcement hands on as they are. Arrays, objects and maps it converts."""

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
"""Classes that make a matrix of floats of whatever frame of numbers they are given, first of all."""
_TAKES = frozenset(
    ("sklearn", name)
    for name in (
        "BayesianRidge", "ElasticNet", "ElasticNetCV", "GaussianNB", "HuberRegressor", "Lasso", "LassoCV",
        "LinearDiscriminantAnalysis", "LinearRegression", "LinearSVC", "LogisticRegression", "LogisticRegressionCV",
        "Ridge", "RidgeClassifier", "SGDClassifier", "SGDRegressor", "SelectKBest", "SelectPercentile",
        "SimpleImputer", "VarianceThreshold",
    )
)  # fmt: skip
"""Classes that make a matrix of the frame first of all, of the type that numpy finds for its columns together."""
_LABELS_AT = 0.5
_MISSING_SIGNS = ("missing", "missing_values")


class Shortcut(NamedTuple):
    """`call` takes a matrix. `scores` (of the matrix) and `wanted` (of the frame, by the model): what is behind the
    answers, which the check of a shortcut compares as well; None: the answers are the scores themselves."""

    name: str
    call: Predict
    scores: Predict | None = None
    wanted: Predict | None = None


def passes_enforcement(loaded: Loaded, columns: Sequence[Column]) -> bool:
    """Whether `direct` is given by MLflow what it is given without it. `columns`: none for tensors, and where there is
    no signature to be enforced."""
    metadata = getattr(getattr(loaded.public, "__self__", None), "metadata", None)
    for name in ("_is_type_hint_from_example", "_is_signature_from_type_hint"):
        by_hints = getattr(metadata, name, None)
        if callable(by_hints) and by_hints():  # the rows become what the hint or the example is
            return False
    return {column.type for column in columns} <= _ENFORCED_ALREADY


def matrix_shortcuts(loaded: Loaded, columns: Sequence[Column]) -> list[Shortcut]:
    """The quickest first; none where there is no reason why a matrix should be as good as a frame."""
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
    """Numbers that the model or one of its steps takes for a missing value."""
    steps = [part for _, part in getattr(model, "steps", ())] if library_of(model) == "sklearn" else []
    found = [getattr(model, name, None) for name in _MISSING_SIGNS]
    own = [float(sign) for sign in found if isinstance(sign, (int, float)) and not isinstance(sign, bool)]
    return [*(sign for sign in own if math.isfinite(sign)), *(sign for step in steps for sign in signs_of(step))]


def _takes_matrix(model: Any, columns: Sequence[Column], *, whole: bool) -> bool:
    """`whole`: all columns are of whole numbers."""
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
    """It was trained on columns of categories, which a matrix has not."""
    library = library_of(model)
    if library == "xgboost" and any(kind == "c" for kind in getattr(model, "feature_types", None) or ()):
        return True
    if library == "lightgbm" and getattr(getattr(model, "booster_", model), "pandas_categorical", None):
        return True
    return getattr(model, "_preprocessor", None) is not None  # of HistGradientBoosting


def _hands_on_frames(model: Any) -> bool:
    """Whether a step was told to answer a frame, of which the next one may look at the names."""
    if library_of(model) != "sklearn":
        return False
    told = vars(model).get("_sklearn_output_config") or {}
    everywhere = library("sklearn").get_config().get("transform_output", "default")
    return everywhere != "default" or any(kind != "default" for kind in told.values())


def _same_names(model: Any, names: Sequence[Any]) -> bool:
    if library_of(model) == "lightgbm":  # it goes by their order alone
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
    """XGBoost past MLflow's wrapper, which inspects a signature each time, and its own, which looks at what a matrix
    is. It takes the rounds and the missing value that `predict` takes."""
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
        # A DMatrix refuses what float32 cannot hold.
        with numpy.errstate(over="ignore"):
            single = matrix.astype("float32")
        if numpy.isinf(single).any():
            raise refused("a number is out of the range of float32")
        return values(single)

    return Shortcut("booster", checked)
