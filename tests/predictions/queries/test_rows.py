"""Rows of the log in the order of time: bounded, pruned by partition, each once while segments are rolled up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from serinus.core.errors import InvalidInput, Unavailable
from serinus.predictions.queries import rows as asked
from serinus.predictions.queries.rows import MOST, TableRows, rows
from serinus.predictions.table.delta import COLUMNS, PredictionTable
from serinus.predictions.table.places import Directory

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def frame(times: Sequence[datetime], model: str = "card-fraud", **changes: Any) -> pl.DataFrame:
    """A request of one row at each of `times`, named by its number."""
    said = {
        "time": list(times),
        "model": model,
        "request_id": [str(number) for number in range(len(times))],
        "rows": 1,
        "inputs": '{"columns":["x"],"rows":[[1.0]]}',
        **changes,
    }
    made = pl.DataFrame(said, schema_overrides={"time": COLUMNS["time"]}).with_columns(
        pl.col("time").dt.date().alias("day")
    )
    lacking = [pl.lit(None, kind).alias(name) for name, kind in COLUMNS.items() if name not in made.columns]
    return made.with_columns(lacking).select(*COLUMNS).cast(pl.Schema(COLUMNS))


def test_rows_come_in_the_order_of_time_over_days_and_files(tmp_path: Path) -> None:
    table = PredictionTable(Directory(tmp_path / "delta"))
    times = [NOON + timedelta(hours=hours) for hours in (30, 0, 25, 1)]
    table.append(frame(times), 1)
    table.append(frame([NOON + timedelta(minutes=30)], request_id=["late"]), 2)
    table.append(frame([NOON], model="another"), 3)
    log = TableRows(Directory(tmp_path / "delta"))
    found = pl.concat(log.rows("card-fraud", ("time", "request_id", "inputs")))
    assert found["request_id"].to_list() == ["1", "late", "3", "2", "0"]
    assert found["inputs"].to_list() == ['[{"x":1.0}]'] * 5
    some = log.rows("card-fraud", ("request_id",), since=NOON + timedelta(minutes=30), until=times[0])
    assert pl.concat(some)["request_id"].to_list() == ["late", "3", "2"]
    assert list(log.rows("nobody", ("time",))) == []


def test_no_more_is_read_at_a_time_than_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "MOST", 100)
    every_minute = [NOON + timedelta(minutes=minute) for minute in range(500)]
    one_second = [NOON + timedelta(hours=9, milliseconds=4 * number) for number in range(250)]
    one_millisecond = [NOON + timedelta(hours=10, microseconds=number) for number in range(250)]
    requests = frame([*every_minute, *one_second, *one_millisecond])
    read: list[int] = []
    collect = pl.LazyFrame.collect

    def counted(lazy: pl.LazyFrame, **how: Any) -> pl.DataFrame:
        found = collect(lazy, **how)
        if "request_id" in found.columns:
            read.append(found.height)
        return found

    monkeypatch.setattr(pl.LazyFrame, "collect", counted)
    frames = list(rows(requests.lazy, "card-fraud", ("request_id",)))
    assert pl.concat(frames)["request_id"].to_list() == [str(number) for number in range(1000)]
    assert max(one.height for one in frames) == 100
    assert read == [*[100] * 5, 100, 100, 50, 250], "a millisecond is read at once"


def test_a_request_of_many_rows_counts_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "MOST", 100)
    requests = frame([NOON + timedelta(minutes=minute) for minute in range(6)], rows=[60, 40, 60, 300, None, 1])
    heights = [one.height for one in rows(requests.lazy, "card-fraud", ("rows",))]
    assert heights == [2, 1, 1, 2]


def test_what_is_rolled_up_meanwhile_is_still_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "MOST", 10)
    monkeypatch.setattr(asked, "_OPEN_SECONDS", -1.0)
    requests = frame([NOON + timedelta(minutes=minute) for minute in range(40)])
    opened: list[int] = []

    def log() -> pl.LazyFrame:
        """Other rows are in the table at each time, and other ones in segments."""
        opened.append(1)
        rolled = len(opened) % 41
        return pl.concat([requests.head(rolled).lazy(), requests.tail(40 - rolled).lazy()])

    found = pl.concat(rows(log, "card-fraud", ("request_id",)))
    assert found["request_id"].to_list() == [str(number) for number in range(40)]
    assert len(opened) > 4


def test_files_of_other_models_and_days_are_not_opened(tmp_path: Path) -> None:
    table = PredictionTable(Directory(tmp_path / "delta"))
    table.append(frame([NOON, NOON + timedelta(days=1)]), 1)
    table.append(frame([NOON], model="another"), 2)
    for path in (tmp_path / "delta").rglob("*.parquet"):
        if "day=2026-03-02" not in str(path):
            path.unlink()
    log = TableRows(Directory(tmp_path / "delta"))
    late = log.rows("card-fraud", ("request_id",), since=NOON + timedelta(hours=12))
    assert pl.concat(late)["request_id"].to_list() == ["1"]
    with pytest.raises(Unavailable, match="cannot be read"):
        list(log.rows("card-fraud", ("request_id",)))


def test_what_cannot_be_asked_is_said() -> None:
    with pytest.raises(InvalidInput, match=r"no column amount.*The columns are: time, day"):
        list(rows(frame([NOON]).lazy, "card-fraud", ("time", "amount")))


def test_a_place_without_a_log_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        list(TableRows(Directory(tmp_path)).rows("card-fraud", ("time",)))


def test_the_bound_is_some_megabytes_of_usual_rows() -> None:
    assert MOST * 34 * 8 < 8 << 20
