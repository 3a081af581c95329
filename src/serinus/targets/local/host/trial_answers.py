"""The output of trials, as values. A model could have written it, so nothing here is trusted beyond its type and
size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, JsonValue, NonNegativeInt, StringConstraints
from serinus_runtime.isolation import written

from serinus.core.examination import Question, ReadRows, Rehearsal, VersionDifference, Warned
from serinus.core.text import one_line

_Words = Annotated[str, StringConstraints(max_length=2_000), AfterValidator(one_line)]
_Word = Annotated[str, StringConstraints(max_length=300), AfterValidator(one_line)]
_MOST_WARNINGS = 20
_SCORES = {float, int, type(None)}


@dataclass(frozen=True, slots=True)
class FileLimits:
    """The limits for reading a file of golden or evaluation rows."""

    seconds: float = 60.0
    memory_bytes: int = 3 * 1024**3
    """The memory that the reader may allocate for itself."""
    file_bytes: int = 512 * 1024**2
    rows: int = 200_000
    cells: int = 5_000_000
    result_bytes: int = 256 * 1024**2
    """The size of the rows as JSON, which is the largest file that the reader may write."""

    def config(self) -> dict[str, Any]:
        """Returns the limits as the runtime's reader takes them."""
        return {
            "most_rows": self.rows,
            "most_cells": self.cells,
            "most_bytes": self.file_bytes,
            "memory_limit_bytes": self.memory_bytes,
        }


class _Warned(BaseModel):
    category: _Word
    library: _Word
    message: _Words
    own: bool


class _Version(BaseModel):
    library: _Word
    logged: _Word
    installed: _Word
    own: bool


class _Rehearsal(BaseModel):
    source: _Words
    document: dict[str, JsonValue] | None
    tensors: list[dict[str, JsonValue]] | None
    rows: Annotated[NonNegativeInt, Field(le=1_000_000_000)]
    answers: list[list[JsonValue]]
    reason: _Words
    refused: bool
    warnings: Annotated[list[_Warned], Field(max_length=_MOST_WARNINGS)]
    versions: Annotated[list[_Version], Field(max_length=_MOST_WARNINGS)]


class _Table(BaseModel):
    columns: list[str]
    rows: list[list[Any]]
    scores: list[float | None] | None
    labels: list[float | None] | None
    clusters: list[NonNegativeInt] | None = None


def rehearsal_of(answer: Mapping[str, Any]) -> Rehearsal:
    """Raises ValueError if the answer is not a rehearsal."""
    said = _Rehearsal.model_validate(answer)
    question = None if said.document is None else Question(said.document, said.tensors)
    return Rehearsal(
        question=question,
        source=said.source,
        rows=said.rows,
        answers=tuple(tuple(row) for row in said.answers),
        reason=said.reason,
        refused=said.refused,
        warnings=tuple(Warned(**warned.model_dump()) for warned in said.warnings),
        versions=tuple(VersionDifference(**version.model_dump()) for version in said.versions),
    )


def read_rows(file: Path, most_bytes: int) -> ReadRows:
    """Returns the rows that the reader has written. Raises ValueError or OSError."""
    table = _Table.model_validate_json(written.content(file, most_bytes))
    if any(len(row) != len(table.columns) for row in table.rows):
        raise ValueError("rows of other lengths")
    if any(column is not None and len(column) != len(table.rows) for column in (table.labels, table.clusters)):
        raise ValueError("columns of other lengths")
    return ReadRows(tuple(table.columns), table.rows, _finite(table.scores), _finite(table.labels), table.clusters)


def scores_of(said: Any, rows: int) -> list[float | None] | None:
    """One number or None for each row. None where it is anything else."""
    if not isinstance(said, list) or len(said) != rows or not _SCORES.issuperset(map(type, said)):
        return None
    try:
        return [None if score is None else float(score) for score in said]
    except OverflowError:  # A whole number exceeds the range of floats.
        return None


def _finite(numbers: Sequence[float | None] | None) -> Sequence[float | None] | None:
    if numbers is None:
        return None
    return [number if number is not None and math.isfinite(number) else None for number in numbers]
