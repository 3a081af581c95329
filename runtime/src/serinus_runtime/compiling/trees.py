"""Ensembles of decision trees as one TreeEnsemble node, whose sum ONNX Runtime takes in the order of the trees."""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence, Union

from serinus_runtime.compiling.graph import ML, Block, Graph, Unsupported
from serinus_runtime.libraries import library

LEQ, LT, GT, EQ = 0, 1, 3, 4
"""Of TreeEnsemble's `nodes_modes`: go to the true branch where x <= split, x < split, x > split, x == split."""


class Leaf(NamedTuple):
    weight: float
    target: int = 0


class Split(NamedTuple):
    """`yes` and `no` are children; `missing`: whether NaN goes to `yes`."""

    feature: int
    threshold: float
    yes: Tree
    no: Tree
    mode: int = LEQ
    missing: bool = False


Tree = Union[Leaf, Split]


class FlatTree(NamedTuple):
    """A tree as libraries keep it: arrays by node, children below 0 (or equal to each other) at a leaf."""

    left: Sequence[int]
    right: Sequence[int]
    feature: Sequence[int]
    threshold: Sequence[float]
    weight: Sequence[float]
    missing_left: Sequence[bool]

    def nested(self, mode: int, target: int = 0, scale: float = 1.0) -> Tree:
        """Children first: parents come before their children in every library's arrays, so no recursion is needed."""
        built: list[Tree | None] = [None] * len(self.left)
        for i in range(len(self.left) - 1, -1, -1):
            left, right = int(self.left[i]), int(self.right[i])
            if left < 0:
                built[i] = Leaf(float(self.weight[i]) * scale, target)
                continue
            yes, no = built[left], built[right]
            if yes is None or no is None:
                raise Unsupported("trees whose nodes are not in order")
            built[i] = Split(int(self.feature[i]), float(self.threshold[i]), yes, no, mode, bool(self.missing_left[i]))
        root = built[0]
        if root is None:
            raise Unsupported("a tree without nodes")
        return root


class _Arrays:
    def __init__(self) -> None:
        self.features: list[int] = []
        self.modes: list[int] = []
        self.thresholds: list[float] = []
        self.missing: list[int] = []
        self.children: list[list[int]] = [[], []]
        self.is_leaf: list[list[int]] = [[], []]
        self.weights: list[float] = []
        self.targets: list[int] = []
        self.roots: list[int] = []

    def tree(self, tree: Tree) -> None:
        self.roots.append(len(self.features))
        if isinstance(tree, Leaf):  # a root must be a node: both ways lead to the same
            tree = Split(0, 0.0, tree, tree)
        waiting: list[Any] = [(tree, None, 0)]
        while waiting:
            split, parent, side = waiting.pop()
            place = len(self.features)
            if parent is not None:
                self.children[side][parent] = place
            self.features.append(split.feature)
            self.modes.append(split.mode)
            self.thresholds.append(split.threshold)
            self.missing.append(int(split.missing))
            for branch, child in enumerate((split.yes, split.no)):
                leaf = isinstance(child, Leaf)
                self.is_leaf[branch].append(int(leaf))
                self.children[branch].append(len(self.weights) if leaf else -1)
                if leaf:
                    self.weights.append(child.weight)
                    self.targets.append(child.target)
                else:
                    waiting.append((child, place, branch))
            # The true branch is taken up first: neighbours in the tree are neighbours in memory.
            if len(waiting) > 1 and waiting[-1][2] == 1 and waiting[-2][1] == place:
                waiting[-1], waiting[-2] = waiting[-2], waiting[-1]


def ensemble(graph: Graph, block: Block, trees: Sequence[Tree], targets: int = 1, kind: str = "float64") -> str:
    """Name of the sums [rows, targets]. `kind`: type of the block's tensor, of the comparisons and of the sums."""
    block.numbers("trees")
    arrays = _Arrays()
    for tree in trees:
        arrays.tree(tree)
    for feature, threshold in zip(arrays.features, arrays.thresholds):
        graph.split_at(block.features[feature], threshold)
    numpy = library("numpy")
    return graph.add(
        "TreeEnsemble",
        block.name,
        domain=ML,
        n_targets=targets,
        aggregate_function=1,
        post_transform=0,
        nodes_featureids=arrays.features,
        nodes_modes=numpy.array(arrays.modes, dtype="uint8"),
        nodes_splits=numpy.array(arrays.thresholds, dtype=kind),
        nodes_missing_value_tracks_true=arrays.missing if any(arrays.missing) else None,
        nodes_truenodeids=arrays.children[0],
        nodes_falsenodeids=arrays.children[1],
        nodes_trueleafs=arrays.is_leaf[0],
        nodes_falseleafs=arrays.is_leaf[1],
        tree_roots=arrays.roots,
        leaf_targetids=arrays.targets,
        leaf_weights=numpy.array(arrays.weights, dtype=kind),
    )
