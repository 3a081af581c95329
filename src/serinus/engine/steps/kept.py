"""Rows that a faster way answered wrong. They are kept for the proofs and gates of all later versions of the model.

They are in `<home>/golden/<model>.json`, which only its owner can read, because it holds values that callers sent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from serinus.core.home import Home
from serinus.core.release import Release
from serinus.engine.steps.rows import Row, Table
from serinus.lib import files

MOST_ROWS = 200
"""The number of rows of one model that are kept. The newest stay."""


@dataclass(frozen=True, slots=True)
class KeptRow:
    """A row. `score` is by the `predict` of the version with this artifact and environment."""

    columns: tuple[str, ...]
    row: Sequence[object]
    score: float | None
    release: str
    artifact: str
    environment: str
    at: datetime
    """The time at which it was found."""


_rows = TypeAdapter(list[KeptRow])


def keep_rows(home: Path, release: Release, table: Table, at: datetime) -> None:
    """Stores rows durably. `table.scores` are the model's own. Equal rows are stored once. Raises OSError."""
    digests = (release.artifact_digest, release.environment_digest)
    scores = table.scores or [None] * len(table.rows)
    new = [
        KeptRow(table.columns, row, score, release.id, *digests, at)
        for row, score in zip(table.rows, scores, strict=True)
    ]
    before = _read(home, release.model)
    asked = [(one.columns, list(one.row)) for one in new]
    kept = [one for one in before if (one.columns, list(one.row)) not in asked]
    _write(_file(home, release.model), _rows.dump_json([*kept, *new][-MOST_ROWS:]))


def forget_rows(home: Path, model: str, before: datetime) -> None:
    """Deletes the rows that were found before `before`. Raises OSError."""
    there = _read(home, model)
    kept = [one for one in there if one.at >= before]
    if there and not kept:
        _file(home, model).unlink()
    elif len(kept) < len(there):
        _write(_file(home, model), _rows.dump_json(kept))


def kept_rows(home: Path, model: str, columns: Sequence[str], *, answered: bool = False) -> Sequence[Row]:
    """Returns the rows that have all of `columns`, in their order. `answered`: only those with a score of the model."""
    return [
        [one.row[one.columns.index(name)] for name in columns]
        for one in _read(home, model)
        if columns and set(columns) <= set(one.columns) and (one.score is not None or not answered)
    ]


def has_rows(home: Path, model: str) -> bool:
    """Whether the model has kept rows."""
    return _file(home, model).exists()


def _file(home: Path, model: str) -> Path:
    return Home(home).golden / f"{quote(model, safe='')}.json"


def _read(home: Path, model: str) -> list[KeptRow]:
    """Returns the kept rows. Empty where the file cannot be read, because they only add to other rows."""
    try:
        return _rows.validate_python(json.loads(_file(home, model).read_bytes()))
    except (OSError, ValueError, ValidationError):
        return []


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    files.write(path, content)
