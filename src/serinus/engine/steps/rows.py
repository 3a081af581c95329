"""Rows for requests to a release, and the formats in which they are sent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serinus.core.examination import Question, ReadRows

Row = Sequence[Any]
_EXACT = 2**53
"""Whole numbers below it are exact as floats."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in the order of `columns`, as JSON values. Without columns, a row is an item of a list of `form`."""

    columns: tuple[str, ...]
    rows: Sequence[Any]
    scores: Sequence[float | None] | None = None
    """The scores of the rows at training time, where they were recorded."""
    labels: Sequence[float | None] | None = None
    clusters: Sequence[int] | None = None
    """The cluster of each row. Rows with the same number depend on each other."""
    form: str = "dataframe_split"
    """A format of MLflow's protocol: `dataframe_split`, `inputs` or `instances`."""
    tensors: bool = True
    """Whether the rows can be sent by the Open Inference Protocol, with one tensor for each column."""

    def head(self, count: int) -> Table:
        """Returns the first `count` rows."""
        return replace(self, rows=self.rows[:count], scores=None, labels=None, clusters=None)

    def of(self, rows: Sequence[Any]) -> Table:
        """Returns other rows in the same format."""
        return replace(self, rows=rows, scores=None, labels=None, clusters=None)

    def question(self) -> Question:
        """Returns the rows in MLflow's protocol."""
        if self.form == "dataframe_split":
            named = {"columns": list(self.columns)} if self.columns else {}
            return Question({"dataframe_split": {**named, "data": list(self.rows)}}, None)
        if self.columns:
            parts = zip(*self.rows, strict=True)
            return Question({self.form: dict(zip(self.columns, map(list, parts), strict=True))}, None)
        return Question({self.form: list(self.rows)}, None)


def table_of(read: ReadRows) -> Table:
    """Returns the rows of a file. Arrays and objects in them cannot be sent as tensors."""
    nested = any(isinstance(value, (list, dict)) for row in read.rows[:1] for value in row)
    return Table(read.columns, read.rows, read.scores, read.labels, read.clusters, tensors=not nested)


def table_in(question: Question) -> Table | None:
    """Returns the rows in a body of `/invocations`. None: it has another format, or the rows have different lengths."""
    document = question.document
    for form in ("dataframe_split", "inputs", "instances"):
        if form in document:
            return _table(form, document[form], tensors=question.tensors is not None)
    return None


def _table(form: str, content: Any, *, tensors: bool) -> Table | None:
    if form == "dataframe_split":
        columns, rows = content.get("columns"), content.get("data")
        if not isinstance(rows, list) or not rows:
            return None
        named = isinstance(columns, list) and all(len(row) == len(columns) for row in rows)
        return Table(tuple(map(str, columns)) if named else (), rows, form=form, tensors=tensors and named)
    if isinstance(content, Mapping):
        parts = list(content.values())
        if not parts or not all(isinstance(part, list) and len(part) == len(parts[0]) for part in parts):
            return None
        return Table(tuple(content), [list(row) for row in zip(*parts, strict=True)], form=form, tensors=False)
    return Table((), content, form=form, tensors=False) if isinstance(content, list) and content else None


def integers_for_whole_floats(rows: Sequence[Row]) -> Sequence[Row]:
    """Returns rows with whole numbers as integers, as JSON writers send them. Rows that do not change are left out."""
    changed = []
    for row in rows:
        other = [_integer(value) for value in row]
        if any(type(a) is not type(b) for a, b in zip(row, other, strict=True)):
            changed.append(other)
    return changed


def companions(rows: Sequence[Row], *, larger: bool) -> Sequence[Row]:
    """Returns rows that differ from `rows` in every number except 0, without changing a sign. They are sent together
    with the rows."""
    return [[_moved(value, place, larger) for place, value in enumerate(row)] for row in rows]


def _moved(value: Any, place: int, larger: bool) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _EXACT:
        return value
    away = larger == (value >= 0)
    moved = value * 1.5 + (1 + place if value >= 0 else -1 - place) if away else value * 0.5
    return int(moved) if isinstance(value, int) else moved


def _integer(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value
