"""From segments into the table, exactly once; and the table stays small by itself."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, Schema, write_deltalake

from serinus.core.disturbance import Cause
from serinus.core.home import Home
from serinus.disturbances import Disturbances, Journal
from serinus.predictions.counts import schema as db
from serinus.predictions.counts.ledger import Ledger, RouterReplies
from serinus.predictions.counts.store import CountStore
from serinus.predictions.database import Database
from serinus.predictions.paths import table_path
from serinus.predictions.queries.reading import read_predictions
from serinus.predictions.segments.aside import Aside
from serinus.predictions.segments.files import (
    Frame,
    Position,
    SegmentWriter,
    encode,
    numbers,
    path_of,
    read_frames,
    repair,
)
from serinus.predictions.segments.sources import batch_meta, records_of
from serinus.predictions.segments.wire import BatchHead, Hello
from serinus.predictions.table import snapshot
from serinus.predictions.table.delta import COLUMNS, PredictionTable, frame_of, table_schema
from serinus.predictions.table.places import Directory
from serinus.predictions.table.roller import Schedule
from serinus.predictions.table.rollup import RollUp
from serinus.predictions.table.snapshot import segments_and_table

ALL = Position(2**40, 0)
"""As if everything was counted."""


class Place:
    """A log without its collector: segments are written, rolled up and read by hand, at a time of the test's own."""

    def __init__(
        self, path: Path, record: Callable[..., Any], encode: Callable[..., bytes], keep_hours: int = 1
    ) -> None:
        self.path, self.segments, self.table = path, path / "segments", path / "delta"
        self.segments.mkdir(parents=True, exist_ok=True)
        self.now = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
        self.database = Database(path / "counts.db", db.metadata)
        self.store = CountStore(self.database)
        self.writer = SegmentWriter(self.segments, 1)
        self.keep_hours = keep_hours
        self.journal = Journal(path / "disturbances", "host", lambda: self.now)
        self.aside = Aside(Disturbances(path / "disturbances"))
        self._record, self._encode = record, encode
        self._seq = 0
        self.roll_up = self.new_roll_up()

    def new_roll_up(self, schedule: Schedule | None = None) -> RollUp:
        """As after a restart."""
        table = PredictionTable(Directory(self.table), keep_hours=self.keep_hours)
        ledger, chosen = Ledger(self.database), schedule or Schedule()
        return RollUp(self.segments, table, ledger, self.store, lambda: self.now, chosen, self.aside)

    def write(self, count: int = 1, model: str = "card-fraud", seal: bool = True) -> None:
        self._seq += 1
        records = [self._record(t=self.now, id=f"{self._seq}-{number}") for number in range(count)]
        body = self._encode(records)
        head = BatchHead(self._seq, len(body), 0)
        meta = {"at": self.now, **batch_meta(Hello(f"{model}-7-3f9a2c", model, "00000000"), head)}
        self.writer.append([encode(meta, body)])
        if seal:
            self.writer.seal()

    def roll(self) -> int:
        return self.roll_up.step(ALL, self.writer.durable.segment)

    def read(self) -> pl.DataFrame:
        return read_predictions(Directory(self.table), self.segments, RouterReplies(), self.aside).collect()

    def files(self) -> int:
        return sum(1 for each in self.table.rglob("*") if each.is_file())


def frames(place: Place) -> list[Frame]:
    return list(read_frames(place.segments, Position(0, 0)))


COLUMN_NAMES = list(COLUMNS)


@pytest.fixture
def place(tmp_path: Path, record, body) -> Place:
    return Place(tmp_path, record, body)


def test_sealed_segments_move_into_the_table_and_the_open_one_is_read_where_it_is(place: Place) -> None:
    place.write(3)
    place.write(2)
    place.write(4, seal=False)
    assert place.roll() == 2
    assert numbers(place.segments) == [3]
    assert place.read().height == 9
    assert pl.scan_delta(str(place.table)).collect().height == 5


def test_what_was_set_aside_is_marked_in_the_table_and_before_it_is_there(place: Place) -> None:
    place.write(2)
    place.now += 600
    place.journal.mark(Cause.ACTIVATION, 5, "card-fraud")
    place.write(3)
    marked = [(None, 2), ("wake", 3)]
    assert place.read().group_by("set_aside").len().sort("len").rows() == marked
    assert place.roll() == 2
    assert pl.scan_delta(str(place.table)).collect().group_by("set_aside").len().sort("len").rows() == marked


def test_a_segment_that_was_not_counted_to_its_end_stays(place: Place) -> None:
    place.write(1)
    assert place.roll_up.step(Position(1, 10), 2) == 0
    assert place.roll_up.step(Position(1, path_of(place.segments, 1).stat().st_size), 2) == 1


def test_a_kill_between_the_commit_and_the_removal_of_a_segment_writes_nothing_twice(place: Place) -> None:
    place.write(3)
    copy = place.path / "copy"
    shutil.copy(path_of(place.segments, 1), copy)
    place.roll()
    shutil.copy(copy, path_of(place.segments, 1))  # as it was before the kill
    assert place.read().height == 3
    place.roll_up = place.new_roll_up()
    assert place.roll() == 1
    assert place.read().height == 3
    assert numbers(place.segments) == []


def test_a_reader_sees_every_row_once_while_segments_are_rolled_up(place: Place) -> None:
    seen: list[tuple[int, int, int]] = []
    stop = threading.Event()
    written = [0]

    def read() -> None:
        while not stop.is_set():
            before = written[0]
            ids = place.read()["request_id"]
            seen.append((before, ids.len(), ids.n_unique()))

    reader = threading.Thread(target=read)
    place.write()
    reader.start()
    for number in range(40):
        written[0] = number + 1
        place.write()
        place.roll()
    stop.set()
    reader.join()
    assert len(seen) > 3
    for before, rows, different in seen:
        assert rows == different
        assert rows >= before


def test_a_torn_tail_is_left_out_by_readers_and_cut_off_before_writing_goes_on(place: Place) -> None:
    place.write(1, seal=False)
    place.write(2, seal=False)
    segment = path_of(place.segments, 1)
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-5])
    assert place.read().height == 1
    repair(place.segments)
    assert [frame.meta["seq"] for frame in read_frames(place.segments, Position(1, 0))] == [1]
    assert segment.stat().st_size < len(whole) - 5


def test_values_come_back_as_they_went_in(place: Place, record) -> None:
    place._record = lambda **changes: record(
        **changes,
        columns=["amount", "country", "flag", "gap"],
        inputs=[[0.1 + 0.2, "Österreich \ud800", True, float("nan")], [1e308, None, False, 2**70]],
        rows=2,
        scores=[0.1 + 0.2, float("nan")],
        answers=[1, "high"],
        entity="Zürich \udfff",
    )
    place.write()
    place.roll()
    row = place.read().row(0, named=True)
    first, second = json.loads(row["inputs"])
    assert (first["amount"], first["flag"], first["gap"]) == (0.1 + 0.2, True, None)
    assert first["country"].startswith("Österreich")
    assert second == {"amount": 1e308, "country": None, "flag": False, "gap": 2**70}
    assert row["scores"] == [0.1 + 0.2, None]
    assert row["answers"] == [1.0, None]
    assert row["entity"].startswith("Zürich")
    assert row["day"] == date(2026, 3, 1)


def test_the_table_holds_inputs_as_they_came_and_readers_get_a_list_of_objects(place: Place) -> None:
    place.write()
    place.roll()
    assert json.loads(pl.scan_delta(str(place.table)).collect()["inputs"][0]) == {
        "columns": ["amount", "hour"],
        "rows": [[12.5, 3]],
    }
    assert place.read()["inputs"].to_list() == ['[{"amount":12.5,"hour":3}]']


def test_what_the_cache_answered_is_marked(place: Place, record) -> None:
    place._record = lambda **changes: record(**changes, cached=True)
    place.write()
    place.roll()
    assert place.read()["cached"].to_list() == [True]


def test_segments_of_the_first_format_are_rolled_up_as_those_of_this_one_are(place: Place, record) -> None:
    place._record = lambda **changes: record(
        **changes,
        rows=2,
        columns=["amount", "country"],
        inputs=[[float("nan"), "Österreich \ud800"], [2**70, None]],
        scores=[0.1 + 0.2, float("inf")],
        answers=[1, "high"],
        entity="Zürich \udfff",
    )
    place.write()
    said = json.dumps({"seq": 2, "records": [place._record(t=place.now, id="1-0")]}).encode()
    hello = {"release": "card-fraud-7-3f9a2c", "model": "card-fraud", "boot": "00000000"}
    place.writer.append([encode({"at": place.now, "source": "release", **hello, "seq": 2}, said)])
    place.writer.seal()
    assert place.read().height == 2
    assert place.roll() == 2
    new, old = place.read().rows()
    assert new == old
    assert new[COLUMN_NAMES.index("scores")] == [0.1 + 0.2, None]


def test_a_table_that_was_made_before_a_column_gets_it_and_keeps_its_rows(tmp_path: Path, record, body) -> None:
    earlier = Schema([each for each in table_schema().fields if each.name != "cached"])
    table = DeltaTable.create(tmp_path / "delta", earlier, partition_by=["model", "day"])
    made_before = Place(tmp_path / "other", record, body)
    made_before.write()
    write_deltalake(table, frame_of(records_of(frames(made_before)), RouterReplies()).drop("cached"), mode="append")
    read = read_predictions(
        Directory(tmp_path / "delta"), tmp_path / "none", RouterReplies()
    )  # before the collector has seen it
    assert read.select("request_id", "cached").collect().rows() == [("1-0", None)]
    place = Place(tmp_path, record, body)
    place.write()
    place.roll()
    assert place.read().sort("cached")["cached"].to_list() == [None, False]
    place.roll_up.tend()
    assert place.read().sort("cached")["cached"].to_list() == [None, False]


def test_a_worker_that_lies_about_the_time_makes_no_partitions_of_other_days(place: Place, record) -> None:
    place._record = lambda **changes: record(**{**changes, "t": 1.0})
    place.write()
    assert place.read()["day"].to_list() == [date(2026, 3, 1)]


def test_predictions_are_removed_after_the_models_own_retention(place: Place) -> None:
    place.store.retain("o'brien", 2)
    for model in ("o'brien", "card-fraud"):
        place.write(model=model)
    place.roll()
    place.now += 3 * 86_400
    place.roll_up.tend()
    assert place.read()["model"].to_list() == ["card-fraud"]
    place.now += 90 * 86_400
    place.roll_up.tend()
    assert place.read().height == 0


@pytest.mark.parametrize(
    "commits", [200, pytest.param(2880, marks=[pytest.mark.long, pytest.mark.timeout(600)])], ids=["hours", "a day"]
)
def test_over_a_day_of_roll_ups_files_and_append_latency_stay_bounded(
    tmp_path: Path, record, body, commits: int
) -> None:
    place = Place(tmp_path, record, body, keep_hours=0)  # as if every hour of the day was over
    latencies, most_files = [], 0
    for _ in range(commits):
        place.now += 30
        place.write()
        before = time.process_time()
        place.roll()
        latencies.append(time.process_time() - before)
        most_files = max(most_files, place.files())
    assert most_files < 100
    # CPU time, because other work on the machine is none of this test's business.
    middle = sorted(latencies[-50:])[25]
    assert middle < 3 * sorted(latencies[:50])[25] + 0.005
    assert place.read().height == commits


# --- a copy, while it is written --------------------------------------------------------------------------


def copied(home: Home, to: Path, counted: Callable[[], None]) -> None:
    for path, file in segments_and_table(home, Directory(table_path(home)), counted):
        target = to / path.relative_to(home.predictions)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read())


def ids(directory: Path, place: Place) -> list[str]:
    found = read_predictions(
        Directory(directory / "delta"), directory / "segments", RouterReplies(), place.aside
    ).collect()
    return sorted(found["request_id"])


def test_a_copy_holds_what_is_rolled_up_meanwhile_and_holds_it_once(tmp_path: Path, record, body) -> None:
    home = Home(tmp_path / "home")
    place = Place(home.predictions, record, body)
    place.write(2, model="a model/with ümlauts")
    place.roll()
    place.write(3)

    def meanwhile() -> None:
        place.roll()
        place.write(4, seal=False)

    copied(home, tmp_path / "copy", meanwhile)
    whole = ids(home.predictions, place)
    assert len(whole) == 9
    assert numbers(home.predictions / "segments") == [3]
    assert numbers(tmp_path / "copy" / "segments") == [2, 3]
    assert ids(tmp_path / "copy", place) == whole


def test_a_copy_of_a_table_that_is_compacted_meanwhile_is_of_one_version(
    tmp_path: Path, record, body, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    place = Place(home.predictions, record, body, keep_hours=0)
    for _ in range(3):
        place.write(2)
        place.roll()
    whole, look, looks = ids(home.predictions, place), snapshot._data_of, []

    def then_compacted(root: Path, table: Any) -> list[Path]:
        found = look(root, table)
        looks.append(found)
        if len(looks) == 1:
            place.now += 86_400 * 2
            place.roll_up.tend()
        return found

    monkeypatch.setattr(snapshot, "_data_of", then_compacted)
    copied(home, tmp_path / "copy", lambda: None)
    assert len(looks) == 2, "the first found files that were removed meanwhile"
    assert ids(tmp_path / "copy", place) == whole


def test_a_copy_of_a_log_without_predictions_is_empty(tmp_path: Path) -> None:
    assert list(segments_and_table(Home(tmp_path), Directory(tmp_path), lambda: None)) == []
