"""Rows that a faster way answered wrong, as proofs and gates ask for them. The store has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from serinus.core.kept_rows import KeptRow
from serinus.core.ports import KeptRows
from serinus.core.release import Release
from serinus.engine.steps.rows import Row, Table


def keep_rows(store: KeptRows, release: Release, tables: Iterable[Table], at: datetime) -> None:
    """Stores rows. The scores of the tables are the model's own."""
    digests = (release.artifact_digest, release.environment_digest)
    rows = [
        KeptRow(table.columns, row, score, release.id, *digests, at)
        for table in tables
        for row, score in zip(table.rows, table.scores or [None] * len(table.rows), strict=True)
    ]
    store.keep_rows(release.model, rows)


def kept_rows(store: KeptRows, model: str, columns: Sequence[str], *, answered: bool = False) -> Sequence[Row]:
    """Returns the rows that have all of `columns`, in their order. `answered`: only those with a score of the model."""
    return [
        [one.row[one.columns.index(name)] for name in columns]
        for one in store.kept_rows(model)
        if columns and set(columns) <= set(one.columns) and (one.score is not None or not answered)
    ]
