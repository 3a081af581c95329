"""Ensembles of decision trees as one TreeEnsemble node. ONNX Runtime adds trees in their order."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, NamedTuple, Sequence, Union

from serinus_runtime.base.libraries import library
from serinus_runtime.compiling.graph import ML, Block, Graph, Unsupported

LEQ, LT, GT, MEMBER = 0, 1, 3, 6
"""Values of TreeEnsemble's `nodes_modes`: take the true branch where x <= split, x < split, x > split, x in members."""


class Leaf(NamedTuple):
    """A leaf."""

    weight: float
    target: int = 0


class Split(NamedTuple):
    """A split. `yes` and `no` are its children. `missing`: whether NaN goes to `yes`.

    `members` is for a `MEMBER` split. It is only used for features of whole numbers, because ONNX Runtime truncates
    fractions in some cases.
    """

    feature: int
    threshold: float
    yes: Tree
    no: Tree
    mode: int = LEQ
    missing: bool = False
    members: tuple[int, ...] = ()

    @property
    def above(self) -> bool:
        """Whether `yes` is for the numbers above the threshold."""
        return self.mode == GT


Tree = Union[Leaf, Split]


class FlatTree(NamedTuple):
    """A tree as arrays by node, as libraries store it. Children of leaves are below 0 or equal to each other. `members`
    has the categories that go left by node."""

    left: Sequence[int]
    right: Sequence[int]
    feature: Sequence[int]
    threshold: Sequence[float]
    weight: Sequence[float]
    missing_left: Sequence[bool]
    members: Mapping[int, tuple[int, ...]] = {}

    def nested(self, mode: int, target: int = 0, scale: float = 1.0) -> Tree:
        """Returns the tree as nodes. Parents come before children in every library's arrays, so no recursion is
        needed."""
        built: list[Tree | None] = [None] * len(self.left)
        for i in range(len(self.left) - 1, -1, -1):
            left, right = int(self.left[i]), int(self.right[i])
            if left < 0:
                built[i] = Leaf(float(self.weight[i]) * scale, target)
                continue
            yes, no = built[left], built[right]
            if yes is None or no is None:
                raise Unsupported("trees whose nodes are not in order")
            feature, missing = int(self.feature[i]), bool(self.missing_left[i])
            if i in self.members:
                built[i] = Split(feature, 0.0, yes, no, MEMBER, missing, self.members[i])
            else:
                built[i] = Split(feature, float(self.threshold[i]), yes, no, mode, missing)
        root = built[0]
        if root is None:
            raise Unsupported("a tree without nodes")
        return root


def splits(tree: Tree) -> Iterator[Split]:
    """Yields the splits of a tree."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Split):
            yield node
            waiting += [node.yes, node.no]


class _Arrays:
    def __init__(self) -> None:
        self.features: list[int] = []
        self.modes: list[int] = []
        self.thresholds: list[float] = []
        self.missing: list[int] = []
        self.members: list[float] = []
        """The members of the `MEMBER` splits, one split after the other, with a NaN after each."""
        self.children: list[list[int]] = [[], []]
        self.is_leaf: list[list[int]] = [[], []]
        self.weights: list[float] = []
        self.targets: list[int] = []
        self.roots: list[int] = []

    def tree(self, tree: Tree) -> None:
        self.roots.append(len(self.features))
        if isinstance(tree, Leaf):  # The root must be a node, so both branches lead to the same leaf.
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
            if split.mode == MEMBER:
                self.members += [*split.members, float("nan")]
            for branch, child in enumerate((split.yes, split.no)):
                leaf = isinstance(child, Leaf)
                self.is_leaf[branch].append(int(leaf))
                self.children[branch].append(len(self.weights) if leaf else -1)
                if leaf:
                    self.weights.append(child.weight)
                    self.targets.append(child.target)
                else:
                    waiting.append((child, place, branch))
            # The true branch comes first, so that neighbours in the tree are neighbours in memory.
            if len(waiting) > 1 and waiting[-1][2] == 1 and waiting[-2][1] == place:
                waiting[-1], waiting[-2] = waiting[-2], waiting[-1]


def ensemble(graph: Graph, block: Block, trees: Sequence[Tree], targets: int = 1, kind: str = "float64") -> str:
    """Returns the name of the sums [rows, targets]. `kind` is the type of the block's tensor, of comparisons and of
    sums."""
    block.numbers("trees")
    arrays = _Arrays()
    graph.demands.ensembles.append((block.features, trees))
    for tree in trees:
        arrays.tree(tree)
        for split in splits(tree):
            for value in split.members or (split.threshold,):
                graph.split_at(block.features[split.feature], float(value))
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
        membership_values=numpy.array(arrays.members, dtype=kind) if arrays.members else None,
        nodes_missing_value_tracks_true=arrays.missing if any(arrays.missing) else None,
        nodes_truenodeids=arrays.children[0],
        nodes_falsenodeids=arrays.children[1],
        nodes_trueleafs=arrays.is_leaf[0],
        nodes_falseleafs=arrays.is_leaf[1],
        tree_roots=arrays.roots,
        leaf_targetids=arrays.targets,
        leaf_weights=numpy.array(arrays.weights, dtype=kind),
    )
