"""The whole log as one frame: the Delta table, followed by the seconds that are still in segments."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from serinus.core.errors import Unavailable
from serinus.predictions.counts.ledger import RouterReplies
from serinus.predictions.segments.aside import Aside
from serinus.predictions.segments.files import Position, read_frames, size_from
from serinus.predictions.segments.sources import records_of
from serinus.predictions.table.delta import COLUMNS, frame_of
from serinus.predictions.table.inputs import rows_as_objects
from serinus.predictions.table.places import Place, opened
from serinus.predictions.table.taken import last_segment, taken_by

_MOST_WAITING = 256 * 1024 * 1024
"""The bytes of segments that are read into memory. Usually it is those of half a minute."""


def read_predictions(
    place: Place, segments: Path, replies: RouterReplies, aside: Aside | None = None, writer: str = ""
) -> pl.LazyFrame:
    """Returns every prediction once, also while segments move into the table. `writer` wrote `segments`.

    A segment is removed only after it was committed to the table. Segments are read before the table is opened, and
    those that this version of the table holds are left out. Raises Unavailable while more segments wait for the table
    than fit into memory, and raises as `opened` does.
    """
    first = last_segment(place, writer) + 1
    if (waiting := size_from(segments, first)) > _MOST_WAITING:
        raise Unavailable(
            f"{waiting >> 20} MiB of the prediction log wait to be written to {place.uri}, and the log is read again "
            f"when less than {_MOST_WAITING >> 20} MiB wait.",
            hint="`serinus status` says why they wait. They are written by themselves.",
            delay=60,
        )
    frames = list(read_frames(segments, Position(first, 0)))
    rolled = opened(place)
    taken = taken_by(rolled, writer) if rolled else 0
    rest = records_of((frame for frame in frames if frame.end.segment > taken), aside=aside)
    tail = frame_of(rest, replies).lazy()
    whole = pl.concat([_scan(rolled), tail]) if rolled else tail
    return whole.with_columns(rows_as_objects())


def read_table(place: Place) -> pl.LazyFrame:
    """Returns every prediction of the table, without those that are not rolled up yet. Raises Unavailable where there
    is no table, and as `opened` does."""
    table = opened(place)
    if table is None:
        raise Unavailable(f"The prediction log at {place.uri} cannot be read: there is none.")
    return _scan(table).with_columns(rows_as_objects())


def _scan(table: DeltaTable) -> pl.LazyFrame:
    """Scans the table, also an older one to which the collector has not added the newest columns yet."""
    there = {each.name for each in table.schema().fields}
    lacking = [pl.lit(None, kind).alias(name) for name, kind in COLUMNS.items() if name not in there]
    return pl.scan_delta(table).with_columns(lacking).select(*COLUMNS)


def within(frame: pl.LazyFrame, model: str | None, since: datetime | None, until: datetime | None) -> pl.LazyFrame:
    """Returns predictions from `since` until before `until`. Partitions of other models and days are not opened."""
    if model is not None:
        frame = frame.filter(pl.col("model") == model)
    if since is not None:
        frame = frame.filter(pl.col("day") >= since.date(), pl.col("time") >= since)
    if until is not None:
        frame = frame.filter(pl.col("day") <= until.date(), pl.col("time") < until)
    return frame
