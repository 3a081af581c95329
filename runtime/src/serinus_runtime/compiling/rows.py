"""The rows of a proof: the model's own rows, and rows derived from them at points where two computations may differ."""

from __future__ import annotations

import math
import random
import struct
from typing import Any, Callable, List, Mapping, Sequence, TypeVar

from serinus_runtime.artifact.signature import Column
from serinus_runtime.compiling.graph import EXACT, Demands
from serinus_runtime.compiling.reaching import Reached, reached

RowList = List[List[Any]]
_Any = TypeVar("_Any")

MOST_OF_THE_MODEL = 2000
_MOST_TEXTS = 40
MOST_AT_SPLITS = 3000
"""The number of rows on and beside thresholds of trees. Of more thresholds an even selection is used, and the proof
says which share."""
MOST_REACHED = 1000
"""The number of splits within trees that three rows each reach."""
_MIXED = 100
_UNSEEN = "no category of any model: 3f9a2c"
_WHOLE = {"integer": 1 << 31, "long": 1 << 63}
_ENDS = (1 << 24, 1 << 31, 1 << 53, 1 << 63)
"""The values from which on whole numbers are no longer exact in float32, 32 bits, float64 and 64 bits."""
_ODD_FLOATS = (0.0, -0.0, 1, -1, 0.5, 0.1, 1e10, 5e-324, 2.2250738585072014e-308, 1e-45, 1.1754943508222875e-38)
"""They include the smallest numbers of float64 and float32, denormal and normal."""
_LARGEST_FLOAT32 = 3.4028235e38
_HUGE_FLOATS = (1e39, -1e39, 1e308, math.inf, -math.inf)
_TRIED_CLOSELY = 6
"""The number of columns that get every huge number. The others get one, because rows that fail must be asked alone,
which takes time."""


def edge_rows(
    columns: Sequence[Column], base: RowList, demands: Demands, texts: Mapping[int, Mapping[str, int]]
) -> RowList:
    """Returns the rows. They are always the same for the same model.

    `base` are a few rows that the model answers. The first is changed one column at a time, then all are mixed.
    """
    pools = [_pool(column, i, demands, texts) for i, column in enumerate(columns)]
    rows = [_with(base[0], i, value) for i, pool in enumerate(pools) for value in pool]
    rows.sort(key=_likely_refused)
    dice = random.Random(7)  # noqa: S311  the same rows each time, not a secret
    rows += _at_splits(columns, base, demands)
    ways = [way for features, trees in demands.ensembles for way in reached(features, trees)]
    for number, way in enumerate(_spread(ways, MOST_REACHED)):
        rows += _reaching(columns, base, way, number)
    rows += _everywhere(columns, base)
    mixed = [_mixed(base, pools, dice, share) for share in (0.1, 0.5) for _ in range(_MIXED // 2)]
    return rows + sorted(mixed, key=_likely_refused)


def _likely_refused(row: Sequence[Any]) -> int:
    """A sort key by which rows that fail come together."""
    if any(isinstance(value, float) and abs(value) > _LARGEST_FLOAT32 for value in row):
        return 2
    return int(any(value is None or value == _UNSEEN for value in row))


def _with(row: Sequence[Any], index: int, value: Any) -> list[Any]:
    changed = list(row)
    changed[index] = value
    return changed


def _pool(column: Column, index: int, demands: Demands, texts: Mapping[int, Mapping[str, int]]) -> list[Any]:
    """Returns values of one column that are worth a row each."""
    if column.type == "string":
        known = sorted(texts.get(index, {}))[:_MOST_TEXTS]
        near = [changed for text in known[:2] for changed in (text.upper(), text + " ", text + "\0")]
        return [*known, *near, _UNSEEN, "", " ", "\ud800", *([] if column.required else [None])]
    if column.type == "boolean":
        return [True, False, *([] if column.required else [None])]
    known_numbers = _some([*demands.known.get(index, []), *demands.named.get(index, [])], _MOST_TEXTS)
    beside = [*known_numbers, *(number + 1 for number in known_numbers[-2:])]
    if column.type in _WHOLE:
        end = _WHOLE[column.type]
        ends = [sign * (number + by) for number in _ENDS for by in (-1, 0, 1) for sign in (1, -1)]
        within = [number for number in ends if -end <= number < end]
        return [*(int(number) for number in beside if abs(number) < end), 0, -1, 1.0, 3.0, *within, -end]
    beside += [step(number, by) for number in demands.named.get(index, [])[:2] for by in (1, -1)
               for step in (_step64, _step32)]  # fmt: skip
    beside += [step(sign * float(number), by) for number in _ENDS for sign in (1, -1) for by in (0, 1, -1)
               for step in (_step64, _step32)]  # fmt: skip
    huge = [*_HUGE_FLOATS, *_beyond(demands, index)] if index < _TRIED_CLOSELY else _HUGE_FLOATS[:1]
    return [*beside, *(number + 0.5 for number in known_numbers[:1]), *_ODD_FLOATS, None, *huge]


def _some(values: Sequence[float], most: int) -> list[float]:
    """Returns the different values in order, at most `most`."""
    return _spread(sorted({value for value in values if math.isfinite(value)}), most)


def _spread(found: list[_Any], most: int) -> list[_Any]:
    """Returns an even selection of at most `most`."""
    return found if len(found) <= most else [found[i * len(found) // most] for i in range(most)]


def _beyond(demands: Demands, index: int) -> list[float]:
    """Returns values on both sides of the limits from which on the original refuses."""
    ends = [end for end in demands.bounds.get(index, ()) if math.isfinite(end)]
    return [value for end in ends for value in (end * 0.99, end * 1.01) if math.isfinite(value)]


def _at_splits(columns: Sequence[Column], base: RowList, demands: Demands) -> RowList:
    """Returns rows of `base` with all columns that trees use exactly on a threshold, or on the next number of float64
    or float32 beside it. Columns of whole numbers are on either side. Every threshold is used once, up to
    `MOST_AT_SPLITS` rows."""
    lists = {}
    for index, splits in demands.splits.items():
        values: list[Any] = []
        for split in _some(splits, most_splits(columns[index])):
            values += _beside(columns[index], split)
        if values:
            lists[index] = values
    rows: RowList = []
    for number in range(max(map(len, lists.values()), default=0)):
        changed = list(base[number % len(base)])
        for index, values in lists.items():
            changed[index] = values[number % len(values)]
        rows.append(changed)
    return rows


def _reaching(columns: Sequence[Column], base: RowList, way: Reached, number: int) -> RowList:
    """Returns rows that reach a split: exactly on it, and on the next float32 on either side."""
    beside = _beside(columns[way.column], way.value)
    if not beside:
        return []
    row = list(base[number % len(base)])
    for index, value in way.path.items():
        kind = columns[index].type
        if kind in ("double", "float") and abs(value) < _LARGEST_FLOAT32:
            row[index] = value
        elif kind in _WHOLE and abs(value) < _WHOLE[kind] - 1:
            row[index] = math.ceil(value)
    return [_with(row, way.column, value) for value in dict.fromkeys((beside[0], min(beside), max(beside)))]


def most_splits(column: Column) -> int:
    """Returns the number of different thresholds of a column that the rows of a proof can test."""
    return MOST_AT_SPLITS // (2 if column.type in _WHOLE else len(_BESIDE))


def _beside(column: Column, split: float) -> list[Any]:
    if column.type in ("double", "float"):
        return list(dict.fromkeys(step(split) for step in _BESIDE))
    if column.type in _WHOLE and abs(split) < _WHOLE[column.type] - 1:
        return [math.floor(split), math.floor(split) + 1]
    return []


def _step64(value: float, by: int) -> float:
    (bits,) = struct.unpack("<q", struct.pack("<d", value))
    return float(struct.unpack("<d", struct.pack("<q", bits + by))[0]) if value else value


def _step32(value: float, by: int) -> float:
    if not value or abs(value) > 1e38:
        return value
    (bits,) = struct.unpack("<i", struct.pack("<f", value))
    return float(struct.unpack("<f", struct.pack("<i", bits + by))[0])


_BESIDE: Sequence[Callable[[float], float]] = (
    lambda value: value,
    lambda value: _step64(value, 1),
    lambda value: _step64(value, -1),
    lambda value: _step32(value, 0),
    lambda value: _step32(value, 1),
    lambda value: _step32(value, -1),
)


def _everywhere(columns: Sequence[Column], base: RowList) -> RowList:
    """Returns each row of `base` with all its numbers changed alike: missing, zero, or written by another JSON
    writer."""

    def changed(row: Sequence[Any], change: Callable[[Any], Any], kinds: Sequence[str]) -> list[Any]:
        return [change(value) if column.type in kinds else value for value, column in zip(row, columns)]

    floats, numbers = ("double", "float"), ("double", "float", "integer", "long")
    rows: RowList = []
    for row in base:
        rows.append(changed(row, lambda _: None, floats))
        rows.append(changed(row, lambda _: 0, numbers))
        rows.append(changed(row, lambda _: -0.0, floats))
        rows.append(changed(row, lambda value: float(value) if value is not None else None, numbers))
        rows.append(changed(row, lambda value: int(value) if _plain(value) else value, floats))
    return rows


def _plain(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value) and abs(value) < EXACT


def _mixed(base: RowList, pools: Sequence[Sequence[Any]], dice: random.Random, share: float) -> list[Any]:
    """Returns a row of the model's with `share` of its columns replaced."""
    row = list(dice.choice(base))
    for i, pool in enumerate(pools):
        if pool and dice.random() < share:
            row[i] = dice.choice(pool)
        else:
            row[i] = dice.choice(base)[i]
    return row


def unlike_any(value: Any) -> Any:
    """Returns a text that no model has as a category. For columns without texts, it returns the value."""
    return _UNSEEN if isinstance(value, str) or value is None else value
