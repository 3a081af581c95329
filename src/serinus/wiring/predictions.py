"""Where the prediction log's table lies, and opening a log for reading by that place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from serinus.core.home import Home
from serinus.core.ports import PredictionRows
from serinus.predictions.log import DeltaPredictionLog
from serinus.predictions.paths import segments_path, table_path
from serinus.predictions.queries.rows import TableRows
from serinus.predictions.table.places import Directory, Place, place_at
from serinus.targets.local.supervisor.settings import Settings


def table_place(home: Home, settings: Settings) -> Place:
    """Returns the place of the table that the collector of `home` writes."""
    return place_at(settings.predictions) if settings.predictions else Directory(table_path(home))


def build_log(home: Home, settings: Settings) -> DeltaPredictionLog:
    """Opens the prediction log of `home`. Raises Unavailable, and Refused where a driver is not installed."""
    return DeltaPredictionLog(home, place=table_place(home, settings), database=settings.predictions_database)


def is_log(where: str) -> bool:
    """Whether `where` names a table rather than a file: an address in a bucket, or the directory of one."""
    return "://" in where or (Path(where) / "_delta_log").is_dir()


@contextmanager
def prediction_rows(where: str) -> Iterator[PredictionRows]:
    """Yields the log of a home, with its latest seconds, where the directory `where` belongs to one. Otherwise, and in
    a bucket, the table alone. Raises InvalidInput and Unavailable."""
    place = place_at(where)
    table = place.directory.resolve() if place.directory is not None else None
    home = Home(table.parents[1]) if table is not None else None
    if home is not None and table_path(home) == table and segments_path(home).is_dir():
        with closing(DeltaPredictionLog(home)) as log:
            yield log
    else:
        yield TableRows(place)
