"""Opens a prediction log for reading by the path of its Delta table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from serinus.core.home import Home
from serinus.core.ports import PredictionRows
from serinus.predictions.log import DeltaPredictionLog
from serinus.predictions.paths import segments_path, table_path
from serinus.predictions.queries.rows import TableRows


@contextmanager
def prediction_rows(table: Path) -> Iterator[PredictionRows]:
    """Yields the log of a home, with its latest seconds, where the table belongs to one. Otherwise the table alone.
    Raises Unavailable."""
    home = Home(table.resolve().parents[1])
    if table_path(home) == table.resolve() and segments_path(home).is_dir():
        with closing(DeltaPredictionLog(home)) as log:
            yield log
    else:
        yield TableRows(table)
