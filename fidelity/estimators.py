"""Which estimators are drawn, with which settings, and what may stand before them. Settings are JSON: `build` reads
them back."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

Choices = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Kind:
    """`choices`: settings that are drawn, the first of each the library's default in effect. `fixed`: always given.
    `target`: `class`, `number`, `classes` or `none`. `missing`: whether it takes NaN by itself."""

    module: str
    methods: tuple[str, ...]
    target: str = "class"
    missing: bool = False
    fixed: Choices | Mapping[str, Any] = ()  # type: ignore[assignment]
    choices: Choices = ()  # type: ignore[assignment]


_XGB: Choices = {
    "missing": (None, -999, 0, -1),
    "base_score": (None, 0.1, 0.7),
    "booster": ("gbtree", "gbtree", "dart", "gblinear"),
    "max_depth": (3, 1, 6),
    "scale_pos_weight": (None, 3.5),
    "num_parallel_tree": (None, 3),
    "early_stopping_rounds": (None, 1, 2),
    "tree_method": ("hist", "exact", "approx"),
    "enable_categorical": (False, True),
    "max_delta_step": (None, 1),
    "max_cat_to_onehot": (None, 1),
}
_LGB: Choices = {
    "boosting_type": ("gbdt", "dart", "rf"),
    "num_leaves": (7, 3, 31),
    "max_depth": (-1, 2),
    "class_weight": (None, "balanced"),
    "linear_tree": (False, True),
    "zero_as_missing": (None, True),
    "use_missing": (None, False),
    "early_stopping": (None, 1, 2),
    "reg_sqrt": (None, True),
}
_XGB_NUMBER = (
    "reg:squarederror", "count:poisson", "reg:gamma", "reg:tweedie", "reg:logistic", "reg:absoluteerror",
    "reg:pseudohubererror",
)  # fmt: skip
_LGB_NUMBER = ("regression", "poisson", "quantile", "tweedie", "huber", "regression_l1")
_TREE: Choices = {"max_depth": (None, 2, 5), "min_samples_leaf": (1, 3)}
_FOREST: Choices = {**_TREE, "class_weight": (None, "balanced"), "bootstrap": (True, False)}
_PROBA = ("predict", "predict_proba")

KINDS: dict[str, Kind] = {
    "XGBClassifier": Kind(
        "xgboost",
        _PROBA,
        missing=True,
        fixed={"n_estimators": 8, "random_state": 0, "n_jobs": 1},
        choices={**_XGB, "objective": ("binary:logistic", "binary:logitraw", "binary:hinge")},
    ),
    "XGBClassifier many": Kind(
        "xgboost",
        _PROBA,
        target="classes",
        missing=True,
        fixed={"n_estimators": 5, "random_state": 0, "n_jobs": 1},
        choices={**_XGB, "objective": ("multi:softprob", "multi:softmax")},
    ),
    "XGBRegressor": Kind(
        "xgboost",
        ("predict",),
        target="number",
        missing=True,
        fixed={"n_estimators": 8, "random_state": 0, "n_jobs": 1},
        choices={
            **_XGB,
            "objective": _XGB_NUMBER,
        },
    ),
    "XGBRFClassifier": Kind(
        "xgboost",
        _PROBA,
        missing=True,
        fixed={"n_estimators": 8, "random_state": 0, "n_jobs": 1},
        choices={"missing": _XGB["missing"], "base_score": _XGB["base_score"], "max_depth": (3, 1)},
    ),
    "Booster": Kind(
        "xgboost",
        ("predict",),
        missing=True,
        choices={
            "objective": ("binary:logistic", "binary:logitraw", "reg:squarederror", "count:poisson", "rank:pairwise"),
            "base_score": _XGB["base_score"],
            "booster": _XGB["booster"],
            "max_depth": (3, 1),
            "early_stopping_rounds": (None, 1),
        },
    ),
    "LGBMClassifier": Kind(
        "lightgbm",
        _PROBA,
        missing=True,
        fixed={"n_estimators": 8, "random_state": 0, "n_jobs": 1, "verbose": -1},
        choices={**_LGB, "objective": ("binary", "cross_entropy"), "is_unbalance": (None, True)},
    ),
    "LGBMRegressor": Kind(
        "lightgbm",
        ("predict",),
        target="number",
        missing=True,
        fixed={"n_estimators": 8, "random_state": 0, "n_jobs": 1, "verbose": -1},
        choices={**_LGB, "class_weight": (None,), "objective": _LGB_NUMBER},
    ),
    "LGBMBooster": Kind(
        "lightgbm",
        ("predict",),
        missing=True,
        fixed={"verbose": -1, "num_threads": 1},
        choices={
            "objective": ("binary", "regression", "cross_entropy"),
            "zero_as_missing": (None, True),
            "boosting": ("gbdt", "dart"),
            "early_stopping": (None, 1),
        },
    ),
    "CatBoostClassifier": Kind(
        "catboost",
        _PROBA,
        missing=True,
        fixed={"iterations": 8, "verbose": 0, "random_seed": 0, "thread_count": 1},
        choices={"depth": (3, 2), "auto_class_weights": (None, "Balanced"), "nan_mode": (None, "Max")},
    ),
    "LogisticRegression": Kind(
        "sklearn.linear_model",
        (
            *_PROBA,
            "predict_log_proba",
        ),
        fixed={"max_iter": 200},
        choices={"C": (1.0, 0.01), "class_weight": (None, "balanced"), "fit_intercept": (True, False)},
    ),
    "LogisticRegression many": Kind(
        "sklearn.linear_model",
        _PROBA,
        target="classes",
        fixed={"max_iter": 200},
        choices={"C": (1.0, 0.01)},
    ),
    "RandomForestClassifier": Kind(
        "sklearn.ensemble",
        _PROBA,
        missing=True,
        fixed={"n_estimators": 5, "random_state": 0},
        choices=_FOREST,
    ),
    "RandomForestRegressor": Kind(
        "sklearn.ensemble",
        ("predict",),
        target="number",
        missing=True,
        fixed={"n_estimators": 5, "random_state": 0},
        choices=_TREE,
    ),
    "ExtraTreesClassifier": Kind(
        "sklearn.ensemble",
        _PROBA,
        target="classes",
        missing=True,
        fixed={"n_estimators": 5, "random_state": 0},
        choices=_FOREST,
    ),
    "GradientBoostingClassifier": Kind(
        "sklearn.ensemble",
        (*_PROBA,),
        fixed={"n_estimators": 5, "random_state": 0},
        choices={"loss": ("log_loss", "exponential"), "init": (None, "zero"), "max_depth": (3, 1)},
    ),
    "HistGradientBoostingClassifier": Kind(
        "sklearn.ensemble",
        _PROBA,
        missing=True,
        fixed={"max_iter": 5, "random_state": 0},
        choices={"early_stopping": ("auto", True), "class_weight": (None, "balanced"), "max_bins": (255, 8)},
    ),
    "HistGradientBoostingRegressor": Kind(
        "sklearn.ensemble",
        ("predict",),
        target="number",
        missing=True,
        fixed={"max_iter": 5, "random_state": 0},
        choices={"loss": ("squared_error", "poisson", "absolute_error"), "max_bins": (255, 8)},
    ),
    "DecisionTreeClassifier": Kind("sklearn.tree", _PROBA, missing=True, fixed={"random_state": 0}, choices=_TREE),
    "IsolationForest": Kind(
        "sklearn.ensemble",
        ("predict",),
        target="none",
        fixed={"n_estimators": 5, "random_state": 0},
        choices={"contamination": ("auto", 0.1), "max_features": (1.0, 0.5)},
    ),
    "Ridge": Kind("sklearn.linear_model", ("predict",), target="number", choices={"alpha": (1.0, 10.0)}),
    "SGDClassifier": Kind(
        "sklearn.linear_model",
        ("predict",),
        fixed={"random_state": 0},
        choices={"loss": ("hinge", "log_loss", "modified_huber")},
    ),
    "LinearSVC": Kind("sklearn.svm", ("predict",), fixed={"random_state": 0}),
    "GaussianNB": Kind("sklearn.naive_bayes", _PROBA),
    "KNeighborsClassifier": Kind(
        "sklearn.neighbors", _PROBA, choices={"n_neighbors": (5, 1), "weights": ("uniform", "distance")}
    ),
    "MLPClassifier": Kind(
        "sklearn.neural_network", _PROBA, fixed={"max_iter": 20, "random_state": 0, "hidden_layer_sizes": [4]}
    ),
    "DummyClassifier": Kind("sklearn.dummy", _PROBA, missing=True, choices={"strategy": ("prior", "most_frequent")}),
    "TunedThresholdClassifierCV": Kind("sklearn.model_selection", _PROBA, choices={"cv": (2,)}),
    "FixedThresholdClassifier": Kind("sklearn.model_selection", _PROBA, choices={"threshold": ("auto", 0.2, 0.9)}),
    "CalibratedClassifierCV": Kind(
        "sklearn.calibration",
        _PROBA,
        choices={"method": ("sigmoid", "isotonic"), "cv": (2,), "ensemble": ("auto", False)},
    ),
    "VotingClassifier": Kind("sklearn.ensemble", ("predict",), choices={"voting": ("hard", "soft")}),
    "StackingClassifier": Kind("sklearn.ensemble", _PROBA, choices={"cv": (2,), "passthrough": (False, True)}),
    "OneClassSVM": Kind("sklearn.svm", ("predict",), target="none"),
    "KMeans": Kind(
        "sklearn.cluster",
        ("predict",),
        target="none",
        fixed={"n_clusters": 3, "random_state": 0, "n_init": 1},
    ),
    "TransformedTargetRegressor": Kind("sklearn.compose", ("predict",), target="number"),
}


def flavor_of(estimator: str) -> str:
    return KINDS[estimator].module.partition(".")[0]


def make(estimator: str, settings: Mapping[str, Any]) -> Any:
    """The untrained estimator. None among the settings is left to the library."""
    name = estimator.partition(" ")[0]
    cls = getattr(importlib.import_module(KINDS[estimator].module), name)
    given = {key: value for key, value in settings.items() if value is not None and key != "early_stopping"}
    if name == "HistGradientBoostingClassifier" and settings.get("early_stopping") is not None:
        given["early_stopping"] = settings["early_stopping"]
    if flavor_of(estimator) == "lightgbm" and given.get("boosting_type") == "rf":
        given |= {"bagging_freq": 1, "bagging_fraction": 0.7}
    return cls(**_inner(name), **given)


def _inner(name: str) -> dict[str, Any]:
    """Estimators that need another one."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.tree import DecisionTreeClassifier

    if name in ("VotingClassifier", "StackingClassifier"):
        return {"estimators": [("a", LogisticRegression()), ("b", DecisionTreeClassifier(max_depth=2, random_state=0))]}
    if name == "CalibratedClassifierCV":
        return {"estimator": DecisionTreeClassifier(max_depth=3, random_state=0)}
    if name in ("TunedThresholdClassifierCV", "FixedThresholdClassifier"):
        return {"estimator": LogisticRegression()}
    if name == "TransformedTargetRegressor":
        return {"regressor": Ridge(), "func": np.exp, "inverse_func": np.log}
    return {}


STEPS: dict[str, Callable[[], Any]] = {
    "impute median": lambda: SimpleImputer(strategy="median"),
    "impute -999": lambda: SimpleImputer(strategy="constant", fill_value=-999),
    "impute, told": lambda: SimpleImputer(strategy="mean", add_indicator=True),
    "impute for -1": lambda: SimpleImputer(missing_values=-1, strategy="constant", fill_value=7),
    "standard": StandardScaler,
    "standard without mean": lambda: StandardScaler(with_mean=False),
    "minmax": MinMaxScaler,
    "minmax, clipped": lambda: MinMaxScaler(clip=True),
    "robust": RobustScaler,
    "power": PowerTransformer,
    "quantile": lambda: QuantileTransformer(n_quantiles=20),
    "bins": lambda: KBinsDiscretizer(n_bins=4, encode="ordinal", strategy="uniform"),
    "polynomial": lambda: PolynomialFeatures(2),
    "normal": Normalizer,
    "binary": lambda: Binarizer(threshold=0.5),
    "log": lambda: FunctionTransformer(np.log1p),
    "hash": lambda: FunctionTransformer(_hash),
    "square": lambda: FunctionTransformer(np.square),
    "floats": lambda: FunctionTransformer(np.asarray, kw_args={"dtype": "float64"}),
    "one-hot": lambda: OneHotEncoder(handle_unknown="ignore"),
    "one-hot, strict": OneHotEncoder,
    "one-hot, first dropped": lambda: OneHotEncoder(drop="first", handle_unknown="ignore"),
    "one-hot, rare": lambda: OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=8),
    "ordinal": lambda: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "ordinal, missing": lambda: OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    ),
}
TEXT_STEPS = tuple(name for name in STEPS if name.startswith(("one-hot", "ordinal")))
NUMBER_STEPS = tuple(name for name in STEPS if name not in TEXT_STEPS)
IMPUTING = tuple(name for name in NUMBER_STEPS if name.startswith("impute") and name != "impute for -1")


def _hash(data: Any) -> Any:
    """Integer arithmetic that wraps where the numbers are whole, and does not where they are floats."""
    with np.errstate(all="ignore"):
        return data * 40503 % 10007 / 10007


def before(steps: tuple[str, ...]) -> Any:
    """A transformer of whole frames: `steps` on the numbers, the text steps among them on the texts. None: nothing."""
    numbers = [STEPS[name]() for name in steps if name in NUMBER_STEPS]
    texts = [STEPS[name]() for name in steps if name in TEXT_STEPS]
    if not texts:
        return make_pipeline(*numbers) if numbers else None
    selected = make_column_selector(dtype_exclude=["object", "string", "bool"])
    parts = [
        ("numbers", make_pipeline(*numbers) if numbers else "passthrough", selected),
        ("texts", make_pipeline(*texts), make_column_selector(dtype_include=["object", "string", "bool"])),
    ]
    return ColumnTransformer(parts, sparse_threshold=0)
