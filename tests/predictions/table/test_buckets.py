"""The table in a bucket: each segment exactly once, whatever is lost on the way, and by whatever number of writers."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake.exceptions import CommitFailedError, DeltaError
from descent import descendants
from object_stores import BUCKET, KEY, SECRET, ObjectStore
from waiting import wait_until

from serinus.core.buckets import BucketAddress
from serinus.core.errors import SerinusError, Unavailable
from serinus.core.home import Home
from serinus.predictions import DeltaPredictionLog
from serinus.predictions.counts.ledger import RouterReplies
from serinus.predictions.paths import segments_path
from serinus.predictions.queries import reading
from serinus.predictions.queries.rows import TableRows
from serinus.predictions.segments.files import Position, SegmentWriter, encode, numbers, read_frames
from serinus.predictions.segments.sources import batch_meta, records_of
from serinus.predictions.segments.wire import BatchHead, Hello
from serinus.predictions.status import read_status
from serinus.predictions.table.buckets import Bucket, options_of
from serinus.predictions.table.delta import COLUMNS, PredictionTable, frame_of
from serinus.predictions.table.places import Place, place_at, size_of
from serinus.predictions.table.roller import Schedule
from serinus.predictions.table.rolling import Work
from serinus.predictions.table.snapshot import segments_and_table
from serinus.predictions.writer import ensured_writer
from serinus.wiring.predictions import prediction_rows

pytestmark = pytest.mark.long

ALL = Position(2**40, 0)
"""As if everything was counted."""
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HELLO = Hello("card-fraud-7-3f9a2c", "card-fraud", "00000000")


@pytest.fixture
def place(object_store: ObjectStore, request: pytest.FixtureRequest) -> Place:
    """A prefix of the test's own."""
    return place_at(f"s3://{BUCKET}/{abs(hash(request.node.name)):x}/predictions")


def rows_of(*ids: str, day: date = date(2026, 3, 1)) -> pl.DataFrame:
    """A row for each id."""
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    made = pl.DataFrame({"request_id": ids, "model": "card-fraud", "time": at, "day": day, "rows": 1, "status": 200})
    lacking = [pl.lit(None).alias(name) for name in COLUMNS if name not in made.columns]
    return made.with_columns(lacking).select(*COLUMNS).cast(dict(COLUMNS))  # type: ignore[arg-type]


def ids(place: Place) -> list[str]:
    """What a reader of the table alone finds."""
    parts = TableRows(place).rows("card-fraud", ("request_id",))
    return sorted(one for part in parts for one in pl.DataFrame(part)["request_id"])


def write_segment(home: Home, number: int, record: Any, body: Any) -> None:
    at = NOON.timestamp()
    text = body([record(number, t=at)])
    segments_path(home).mkdir(exist_ok=True)
    meta = batch_meta(HELLO, BatchHead(number, len(text), 0))
    SegmentWriter(segments_path(home), number).append([encode({"at": at, **meta}, text)])


# --- once


def test_a_commit_whose_answer_is_lost_is_not_written_again(
    object_store: ObjectStore, place: Place, home: Home, record: Any, body: Any
) -> None:
    ensured_writer(home)
    work = Work(home, place, Schedule())
    write_segment(home, 1, record, body)
    assert work.step(ALL, 2) == {"rolled": 1}
    for number in (2, 3):
        write_segment(home, number, record, body)
    object_store.door.loses = lambda method, path: method == "PUT" and "_delta_log" in path
    answers = [work.step(ALL, 4)]
    assert object_store.door.lost, "the answer to a commit was to be lost"
    object_store.door.loses = lambda method, path: False
    while numbers(segments_path(home)):
        answers.append(work.step(ALL, 4))
        assert len(answers) < 4, answers
    assert ids(place) == ["request-1", "request-2", "request-3"]


def test_a_failure_between_commit_and_removal_writes_nothing_twice(
    place: Place, home: Home, record: Any, body: Any
) -> None:
    writer = ensured_writer(home)
    write_segment(home, 1, record, body)
    frames = read_frames(segments_path(home), Position(1, 0))
    PredictionTable(place, writer).append(frame_of(records_of(frames), RouterReplies([])), 1)
    assert DeltaPredictionLog(home, place=place).read().collect().height == 1
    assert Work(home, place, Schedule()).step(ALL, 2) == {"rolled": 1}
    assert ids(place) == ["request-1"]


def test_two_collectors_at_once_lose_nothing_and_write_nothing_twice(place: Place) -> None:
    """As where the pod of a collector is replaced, and the old one has not ended yet."""
    PredictionTable(place)
    troubles: list[Exception] = []

    def append(writer: str) -> None:
        number = 1
        while number <= 10:
            try:
                PredictionTable(place, writer).append(rows_of(f"{writer}-{number}"), number)
                number += 1
            except SerinusError as error:  # The next attempt sees what was written.
                troubles.append(error)
                if len(troubles) > 200:
                    raise

    writers = [threading.Thread(target=append, args=(name,)) for name in ("a", "b", "c")]
    for one in writers:
        one.start()
    for one in writers:
        one.join(120)
    assert ids(place) == sorted(f"{name}-{number}" for name in "abc" for number in range(1, 11))


def test_a_new_disk_begins_its_numbers_anew(place: Place, tmp_path: Path) -> None:
    first, second = Home(tmp_path / "first"), Home(tmp_path / "second")
    for home in (first, second):
        home.predictions.mkdir(parents=True)
    PredictionTable(place, ensured_writer(first)).append(rows_of("before"), 1)
    PredictionTable(place, ensured_writer(second)).append(rows_of("after"), 1)
    assert ids(place) == ["after", "before"]
    assert ensured_writer(first) == ensured_writer(first) != ensured_writer(second)


def test_a_table_of_an_earlier_version_keeps_what_it_knows(tmp_path: Path) -> None:
    directory = place_at(str(tmp_path / "delta"))
    PredictionTable(directory).append(rows_of("old"), 3)
    newer = PredictionTable(directory, "writer")
    newer.append(rows_of("again"), 3)
    newer.append(rows_of("new"), 4)
    assert ids(directory) == ["new", "old"]


# --- maintenance


def test_it_is_tended_and_measured(object_store: ObjectStore, place: Place) -> None:
    table = PredictionTable(place, "w", keep_hours=0)
    for number in range(1, 8):
        table.append(rows_of(str(number)), number)
    table.append(rows_of("expired", day=date(2020, 1, 1)), 8)
    prefix = place.uri.removeprefix(f"s3://{BUCKET}/")
    before = [key for key in object_store.keys(prefix) if key.endswith(".parquet")]
    assert len(before) == 8
    assert [one.day for one in table.expire({}, date(2025, 1, 1))] == ["2020-01-01"]
    table.compact(date(2026, 3, 2), 20)
    table.clean()
    data = [key for key in object_store.keys(prefix) if "_delta_log" not in key]
    assert len(data) == 1
    files = Path(str(object_store.root), data[0])
    assert size_of(place) == files.stat().st_size
    assert ids(place) == [str(number) for number in range(1, 8)]
    assert size_of(place_at(f"s3://{BUCKET}/nothing")) == 0


def test_a_log_in_a_bucket_is_read_with_what_is_not_rolled_up(place: Place, home: Home, record: Any, body: Any) -> None:
    ensured_writer(home)
    write_segment(home, 1, record, body)
    assert Work(home, place, Schedule()).step(ALL, 2) == {"rolled": 1}
    write_segment(home, 2, record, body)
    log = DeltaPredictionLog(home, place=place)
    parts = [pl.DataFrame(part) for part in log.rows("card-fraud", ("request_id", "inputs"))]
    assert sorted(pl.concat(parts)["request_id"]) == ["request-1", "request-2"]
    assert log.matches().unmatched == 0
    assert ids(place) == ["request-1"]
    with prediction_rows(place.uri) as table:
        found = [one for part in table.rows("card-fraud", ("request_id",)) for one in pl.DataFrame(part)["request_id"]]
    assert found == ["request-1"]


def test_a_backup_has_the_segments_and_leaves_the_table_where_it_is(
    place: Place, home: Home, record: Any, body: Any
) -> None:
    ensured_writer(home)
    write_segment(home, 1, record, body)
    PredictionTable(place)
    found = [path.name for path, _ in segments_and_table(home, place, lambda: None)]
    assert found == ["000000000001.segment"]


# --- while the store is away


@pytest.fixture
def shut_after(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors are told at once, and not after the usual ten seconds."""
    monkeypatch.setattr(
        "serinus.predictions.table.buckets._CLIENT", {"aws_conditional_put": "etag", "max_retries": "0"}
    )


def test_segments_wait_for_the_store_are_told_of_and_go_on(
    object_store: ObjectStore,
    place: Place,
    home: Home,
    collector_of: Callable[..., Any],
    worker: Callable[..., Any],
    record: Any,
) -> None:
    arguments = ("--table", place.uri, "--roll-seconds", "0.2")
    collector = collector_of(*arguments)
    sender = worker()
    sender.submit([record(1)])
    wait_until(lambda: _there(place) == {"request-1"})
    object_store.door.shut = True
    sender.submit([record(2)])
    sender.settle()  # It is acknowledged as always.
    told = wait_until(lambda: [line for line in collector.status()["warnings"] if "does not answer" in line])
    assert place.uri in told[0]
    [waits] = [line for line in collector.status()["warnings"] if "wait on the collector's disk" in line]
    assert "of at most 4,096 MiB" in waits
    collector.kill()  # And what waits outlives it, also where the store cannot be asked.
    collector.start(*arguments)
    sender.submit([record(3)])
    sender.settle(60)
    assert numbers(segments_path(home))
    object_store.door.shut = False
    wait_until(lambda: _there(place) == {"request-1", "request-2", "request-3"})
    wait_until(lambda: not collector.status()["warnings"])
    assert ids(place) == ["request-1", "request-2", "request-3"]
    log = DeltaPredictionLog(home, place=place)
    assert log.totals()[HELLO.release].requests == 3
    for secret in (KEY, SECRET):
        assert secret not in collector.log() + json.dumps(read_status(home))


@pytest.mark.parametrize("killed", ["collector", "roll-up"])
def test_a_kill_at_any_time_loses_nothing_and_writes_nothing_twice(
    place: Place, collector_of: Callable[..., Any], worker: Callable[..., Any], record: Any, killed: str
) -> None:
    arguments = ("--table", place.uri, "--roll-seconds", "0.1")
    collector = collector_of(*arguments)
    sender, sent = worker(), 0
    for round_ in range(4):
        for _ in range(15):
            sent += 1
            sender.submit([record(sent)])
            time.sleep(0.02 * (round_ + 1))  # Each round ends at another point of the roll-up.
        if killed == "collector":
            collector.kill()
            collector.start(*arguments)
        else:
            for child in descendants(collector.pid):
                os.kill(child, signal.SIGKILL)
    sender.settle(60)
    wait_until(lambda: len(_there(place)) == sent)
    assert collector.stop() == 0
    assert ids(place) == sorted(f"request-{number}" for number in range(1, sent + 1))


def _there(place: Place) -> set[str]:
    try:
        return set(ids(place))
    except Unavailable:  # There is no table yet.
        return set()


@pytest.mark.usefixtures("shut_after")
def test_a_new_disk_waits_for_the_store(object_store: ObjectStore, place: Place, home: Home, collector_of: Any) -> None:
    object_store.door.shut = True
    with pytest.raises(AssertionError, match=rf"{place.uri} does not answer\. Check that it runs"):
        collector_of("--table", place.uri)


@pytest.mark.usefixtures("shut_after")
def test_readers_are_told_that_the_store_is_away(object_store: ObjectStore, place: Place, home: Home) -> None:
    PredictionTable(place)
    object_store.door.shut = True
    log = DeltaPredictionLog(home, place=place)
    for ask in (log.matches, lambda: log.outcome_days({}), lambda: list(log.rows("card-fraud", ("time",)))):
        with pytest.raises(Unavailable, match="does not answer"):
            ask()


def test_readers_wait_until_the_rest_fits_into_memory(
    tmp_path: Path, home: Home, record: Any, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_segment(home, 1, record, body)
    log = DeltaPredictionLog(home)
    assert log.read().collect().height == 1
    monkeypatch.setattr(reading, "_MOST_WAITING", 10)
    with pytest.raises(Unavailable, match="wait to be written") as told:
        log.read()
    assert "serinus status" in told.value.hint


def test_no_more_waits_than_may(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, 1, most_bytes=10, most_waiting=25)
    for _ in range(3):
        writer.append([b"0123456789"])
    with pytest.raises(OSError, match="wait for the table") as told:
        writer.append([b"0123456789"])
    assert told.value.strerror is not None
    (tmp_path / "000000000001.segment").unlink()
    writer.append([b"0123456789"])
    assert numbers(tmp_path) == [2, 3, 4]


# --- credentials


@pytest.mark.usefixtures("shut_after")
def test_wrong_credentials_are_told_without_them(
    place: Place, monkeypatch: pytest.MonkeyPatch, home: Home, record: Any, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-that-nobody-may-see")
    write_segment(home, 1, record, body)
    answer = Work(home, place, Schedule()).step(ALL, 2)
    assert str(answer["error"]).startswith(f"{place.uri} refuses the credentials. Grant them s3:ListBucket")
    assert "nobody-may-see" not in caplog.text + json.dumps(answer)
    assert numbers(segments_path(home)) == [1]


def test_a_profile_serves_writers_and_readers(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(
        f"[other]\naws_access_key_id = no\n[fraud]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "fraud")
    PredictionTable(place, "w").append(rows_of("one"), 1)
    assert ids(place) == ["one"]
    monkeypatch.setenv("AWS_PROFILE", "missing")
    with pytest.raises(Unavailable, match="the profile missing of AWS_PROFILE has no access key"):
        ids(place)


def test_how_a_bucket_is_accessed(tmp_path: Path) -> None:
    config = tmp_path / ".aws" / "config"
    config.parent.mkdir()
    config.write_text("[default]\nregion = eu-central-1\nendpoint_url = http://store:9000\n")
    found = options_of({"HOME": str(tmp_path)})
    assert found["aws_region"] == "eu-central-1"
    assert (found["aws_endpoint_url"], found["aws_allow_http"]) == ("http://store:9000", "true")
    given = {"HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "k", "AWS_ENDPOINT_URL_S3": "https://s3.example.org"}
    found = options_of({**given, "AWS_DEFAULT_REGION": "us-west-2"})
    assert (found["aws_endpoint_url"], found["aws_allow_http"]) == ("https://s3.example.org", "false")
    assert found["aws_region"] == "us-west-2"
    assert "aws_access_key_id" not in found  # It is read where the environment has it.
    assert options_of({})["aws_region"] == "us-east-1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("GET https://sts?WebIdentityToken=TOKEN: error sending request: Connection refused", "does not answer"),
        ("403 Forbidden: <Code>AccessDenied</Code>", "refuses the credentials"),
        ("403: <Code>RequestTimeTooSkewed</Code>", "the clock of this machine is off"),
        ("404: <Code>NoSuchBucket</Code>", "there is no such bucket"),
        ("PUT http://169.254.169.254/latest/api/token: error sending request", "there are no credentials"),
        (
            "Received redirect without LOCATION, this normally indicates an incorrectly configured region",
            "another region",
        ),
        ("507: <Code>XMinioStorageFull</Code>", "full or over its quota"),
        ("503 Service Unavailable: SlowDown", "fails at present"),
        ("something of TOKEN else", "cannot be read or written (OSError)"),
    ],
)
def test_what_is_told_of_an_error(text: str, told: str) -> None:
    said = Bucket(BucketAddress.parse("s3://fraud/log")).trouble(OSError(text))
    assert isinstance(said, Unavailable)
    assert told in said.message
    assert said.message.startswith("s3://fraud/log") or "for s3://fraud/log" in said.message
    assert "TOKEN" not in str(said)


def test_a_conflict_of_writers_is_told() -> None:
    said = place_at("s3://fraud/log").trouble(CommitFailedError("version 7 exists"))
    assert "another writer" in str(said)
    assert "another writer" not in str(place_at("s3://fraud/log").trouble(DeltaError("else")))
