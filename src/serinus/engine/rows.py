"""Rows to ask a release with: input example, golden rows, labelled evaluation set. Reads files, loads nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from serinus.core.errors import InvalidInput
from serinus.core.values import Artifact

Row = Sequence[Any]

_READERS: Mapping[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": pl.read_csv,
    ".jsonl": pl.read_ndjson,
    ".ndjson": pl.read_ndjson,
}


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` in the order of `columns`; values as JSON has them."""

    columns: tuple[str, ...]
    rows: Sequence[Row]
    scores: Sequence[float | None] | None = None
    """What the rows got at training time, where that was recorded."""
    labels: Sequence[float | None] | None = None

    def head(self, count: int) -> Table:
        return Table(self.columns, self.rows[:count])


def read_example(artifact: Artifact) -> Table | None:
    """The model's own input example, where it is of named columns; None: there is none of that form."""
    if artifact.input_example is None:
        return None
    try:
        document = json.loads(artifact.input_example.read_text())
    except ValueError as error:
        raise InvalidInput(f"{artifact.input_example.name} is not JSON: {error}") from error
    frame = document.get("dataframe_split", document)
    if isinstance(frame, dict) and isinstance(frame.get("columns"), list) and isinstance(frame.get("data"), list):
        return Table(tuple(str(c) for c in frame["columns"]), frame["data"])
    return None


def read_golden(path: Path) -> Table:
    """`{"columns": [...], "rows": [[...]], "scores": [...]}`; `scores` may be left out."""
    try:
        document = json.loads(path.read_text())
        columns, rows, scores = tuple(document["columns"]), document["rows"], document.get("scores")
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path.name} does not hold golden rows ({type(error).__name__})",
            hint='Write {"columns": [...], "rows": [[...]], "scores": [...]}.',
        ) from error
    if any(len(row) != len(columns) for row in rows) or (scores is not None and len(scores) != len(rows)):
        raise InvalidInput(f"{path.name}: rows, columns and scores do not have the same length")
    return Table(columns, rows, scores=scores)


def read_evaluation(path: Path, label: str, inputs: Sequence[str] | None) -> Table:
    """Of a Parquet, CSV or JSON-lines file. `inputs`: the model's; None: every column but the label."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(f"{path.name} is no evaluation set", hint=f"It can be {', '.join(_READERS)}.")
    try:
        frame = reader(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInput(f"{path.name} cannot be read: {type(error).__name__}") from error
    columns = tuple(inputs) if inputs is not None else tuple(c for c in frame.columns if c != label)
    missing = [c for c in (*columns, label) if c not in frame.columns]
    if missing:
        raise InvalidInput(f"{path.name} lacks {', '.join(missing)}", hint="gates.label names the column of labels.")
    labels = [None if value is None else float(value) for value in frame[label].cast(pl.Float64, strict=False)]
    return Table(columns, frame.select(columns).rows(), labels=labels)


def integers_for_whole_floats(rows: Sequence[Row]) -> Sequence[Row]:
    """The same rows with whole numbers sent as integers, as JSON writers do; only rows where that changes something."""
    changed = []
    for row in rows:
        other = [_integer(value) for value in row]
        if any(type(a) is not type(b) for a, b in zip(row, other, strict=True)):
            changed.append(other)
    return changed


def _integer(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
