"""The answers of estimators, by the method that MLflow calls."""

from __future__ import annotations

import inspect
from typing import Any, Callable, NamedTuple

from serinus_runtime.base.libraries import library
from serinus_runtime.compiling import forests
from serinus_runtime.compiling.boosters import Raw, catboost_raw, lightgbm_raw, xgboost_of, xgboost_sigmoid
from serinus_runtime.compiling.forests import both
from serinus_runtime.compiling.graph import Block, Graph, Unsupported
from serinus_runtime.compiling.known import check
from serinus_runtime.compiling.preprocessing import categories_first, transform


class Answers(NamedTuple):
    """Names of tensors, each [rows, n], where the estimator has them."""

    value: str | None = None
    """The result of `predict`, [rows, 1], where that is not a class."""
    probabilities: str | None = None
    """[rows, classes]"""
    decision: str | None = None
    """The result of `decision_function`: [rows, 1] for two classes, [rows, classes] for more."""
    margin: str | None = None
    """The value behind the answer, before a link function or a threshold (see `margins.margins_of`)."""
    label: str = "Greater"
    """For two classes, the comparison of `decision` with 0 for which the second one is answered. `ArgMax`: the most
    probable class is answered."""


def answers_of(graph: Graph, estimator: Any, block: Block) -> Answers:
    """Writes the answers of an estimator."""
    name, module = type(estimator).__name__, type(estimator).__module__.split(".")[0]
    if module == "sklearn" and name == "Pipeline":
        check(estimator)
        for _, step in estimator.steps[:-1]:
            if step is not None:
                block = transform(graph, step, block)
        return answers_of(graph, estimator.steps[-1][1], block)
    writer = _WRITERS.get((module, name))
    if writer is None:
        raise Unsupported(f"the model {name}")
    check(estimator)
    encoding = getattr(estimator, "_preprocessor", None)  # The encoder of HistGradientBoosting with categories.
    if encoding is not None:
        block = categories_first(graph, encoding, block)
    return writer(graph, estimator, block.numbers(name))


# --- what a sum becomes -------------------------------------------------------------------------------------


def sigmoid(graph: Graph, sums: str, slope: float = 1.0) -> str:
    """Writes the sigmoid."""
    if slope != 1.0:
        sums = graph.add("Mul", sums, graph.constant([[slope]]))
    return graph.add("Sigmoid", sums)


def linked(graph: Graph, raw: Raw) -> str:
    """Writes the link function in float64, whatever the type of the sums. The library's own rounding comes last."""
    wide = graph.cast(raw.name, "float64") if raw.kind != "float64" else raw.name
    if raw.link == "sigmoid":
        return sigmoid(graph, wide, raw.slope)
    if raw.link == "softmax":
        return graph.add("Softmax", wide, axis=1)
    return graph.add("Exp", wide) if raw.link == "exp" else wide


def _classified(graph: Graph, sums: str, targets: int) -> Answers:
    if targets == 1:
        return Answers(probabilities=both(graph, sigmoid(graph, sums)), decision=sums, margin=sums)
    return Answers(probabilities=graph.add("Softmax", sums, axis=1), decision=sums, margin=sums)


def _by_sums(model: Any) -> bool:
    """Whether `predict` compares the sums, as newer versions of scikit-learn do, instead of the probabilities."""
    code = getattr(inspect.unwrap(type(model).predict), "__code__", None)
    return code is not None and "astype" in code.co_names


# --- scikit-learn -------------------------------------------------------------------------------------------


def _linear(graph: Graph, model: Any, block: Block) -> str:
    numpy = library("numpy")
    block = block.doubles(type(model).__name__)
    if numpy.asarray(model.coef_).dtype != "float64":
        raise Unsupported(f"{type(model).__name__} that was trained in float32")
    weights = numpy.atleast_2d(numpy.asarray(model.coef_, dtype="float64")).T
    product = graph.add("MatMul", block.name, graph.constant(weights))
    return graph.add("Add", product, graph.constant(numpy.asarray(model.intercept_, dtype="float64").reshape(1, -1)))


def _logistic(graph: Graph, model: Any, block: Block) -> Answers:
    sums = _linear(graph, model, block)
    targets = int(model.coef_.shape[0])
    named = getattr(model, "multi_class", "auto")
    if targets == 1 and named == "multinomial":
        pair = graph.add("Concat", graph.add("Neg", sums), sums, axis=1)
        return Answers(probabilities=graph.add("Softmax", pair, axis=1), decision=sums, margin=sums)
    if targets > 1 and (named == "ovr" or model.solver == "liblinear"):
        raise Unsupported("LogisticRegression of many classes, one against the rest")
    return _classified(graph, sums, targets)


def _stochastic(graph: Graph, model: Any, block: Block) -> Answers:
    if model.loss not in ("log_loss", "log") or model.coef_.shape[0] != 1:
        raise Unsupported(f"SGDClassifier with {model.loss}")
    return _classified(graph, _linear(graph, model, block), 1)


def _regression(graph: Graph, model: Any, block: Block) -> Answers:
    if getattr(model.coef_, "ndim", 1) != 1:
        raise Unsupported("a regression with several targets")
    return Answers(value=_linear(graph, model, block))


def _forest(graph: Graph, model: Any, block: Block) -> Answers:
    shares = forests.forest_probabilities(graph, block, model)
    return Answers(probabilities=shares, margin=shares)


def _forest_regression(graph: Graph, model: Any, block: Block) -> Answers:
    return Answers(value=forests.forest_mean(graph, block, model))


def _boosting(graph: Graph, model: Any, block: Block) -> Answers:
    if model.loss not in ("log_loss", "deviance"):
        raise Unsupported(f"GradientBoosting with {model.loss}")
    found = _classified(graph, forests.boosted_sums(graph, block, model), len(model.estimators_[0]))
    return found._replace(label="GreaterOrEqual" if _by_sums(model) else "ArgMax")


def _boosting_regression(graph: Graph, model: Any, block: Block) -> Answers:
    return Answers(value=forests.boosted_sums(graph, block, model))


def _histogram(graph: Graph, model: Any, block: Block) -> Answers:
    if getattr(model, "loss", "log_loss") not in ("log_loss", "binary_crossentropy", "auto"):
        raise Unsupported(f"HistGradientBoosting with {model.loss}")
    found = _classified(graph, forests.histogram_sums(graph, block, model), len(model._predictors[0]))
    return found._replace(label="Greater" if _by_sums(model) else "ArgMax")


def _histogram_regression(graph: Graph, model: Any, block: Block) -> Answers:
    sums = forests.histogram_sums(graph, block, model)
    if model.loss in ("squared_error", "least_squares", "absolute_error", "quantile"):
        return Answers(value=sums)
    raise Unsupported(f"HistGradientBoosting with {model.loss}")


def _isolation(graph: Graph, model: Any, block: Block) -> Answers:
    """Writes an IsolationForest, which answers -1 for outliers."""
    decision = graph.add("Sub", forests.isolation_scores(graph, block, model), graph.constant([[float(model.offset_)]]))
    outlier = graph.add("Less", decision, graph.constant([[0.0]]))
    labels = (graph.constant([[label]], "int64") for label in (-1, 1))
    return Answers(value=graph.add("Where", outlier, *labels), margin=decision)


def _calibrated(graph: Graph, model: Any, block: Block) -> Answers:
    """Writes the mean of the folds, each of which calibrates its own estimator."""
    if len(model.classes_) != 2:
        raise Unsupported("CalibratedClassifierCV of many classes")
    parts = []
    for fold in model.calibrated_classifiers_:
        check(fold)
        estimator = getattr(fold, "estimator", None) or fold.base_estimator
        inner = answers_of(graph, estimator, block)
        if inner.decision is not None and hasattr(estimator, "decision_function"):
            said = inner.decision
        elif inner.probabilities is not None:
            said = graph.add("Gather", inner.probabilities, graph.constant([1], "int64"), axis=1)
        else:
            raise Unsupported("CalibratedClassifierCV around a regression")
        parts.append(_calibration(graph, fold.calibrators[0], graph.cast(said, "float64")))
    total = parts[0]
    for part in parts[1:]:
        total = graph.add("Add", total, part)
    mean = graph.add("Div", total, graph.constant([[float(len(parts))]]))
    shares = both(graph, mean)
    return Answers(probabilities=shares, margin=shares)


def _calibration(graph: Graph, calibrator: Any, said: str) -> str:
    check(calibrator)
    if type(calibrator).__name__ == "_SigmoidCalibration":  # Platt: 1 / (1 + exp(a f + b))
        line = graph.add("Mul", said, graph.constant([[-float(calibrator.a_)]]))
        return graph.add("Sigmoid", graph.add("Sub", line, graph.constant([[float(calibrator.b_)]])))
    if type(calibrator).__name__ != "IsotonicRegression" or calibrator.out_of_bounds != "clip":
        raise Unsupported(f"calibration by {type(calibrator).__name__}")
    return _interpolated(graph, calibrator.X_thresholds_, calibrator.y_thresholds_, said)


def _interpolated(graph: Graph, xs: Any, ys: Any, said: str) -> str:
    """Writes a piecewise linear function. The last x that is not above the value selects the segment."""
    numpy = library("numpy")
    xs, ys = (numpy.asarray(part, dtype="float64") for part in (xs, ys))
    if len(xs) < 2:
        raise Unsupported("an isotonic calibration of one step")
    slopes = numpy.diff(ys) / numpy.diff(xs)
    inside = graph.add("Clip", said, graph.constant(float(xs[0])), graph.constant(float(xs[-1])))
    passed = graph.add("LessOrEqual", graph.constant(xs[None, 1:-1]), inside)
    line = graph.add("ReduceSum", graph.cast(passed, "int64"), graph.constant([1], "int64"), keepdims=1)
    start, slope, height = (graph.add("Gather", graph.constant(part), line) for part in (xs[:-1], slopes, ys[:-1]))
    return graph.add("Add", graph.add("Mul", slope, graph.add("Sub", inside, start)), height)


# --- boosting libraries -------------------------------------------------------------------------------------


def _xgb_classifier(graph: Graph, model: Any, block: Block) -> Answers:
    raw = xgboost_of(graph, block, model)
    if raw.targets > 1:
        return Answers(probabilities=graph.cast(linked(graph, raw), "float32"), margin=raw.name, label="ArgMax")
    if raw.link != "sigmoid":
        raise Unsupported("an XGBClassifier without probabilities")
    positive = xgboost_sigmoid(graph, raw.name)
    rest = graph.add("Sub", graph.constant([[1.0]], "float32"), positive)
    return Answers(
        probabilities=graph.add("Concat", rest, positive, axis=1),
        decision=graph.add("Sub", graph.cast(positive, "float64"), graph.constant([[0.5]])),
        margin=raw.name,
    )


def _xgb_value(graph: Graph, model: Any, block: Block) -> Answers:
    raw = xgboost_of(graph, block, model)
    if raw.link == "softmax":
        raise Unsupported(f"{type(model).__name__} of many classes")
    if raw.link == "sigmoid":
        return Answers(value=xgboost_sigmoid(graph, raw.name), margin=raw.name)
    return Answers(value=graph.cast(linked(graph, raw), "float32"), margin=raw.name)


def _lgbm_classifier(graph: Graph, model: Any, block: Block) -> Answers:
    raw = lightgbm_raw(graph, block, model.booster_)
    said = linked(graph, raw)
    return Answers(probabilities=both(graph, said) if raw.targets == 1 else said, margin=raw.name)


def _lgbm_value(graph: Graph, model: Any, block: Block) -> Answers:
    raw = lightgbm_raw(graph, block, getattr(model, "booster_", model))
    return Answers(value=linked(graph, raw), margin=raw.name)


def _catboost_classifier(graph: Graph, model: Any, block: Block) -> Answers:
    raw = catboost_raw(graph, block.dense("CatBoost"), model)
    said = linked(graph, raw)
    if raw.targets > 1:
        return Answers(probabilities=said, margin=raw.name, label="ArgMax")
    return Answers(probabilities=both(graph, said), decision=raw.name, margin=raw.name)


def _catboost_regressor(graph: Graph, model: Any, block: Block) -> Answers:
    raw = catboost_raw(graph, block.dense("CatBoost"), model)
    return Answers(value=linked(graph, raw), margin=raw.name)


Writer = Callable[[Graph, Any, Block], Answers]

_SKLEARN: dict[str, Writer] = {
    "LogisticRegression": _logistic,
    "LogisticRegressionCV": _logistic,
    "SGDClassifier": _stochastic,
    "LinearRegression": _regression,
    "Ridge": _regression,
    "Lasso": _regression,
    "ElasticNet": _regression,
    "DecisionTreeClassifier": _forest,
    "RandomForestClassifier": _forest,
    "ExtraTreesClassifier": _forest,
    "DecisionTreeRegressor": _forest_regression,
    "RandomForestRegressor": _forest_regression,
    "ExtraTreesRegressor": _forest_regression,
    "GradientBoostingClassifier": _boosting,
    "GradientBoostingRegressor": _boosting_regression,
    "HistGradientBoostingClassifier": _histogram,
    "HistGradientBoostingRegressor": _histogram_regression,
    "IsolationForest": _isolation,
    "CalibratedClassifierCV": _calibrated,
}

_WRITERS: dict[Any, Writer] = {
    **{("sklearn", name): writer for name, writer in _SKLEARN.items()},
    ("xgboost", "XGBClassifier"): _xgb_classifier,
    ("xgboost", "XGBRegressor"): _xgb_value,
    ("xgboost", "Booster"): _xgb_value,
    ("lightgbm", "LGBMClassifier"): _lgbm_classifier,
    ("lightgbm", "LGBMRegressor"): _lgbm_value,
    ("lightgbm", "Booster"): _lgbm_value,
    ("catboost", "CatBoostClassifier"): _catboost_classifier,
    ("catboost", "CatBoostRegressor"): _catboost_regressor,
}
