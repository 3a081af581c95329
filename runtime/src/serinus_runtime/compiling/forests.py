"""scikit-learn's ensembles of trees. Trees are added in order in float64, and so they are in the graph."""

from __future__ import annotations

from typing import Any, Sequence

from serinus_runtime.base.libraries import library
from serinus_runtime.compiling.graph import Block, Graph, Unsupported
from serinus_runtime.compiling.trees import LEQ, FlatTree, Leaf, Tree, ensemble

_NO_CODE = (-1,)
"""Used where only missing values go left, because a set in a graph must not be empty."""


def flat(tree: Any, weights: Any) -> FlatTree:
    """Returns a tree of `estimator.tree_`. `weights` has one number for each node, of which those of leaves count."""
    missing = getattr(tree, "missing_go_to_left", None)
    return FlatTree(
        tree.children_left.tolist(), tree.children_right.tolist(), tree.feature.tolist(), tree.threshold.tolist(),
        list(weights), [False] * tree.node_count if missing is None else missing.tolist(),
    )  # fmt: skip


def forest_probabilities(graph: Graph, block: Block, forest: Any) -> str:
    """Writes the mean of the leaves' class shares over the trees, [rows, classes]. A single tree is accepted as
    well."""
    estimators = getattr(forest, "estimators_", None) or [forest]
    if forest.n_outputs_ != 1:
        raise Unsupported("a forest with several outputs")
    classes = int(forest.n_classes_)
    wanted = [1] if classes == 2 else range(classes)
    trees: list[Tree] = []
    for estimator in estimators:
        value = estimator.tree_.value[:, 0, :]
        shares = value / value.sum(axis=1, keepdims=True)
        trees += [flat(estimator.tree_, shares[:, k]).nested(LEQ, i) for i, k in enumerate(wanted)]
    sums = ensemble(graph, graph.single(block), trees, len(wanted))
    mean = graph.add("Div", sums, graph.constant([[float(len(estimators))]]))
    return both(graph, mean) if classes == 2 else mean


def both(graph: Graph, positive: str) -> str:
    """Writes [1 - p, p]."""
    return graph.add("Concat", graph.add("Sub", graph.constant([[1.0]]), positive), positive, axis=1)


def forest_mean(graph: Graph, block: Block, forest: Any) -> str:
    """Writes the mean of a regression forest's trees, [rows, 1]."""
    estimators = getattr(forest, "estimators_", None) or [forest]
    if forest.n_outputs_ != 1:
        raise Unsupported("a forest with several outputs")
    trees = [flat(e.tree_, e.tree_.value[:, 0, 0]).nested(LEQ) for e in estimators]
    sums = ensemble(graph, graph.single(block), trees)
    return graph.add("Div", sums, graph.constant([[float(len(estimators))]]))


def boosted_sums(graph: Graph, block: Block, model: Any) -> str:
    """Writes the sums of GradientBoosting's trees, [rows, 1 or classes]."""
    stages: Sequence[Sequence[Any]] = model.estimators_.tolist()
    targets = len(stages[0])
    numpy = library("numpy")
    if model.init_ is None or (isinstance(model.init_, str) and model.init_ == "zero"):
        start = [0.0] * targets
    elif type(model.init_).__name__ in ("DummyClassifier", "DummyRegressor"):
        sample = numpy.zeros((1, model.n_features_in_), dtype="float32")
        start = [float(value) for value in numpy.ravel(model._raw_predict_init(sample))]
    else:
        raise Unsupported("GradientBoosting that begins with another model")
    trees: list[Tree] = [Leaf(value, target) for target, value in enumerate(start)]
    for stage in stages:
        for target, estimator in enumerate(stage):
            weights = estimator.tree_.value[:, 0, 0]
            trees.append(flat(estimator.tree_, weights).nested(LEQ, target, float(model.learning_rate)))
    return ensemble(graph, graph.single(block), trees, targets)


def histogram_sums(graph: Graph, block: Block, model: Any) -> str:
    """Writes the sums of HistGradientBoosting's trees, [rows, 1 or classes]. It compares in float64."""
    if getattr(model, "is_categorical_", None) is not None and getattr(model, "_preprocessor", None) is None:
        raise Unsupported("HistGradientBoosting with categorical features, of scikit-learn before 1.4")
    baseline = library("numpy").ravel(model._baseline_prediction)
    trees: list[Tree] = [Leaf(float(value), target) for target, value in enumerate(baseline)]
    for stage in model._predictors:
        for target, predictor in enumerate(stage):
            trees.append(_histogram_tree(predictor, target))
    return ensemble(graph, block, trees, len(baseline))


def _histogram_tree(predictor: Any, target: int) -> Tree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    left = library("numpy").where(leaf, -1, nodes["left"].astype("int64"))
    return FlatTree(
        left.tolist(), nodes["right"].tolist(), nodes["feature_idx"].tolist(), nodes["num_threshold"].tolist(),
        nodes["value"].tolist(), nodes["missing_go_to_left"].astype(bool).tolist(), _left_categories(predictor),
    ).nested(LEQ, target)  # fmt: skip


def _left_categories(predictor: Any) -> dict[int, tuple[int, ...]]:
    """Returns the codes of the categories that go left, by node. They are stored as bits in words of 32."""
    nodes = predictor.nodes
    found = {}
    for i in library("numpy").flatnonzero(nodes["is_categorical"] & (nodes["is_leaf"] == 0)).tolist():
        words = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][i]].tolist()
        codes = tuple(code for code in range(32 * len(words)) if words[code // 32] >> code % 32 & 1)
        found[i] = codes or _NO_CODE
    return found


def isolation_scores(graph: Graph, block: Block, forest: Any) -> str:
    """Writes `score_samples`, [rows, 1]: -2 ^ (-mean path length / expected path length)."""
    trees: list[Tree] = []
    expected: float | None = None
    for estimator, features in zip(forest.estimators_, forest.estimators_features_):
        if list(features) != list(range(block.width)):
            raise Unsupported("IsolationForest on some of the features")
        trees.append(flat(estimator.tree_, _path_lengths(estimator.tree_)).nested(LEQ))
    expected = _average_path_length(forest.max_samples_) * len(forest.estimators_)
    depths = ensemble(graph, graph.single(block), trees)
    exponent = graph.add("Div", depths, graph.constant([[-expected]]))
    power = graph.add("Exp", graph.add("Mul", exponent, graph.constant([[float(library("numpy").log(2.0))]])))
    return graph.add("Neg", power)


def _path_lengths(tree: Any) -> list[float]:
    """Returns the depth of each node plus the expected depth of an unbuilt tree over its samples (Liu, Ting and Zhou,
    2008, equation 1)."""
    depth = [0] * tree.node_count
    for i, (left, right) in enumerate(zip(tree.children_left.tolist(), tree.children_right.tolist())):
        if left >= 0:
            depth[left] = depth[right] = depth[i] + 1
    return [d + _average_path_length(n) for d, n in zip(depth, tree.n_node_samples.tolist())]


def _average_path_length(samples: float) -> float:
    numpy = library("numpy")
    if samples <= 1:
        return 0.0
    if samples <= 2:
        return 1.0
    return float(2.0 * (numpy.log(samples - 1.0) + numpy.euler_gamma) - 2.0 * (samples - 1.0) / samples)
