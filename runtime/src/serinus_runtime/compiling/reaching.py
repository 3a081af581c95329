"""Rows that reach splits deep within trees. A wrong threshold only shows where a row reaches it."""

from __future__ import annotations

import math
from typing import Iterator, Mapping, NamedTuple, Sequence

from serinus_runtime.compiling.graph import Feature
from serinus_runtime.compiling.trees import MEMBER, Split, Tree, splits

_MOST_VISITED = 20_000
"""The largest number of splits that are visited. With more, only every second, third ... tree is."""

_Limits = Mapping[int, "tuple[float, float]"]


class Reached(NamedTuple):
    """A split that can be reached. `column` is the index of the caller's column and `value` the threshold. With the
    values of other columns in `path`, a row gets there."""

    column: int
    value: float
    path: Mapping[int, float]


def reached(features: Sequence[Feature], trees: Sequence[Tree]) -> list[Reached]:
    """Returns splits with the values by which rows reach them."""
    sizes = [sum(1 for _ in splits(tree)) for tree in trees]
    every = max(1, -(-sum(sizes) // _MOST_VISITED))
    return [one for tree in trees[::every] for one in _of_tree(features, tree)]


def _of_tree(features: Sequence[Feature], tree: Tree) -> Iterator[Reached]:
    waiting: list[tuple[Tree, _Limits]] = [(tree, {})]
    while waiting:
        node, limits = waiting.pop()
        if not isinstance(node, Split):
            continue
        if node.mode == MEMBER:
            waiting += [(node.yes, limits), (node.no, limits)]
            continue
        found = _row(features, node, limits)
        if found is not None:
            yield found
        low, high = limits.get(node.feature, (-math.inf, math.inf))
        below, above = (node.no, node.yes) if node.above else (node.yes, node.no)
        waiting.append((below, {**limits, node.feature: (low, min(high, node.threshold))}))
        waiting.append((above, {**limits, node.feature: (max(low, node.threshold), high)}))


def _row(features: Sequence[Feature], node: Split, limits: _Limits) -> Reached | None:
    """Returns the values. None: the split does not depend on a single column of the caller."""
    own = features[node.feature]
    if own.source is None or own.text or not own.scale:
        return None
    path = {}
    for index, (low, high) in limits.items():
        feature = features[index]
        if index != node.feature and feature.source is not None and feature.scale and not feature.text:
            path[feature.source] = (_between(low, high) - feature.shift) / feature.scale
    path.pop(own.source, None)
    return Reached(own.source, (node.threshold - own.shift) / own.scale, path)


def _between(low: float, high: float) -> float:
    if math.isinf(low):
        return high - 1.0 - abs(high) / 2 if math.isfinite(high) else 0.0
    return low + 1.0 + abs(low) / 2 if math.isinf(high) else low + (high - low) / 2
