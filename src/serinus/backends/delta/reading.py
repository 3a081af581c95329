"""The whole log as one frame: the Delta table and, after it, the seconds that are still in segments."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from serinus.backends.delta.ledger import RouterReplies
from serinus.backends.delta.segments import Position, read_frames
from serinus.backends.delta.sources import records_of
from serinus.backends.delta.table import COLUMNS, frame_of, taken_by
from serinus.core.errors import Unavailable

_ATTEMPTS = 10


def read_predictions(table: Path, segments: Path, replies: RouterReplies) -> pl.LazyFrame:
    """Every prediction once. Raises Unavailable where segments keep moving into the table while they are read."""
    for _ in range(_ATTEMPTS):
        whole = _read_once(table, segments, replies)
        if whole is not None:
            return whole
    raise Unavailable("The prediction log is being rolled up faster than it can be read.", hint="Try again.", delay=1)


def within(frame: pl.LazyFrame, model: str | None, since: datetime | None, until: datetime | None) -> pl.LazyFrame:
    """Answered from `since` on and before `until`; the partitions of other models and days are not even opened."""
    if model is not None:
        frame = frame.filter(pl.col("model") == model)
    if since is not None:
        frame = frame.filter(pl.col("day") >= since.date(), pl.col("time") >= since)
    if until is not None:
        frame = frame.filter(pl.col("day") <= until.date(), pl.col("time") < until)
    return frame


def _read_once(table: Path, segments: Path, replies: RouterReplies) -> pl.LazyFrame | None:
    """None: a segment was rolled up in between. It may be gone, and this version of the table does not hold it."""
    rolled = _open(table)
    taken = taken_by(rolled) if rolled else 0
    try:
        frames = list(read_frames(segments, Position(taken + 1, 0)))
    except FileNotFoundError:
        return None
    now = _open(table)
    if now is not None and taken_by(now) != taken:
        return None
    tail = frame_of((record for frame in frames for record in records_of(frame)), replies).lazy()
    return pl.concat([pl.scan_delta(rolled).select(*COLUMNS), tail]) if rolled else tail


def _open(table: Path) -> DeltaTable | None:
    return DeltaTable(table) if DeltaTable.is_deltatable(str(table)) else None
