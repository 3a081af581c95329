"""What is read of a log by the path of its table: as `serinus replay` does."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from serinus.core.home import Home
from serinus.predictions.counts.ledger import RouterReplies
from serinus.predictions.paths import segments_path, table_path
from serinus.predictions.segments.files import Position, SegmentWriter, encode, read_frames
from serinus.predictions.segments.sources import batch_meta, records_of
from serinus.predictions.segments.wire import BatchHead, Hello
from serinus.predictions.table.delta import PredictionTable, frame_of
from serinus.predictions.table.places import Directory
from serinus.replay import LogSource
from serinus.wiring.predictions import prediction_rows

HELLO = Hello("card-fraud-7-3f9a2c", "card-fraud", "00000000")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def written(home: Home, body: Any, record: Any) -> None:
    """Two segments with a request each, of which the table has the first."""
    segments = segments_path(home)
    for number in (1, 2):
        at = (NOON + timedelta(minutes=number)).timestamp()
        text = body([record(number, t=at, inputs=[[number, 3]])])
        meta = batch_meta(HELLO, BatchHead(number, len(text), 0))
        SegmentWriter(segments, number).append([encode({"at": at, **meta}, text)])
    first = records_of(read_frames(segments, Position(1, 0), Position(2, 0)))
    PredictionTable(Directory(table_path(home))).append(frame_of(first, RouterReplies([])), 1)


def asked(path: Path) -> list[str]:
    with prediction_rows(str(path)) as log:
        return [one for part in log.rows("card-fraud", ("request_id",)) for one in pl.DataFrame(part)["request_id"]]


def test_of_a_home_with_what_is_not_rolled_up_and_each_request_once(home: Home, body: Any, record: Any) -> None:
    segments_path(home).mkdir(parents=True)
    written(home, body, record)
    assert asked(table_path(home)) == ["request-1", "request-2"]
    with prediction_rows(str(table_path(home))) as log:
        chunks = list(LogSource(log, "card-fraud").chunks())
    assert [row for chunk in chunks for row in chunk.inputs.rows()] == [(1, 3), (2, 3)]
    assert [one for chunk in chunks if chunk.entities is not None for one in chunk.entities] == ["card-1", "card-2"]


def test_of_a_copy_what_the_table_has(home: Home, body: Any, record: Any, tmp_path: Path) -> None:
    segments_path(home).mkdir(parents=True)
    written(home, body, record)
    shutil.copytree(table_path(home), tmp_path / "copy")
    assert asked(tmp_path / "copy") == ["request-1"]
