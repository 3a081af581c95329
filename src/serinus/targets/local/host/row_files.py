"""The limits for files of golden or evaluation rows, and the rows that their confined reader has written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, NonNegativeInt
from serinus_runtime.isolation import written

from serinus.core.examination import ReadRows


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


class _Table(BaseModel):
    columns: list[str]
    rows: list[list[Any]]
    scores: list[float | None] | None
    labels: list[float | None] | None
    clusters: list[NonNegativeInt] | None = None


def read_rows(file: Path, most_bytes: int) -> ReadRows:
    """Returns the rows that the reader has written. Raises ValueError or OSError."""
    table = _Table.model_validate_json(written.content(file, most_bytes))
    if any(len(row) != len(table.columns) for row in table.rows):
        raise ValueError("rows of other lengths")
    if any(column is not None and len(column) != len(table.rows) for column in (table.labels, table.clusters)):
        raise ValueError("columns of other lengths")
    return ReadRows(tuple(table.columns), table.rows, _finite(table.scores), _finite(table.labels), table.clusters)


def _finite(numbers: Sequence[float | None] | None) -> Sequence[float | None] | None:
    if numbers is None:
        return None
    return [number if number is not None and math.isfinite(number) else None for number in numbers]
