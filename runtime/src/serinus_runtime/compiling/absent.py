"""Optional columns of the signature that the model does not need.

A graph needs a number for each column. Where the model answers without a column, it does not use it, so any value can
replace it. The proof verifies that with rows that lack each such column, all of them, and some of them.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any, Mapping, Sequence

from serinus_runtime.artifact.loading import Predict
from serinus_runtime.artifact.signature import Column
from serinus_runtime.compiling.graph import Unsupported
from serinus_runtime.compiling.original import Answered, answer
from serinus_runtime.compiling.rows import RowList
from serinus_runtime.values.frames import Frames

_ROWS = 8
"""The number of rows for each set of missing columns."""
_SETS = 20


def stand_ins(public: Predict, columns: Sequence[Column], row: Sequence[Any]) -> dict[int, Any]:
    """Returns replacement values for the columns without which the model answers `row`, by their index."""
    found = {}
    for i, column in enumerate(columns):
        if not column.required and _answers(public, columns, {i}, row):
            found[i] = 0 if column.type in ("integer", "long") else None
    if found and len(found) == len(columns):
        raise Unsupported("a model that needs none of its columns")
    return found


def _answers(public: Predict, columns: Sequence[Column], left_out: set[int], row: Sequence[Any]) -> bool:
    try:
        _ask(public, columns, left_out, [row])
    except (Exception, SystemExit):  # noqa: BLE001  what it raises is not what is asked
        return False
    return True


def _ask(public: Predict, columns: Sequence[Column], left_out: set[int], rows: Sequence[Sequence[Any]]) -> Any:
    kept = [i for i in range(len(columns)) if i not in left_out]
    return public(Frames([columns[i] for i in kept]).frame([[row[i] for i in kept] for row in rows]))


def answers_without(
    public: Predict, columns: Sequence[Column], base: RowList, found: Mapping[int, Any]
) -> list[tuple[list[int], RowList, Answered]]:
    """Returns the model's answers to rows like `base` that lack columns of `found`: the columns, the rows with
    replacement values, and the answers. Raises Unsupported."""
    parts = []
    for left_out in _sets(sorted(found)):
        rows = [[found[i] if i in left_out else value for i, value in enumerate(row)] for row in base[:_ROWS]]
        parts.append((sorted(left_out), rows, answer(partial(_ask, public, columns, left_out), rows)))
    return parts


def _sets(columns: Sequence[int]) -> list[set[int]]:
    """Returns sets of columns: each alone, all together, and some in between. They are always the same for the same
    model."""
    dice = random.Random(7)  # noqa: S311  the same sets each time, not a secret
    sets = [*({i} for i in columns[:_SETS]), set(columns)]
    sets += [{i for i in columns if dice.random() < 0.5} for _ in range(_SETS if len(columns) > 2 else 0)]
    return [found for i, found in enumerate(sets) if found and found not in sets[:i]]
