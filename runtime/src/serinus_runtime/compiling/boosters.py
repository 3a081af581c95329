"""XGBoost, LightGBM and CatBoost, from the JSON that each of them writes."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

from serinus_runtime.base.libraries import library
from serinus_runtime.compiling.graph import Block, Graph, Unsupported
from serinus_runtime.compiling.known import genuine
from serinus_runtime.compiling.trees import GT, LEQ, LT, MEMBER, FlatTree, Leaf, Split, Tree, ensemble, splits


class Raw(NamedTuple):
    """The sums of the leaves, [rows, targets], of type `kind`, and the link function that the library applies."""

    name: str
    targets: int
    kind: str
    link: str
    """`sigmoid`, `softmax`, `identity` or `exp`."""
    slope: float = 1.0
    """The slope of the sigmoid."""


# --- XGBoost ------------------------------------------------------------------------------------------------

_XGBOOST_LINKS = {
    "binary:logistic": "sigmoid", "reg:logistic": "sigmoid", "binary:logitraw": "identity",
    "reg:squarederror": "identity", "reg:absoluteerror": "identity", "reg:pseudohubererror": "identity",
    "multi:softprob": "softmax", "multi:softmax": "softmax", "count:poisson": "exp", "reg:gamma": "exp",
    "reg:tweedie": "exp",
}  # fmt: skip


_XGBOOST_MODEL = ("learner", "version")
_XGBOOST_LEARNER = ("attributes", "feature_names", "feature_types", "gradient_booster", "learner_model_param",
                    "objective")  # fmt: skip
_XGBOOST_PARAMETERS = ("base_score", "boost_from_average", "num_class", "num_feature", "num_target")
_XGBOOST_TREES = ("cats", "gbtree_model_param", "iteration_indptr", "tree_info", "trees")


def xgboost_of(graph: Graph, block: Block, model: Any) -> Raw:
    """Writes a Booster, or an estimator with its own settings: its missing value and the number of rounds."""
    if not hasattr(model, "get_booster"):
        return xgboost_raw(graph, block, model, None, None)
    if getattr(model, "booster", None) not in (None, "gbtree"):
        raise Unsupported(f"{type(model).__name__}.booster={model.booster}")
    if any(kind == "c" for kind in model.feature_types or ()):
        raise Unsupported("XGBoost with categorical columns")
    booster = model.get_booster()
    genuine(booster)
    return xgboost_raw(graph, block, booster, best_rounds(model), _xgboost_missing(model))


def _xgboost_missing(model: Any) -> float | None:
    """Returns the number that stands for a missing value. None: only NaN does."""
    missing = model.missing
    if isinstance(missing, bool) or not isinstance(missing, (int, float)) or math.isinf(missing):
        raise Unsupported(f"{type(model).__name__}.missing={missing}")
    return None if missing != missing else float(library("numpy").float32(missing))


def best_rounds(model: Any) -> int | None:
    """Returns the number of rounds of an XGBoost estimator whose training was stopped early. None: all."""
    try:
        best = model.best_iteration
    except AttributeError:
        return None
    return None if best is None else int(best) + 1


def xgboost_raw(graph: Graph, block: Block, booster: Any, rounds: int | None, missing: float | None) -> Raw:
    """Writes the trees. XGBoost compares and adds in float32.

    `rounds` is the number of rounds. None: all. `missing` is a number that stands for a missing value, as a float32, in
    addition to NaN.
    """
    saved = _saved_json(booster, "model.json")
    learner = saved["learner"]
    objective = learner["objective"]["name"]
    gradient_booster = learner["gradient_booster"]
    if gradient_booster["name"] != "gbtree" or objective not in _XGBOOST_LINKS:
        raise Unsupported("XGBoost with {} and {}".format(gradient_booster["name"], objective))
    model, parameter = gradient_booster["model"], learner["learner_model_param"]
    for part, known in ((saved, _XGBOOST_MODEL), (learner, _XGBOOST_LEARNER), (parameter, _XGBOOST_PARAMETERS),
                        (model, _XGBOOST_TREES)):  # fmt: skip
        only("XGBoost", part, known)
    targets = max(1, int(parameter["num_class"]))
    if int(parameter.get("num_target", 1)) > 1:
        raise Unsupported("XGBoost with several targets")
    link = _XGBOOST_LINKS[objective]
    base = [_margin(value, link) for value in _base_scores(parameter["base_score"], targets)]
    trees: list[Tree] = [Leaf(value, target) for target, value in enumerate(base)]
    for tree, target in list(zip(model["trees"], model["tree_info"]))[: _tree_count(model, targets, rounds)]:
        trees.append(_xgboost_tree(tree, target))
    block = _without(graph, block, 0.0, "float64") if block.sparse else block
    graph.fits_float32(block)
    single = replace(block, name=graph.cast(block.name, "float32"))
    if missing is not None:
        single = _without(graph, single, missing, "float32")
    return Raw(ensemble(graph, single, trees, targets, "float32"), targets, "float32", link)


def _without(graph: Graph, block: Block, value: float, kind: str) -> Block:
    """Replaces `value` by NaN. XGBoost takes the omitted values of a sparse matrix for missing as well."""
    same = graph.add("Equal", block.name, graph.constant([[value]], kind))
    for feature in block.features:
        graph.names(feature, value)
    return replace(block, name=graph.add("Where", same, graph.constant([[math.nan]], kind), block.name))


def xgboost_sigmoid(graph: Graph, margins: str) -> str:
    """Writes the sigmoid as XGBoost computes it: 1 / (1 + e) in float32, with e rounded to float32."""
    one = graph.constant([[1.0]], "float32")
    power = graph.add("Exp", graph.add("Neg", graph.cast(margins, "float64")))
    return graph.add("Div", one, graph.add("Add", graph.cast(power, "float32"), one))


def only(library_name: str, found: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raises Unsupported where the library's JSON has a field that no tested version writes."""
    for key in found:
        if key not in known:
            raise Unsupported(f"{library_name} with {key}, which is not known to the compiler,")


def _tree_count(model: Mapping[str, Any], targets: int, rounds: int | None) -> int:
    if rounds is None:
        return len(model["trees"])
    starts = model.get("iteration_indptr")
    if starts:
        return int(starts[min(rounds, len(starts) - 1)])
    return rounds * targets * int(model["gbtree_model_param"].get("num_parallel_tree", 1) or 1)


def _xgboost_tree(tree: Mapping[str, Any], target: int) -> Tree:
    if tree.get("categories_nodes") or any(tree.get("split_type") or ()):
        raise Unsupported("XGBoost with categorical splits")
    if int((tree.get("tree_param") or {}).get("size_leaf_vector", 1) or 1) > 1:
        raise Unsupported("XGBoost with several numbers a leaf")
    thresholds = tree["split_conditions"]
    flat = FlatTree(
        tree["left_children"], tree["right_children"], tree["split_indices"], thresholds, thresholds,
        tree["default_left"],
    )  # fmt: skip
    return flat.nested(LT, target)


def _saved_json(booster: Any, name: str, **how: Any) -> Any:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        booster.save_model(str(path), **how)
        return json.loads(path.read_text(encoding="utf-8"))


def _base_scores(text: str, targets: int) -> list[float]:
    found = json.loads(text) if text.startswith("[") else float(text)
    values = [float(value) for value in found] if isinstance(found, list) else [float(found)]
    return values * targets if len(values) == 1 else values


def _margin(score: float, link: str) -> float:
    """Returns the margin of a score in float32, as XGBoost computes it."""
    single = library("numpy").float32
    if link == "sigmoid":
        return float(-library("numpy").log(single(1) / single(score) - single(1)))
    return float(single(math.log(score))) if link == "exp" else score


# --- LightGBM -----------------------------------------------------------------------------------------------


_LIGHTGBM_LINKS = {
    "binary": "sigmoid", "cross_entropy": "sigmoid", "regression": "identity", "regression_l1": "identity",
    "huber": "identity", "multiclass": "softmax", "poisson": "exp", "gamma": "exp", "tweedie": "exp",
}  # fmt: skip


_LIGHTGBM_MODEL = ("average_output", "feature_importances", "feature_infos", "feature_names", "label_index",
                   "max_feature_idx", "monotone_constraints", "name", "num_class", "num_tree_per_iteration",
                   "objective", "pandas_categorical", "tree_info", "version")  # fmt: skip
_LIGHTGBM_TREE = ("num_cat", "num_leaves", "shrinkage", "tree_index", "tree_structure")
_LIGHTGBM_LEAF = ("leaf_count", "leaf_index", "leaf_value", "leaf_weight")
_LIGHTGBM_NODE = ("decision_type", "default_left", "internal_count", "internal_value", "internal_weight", "left_child",
                  "missing_type", "right_child", "split_feature", "split_gain", "split_index", "threshold")  # fmt: skip


def lightgbm_raw(graph: Graph, block: Block, booster: Any) -> Raw:
    """Writes the rounds by which LightGBM predicts. It compares and adds in float64."""
    genuine(booster)
    rounds = booster.best_iteration
    dumped = booster.dump_model(num_iteration=rounds if rounds and rounds > 0 else -1)
    only("LightGBM", dumped, _LIGHTGBM_MODEL)
    words = str(dumped["objective"]).split()
    known = bool(words) and words[0] in _LIGHTGBM_LINKS
    if not known or any(not word.startswith(("sigmoid:", "num_class:")) for word in words[1:]):
        raise Unsupported("LightGBM with %s" % (" ".join(words) or "an objective of its own"))
    if dumped.get("average_output"):
        raise Unsupported("LightGBM that answers the mean of its trees")
    if any(dumped.get("pandas_categorical") or ()):
        raise Unsupported("LightGBM with pandas categories")
    slopes = [float(word.split(":")[1]) for word in words if word.startswith("sigmoid:")]
    targets = int(dumped["num_tree_per_iteration"])
    trees = []
    for i, tree in enumerate(dumped["tree_info"]):
        only("LightGBM", tree, _LIGHTGBM_TREE)
        trees.append(_lightgbm_tree(tree["tree_structure"], i % targets))
    sums = ensemble(graph, _whole_categories(graph, block, trees), trees, targets)
    return Raw(sums, targets, "float64", _LIGHTGBM_LINKS[words[0]], *slopes)


def _whole_categories(graph: Graph, block: Block, trees: Sequence[Tree]) -> Block:
    """Truncates categories to whole numbers, as LightGBM does."""
    found = {split.feature for tree in trees for split in splits(tree) if split.mode == MEMBER}
    if not found:
        return block
    whole = graph.cast(graph.cast(block.name, "int64"), "float64")
    mask = graph.constant([[i in found for i in range(block.width)]], "bool")
    return replace(block, name=graph.add("Where", mask, whole, block.name))


_ZERO = 1.0000000180025095e-35
"""LightGBM's kZeroThreshold, a float32. Numbers up to it count as zero."""


def _lightgbm_tree(node: Mapping[str, Any], target: int) -> Tree:
    if "split_index" not in node:
        only("LightGBM", node, _LIGHTGBM_LEAF)
        return Leaf(float(node["leaf_value"]), target)
    only("LightGBM", node, _LIGHTGBM_NODE)
    left, right = (_lightgbm_tree(node[side], target) for side in ("left_child", "right_child"))
    if node["decision_type"] == "==":
        members = tuple(int(category) for category in node["threshold"].split("||"))
        return Split(int(node["split_feature"]), 0.0, left, right, MEMBER, members=members)
    if node["decision_type"] != "<=":
        raise Unsupported("LightGBM with splits by {}".format(node["decision_type"]))
    threshold, default_left = float(node["threshold"]), bool(node["default_left"])
    kind = node["missing_type"]
    if kind == "Zero":
        raise Unsupported("LightGBM that takes zero for missing")
    # Where nothing was missing in training, NaN counts as zero.
    missing = default_left if kind == "NaN" else threshold >= 0.0
    return Split(int(node["split_feature"]), threshold, left, right, LEQ, missing)


# --- CatBoost -----------------------------------------------------------------------------------------------

_CATBOOST_LINKS = {"Logloss": "sigmoid", "CrossEntropy": "sigmoid", "RMSE": "identity", "MAE": "identity",
                   "MultiClass": "softmax"}  # fmt: skip


def catboost_raw(graph: Graph, block: Block, model: Any) -> Raw:
    """Writes symmetric trees on numbers. CatBoost compares in float32 and adds in float64."""
    saved = _saved_json(model, "model.json", format="json")
    only("CatBoost", saved, ("features_info", "model_info", "oblivious_trees", "scale_and_bias", "trees"))
    only("CatBoost", saved["features_info"], ("categorical_features", "embedding_features", "float_features",
                                              "text_features"))  # fmt: skip
    loss = str(saved["model_info"]["params"]["loss_function"]["type"])
    if loss not in _CATBOOST_LINKS:
        raise Unsupported(f"CatBoost with {loss}")
    _check_catboost_threshold(model)
    features = saved["features_info"]
    others = ("categorical_features", "text_features", "embedding_features")
    if any(features.get(name) for name in others) or "oblivious_trees" not in saved:
        raise Unsupported("CatBoost with features that are not numbers, or with trees that are not symmetric")
    floats = features["float_features"]
    scale, bias = saved.get("scale_and_bias") or (1.0, [0.0])
    biases = [float(value) for value in (bias if isinstance(bias, list) else [bias])]
    targets = len(saved["oblivious_trees"][0]["leaf_values"]) // len(saved["oblivious_trees"][0]["leaf_weights"])
    trees: list[Tree] = []
    for tree in saved["oblivious_trees"]:
        trees.extend(_catboost_tree(tree, floats, targets, target) for target in range(targets))
    sums = ensemble(graph, graph.single(block), trees, targets)
    scaled = graph.add("Mul", sums, graph.constant([[float(scale)]])) if scale != 1 else sums
    shifted = graph.add("Add", scaled, graph.constant([biases])) if any(biases) else scaled
    return Raw(shifted, targets, "float64", _CATBOOST_LINKS[loss])


def _check_catboost_threshold(model: Any) -> None:
    """Raises Unsupported where the probability threshold of the second class was changed."""
    ask = getattr(model, "get_probability_threshold", None)
    threshold = 0.5 if ask is None else ask()
    if threshold not in (None, 0.5):
        raise Unsupported(f"CatBoost with a probability_threshold of {threshold}")


def _catboost_tree(tree: Mapping[str, Any], floats: Sequence[Mapping[str, Any]], targets: int, target: int) -> Tree:
    """Returns a tree. Bit i of a leaf's number says whether split i holds. It is built from the leaves, and split 0
    decides the lowest bit."""
    level: list[Tree] = [Leaf(float(value), target) for value in tree["leaf_values"][target::targets]]
    for split in tree["splits"] or ():
        if split.get("split_type", "FloatFeature") != "FloatFeature":
            raise Unsupported("CatBoost with splits on categories")
        feature = floats[split["float_feature_index"]]
        missing = feature.get("nan_value_treatment") == "AsTrue"
        level = [
            Split(int(feature["flat_feature_index"]), float(split["border"]), yes, no, GT, missing)
            for no, yes in zip(level[::2], level[1::2])
        ]
    return level[0]
