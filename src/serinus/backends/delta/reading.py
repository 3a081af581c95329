"""The whole log as one frame: the Delta table and, after it, the seconds that are still in segments."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from serinus.backends.delta.ledger import RouterReplies
from serinus.backends.delta.segments import Position, read_frames
from serinus.backends.delta.sources import records_of
from serinus.backends.delta.table import COLUMNS, frame_of
from serinus.backends.delta.taken import last_segment, taken_by


def read_predictions(table: Path, segments: Path, replies: RouterReplies) -> pl.LazyFrame:
    """Every prediction once, also while segments move into the table: one is removed only after it was committed, so
    what is read of them before the table is opened, less what that version of the table holds, is all of the rest."""
    frames = list(read_frames(segments, Position(last_segment(table) + 1, 0)))
    rolled = DeltaTable(table) if DeltaTable.is_deltatable(str(table)) else None
    taken = taken_by(rolled) if rolled else 0
    rest = (record for frame in frames if frame.end.segment > taken for record in records_of(frame))
    tail = frame_of(rest, replies).lazy()
    return pl.concat([pl.scan_delta(rolled).select(*COLUMNS), tail]) if rolled else tail


def within(frame: pl.LazyFrame, model: str | None, since: datetime | None, until: datetime | None) -> pl.LazyFrame:
    """Answered from `since` on and before `until`; the partitions of other models and days are not even opened."""
    if model is not None:
        frame = frame.filter(pl.col("model") == model)
    if since is not None:
        frame = frame.filter(pl.col("day") >= since.date(), pl.col("time") >= since)
    if until is not None:
        frame = frame.filter(pl.col("day") <= until.date(), pl.col("time") < until)
    return frame
