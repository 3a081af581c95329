"""What every PredictionLog must do. Another implementation joins by a line in `LOGS`.

A log comes with a way to make it hear of an answered request, because the port only reads.
"""

from __future__ import annotations

import json
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from databases import new_database
from lab import FakeLog
from object_stores import BUCKET
from waiting import wait_until

from serinus.core.disturbance import Cause
from serinus.core.errors import InvalidInput, NotFound, Refused
from serinus.core.evidence import ArmCounts, Followed, Watch
from serinus.core.home import Home
from serinus.core.keys import log_token
from serinus.core.ports import PredictionLog
from serinus.core.predictions import AnsweredRequest, Imported, Label, Labels
from serinus.disturbances import Journal
from serinus.predictions import DeltaPredictionLog
from serinus.predictions.paths import table_path
from serinus.predictions.table.places import Directory, Place, place_at

CHAMPION, CANARY = "card-fraud-7-3f9a2c", "card-fraud-8-aaaaaa"
DAY = datetime(2026, 3, 1, tzinfo=UTC)


class Subject(NamedTuple):
    log: PredictionLog
    answer: Callable[..., None]
    """Has `release` answer one request; further fields of the record by name."""
    journal: Journal | FakeLog
    """Of who may disturb what models answer."""


@contextmanager
def delta(path: Path, _request: pytest.FixtureRequest) -> Iterator[Subject]:
    with recorded(path, Directory(table_path(Home(path / "h")))) as made:
        yield made


@contextmanager
def bucket(path: Path, request: pytest.FixtureRequest) -> Iterator[Subject]:
    store = request.getfixturevalue("object_store_server")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in store.environment().items():
            patched.setenv(name, value)
        with recorded(path, place_at(f"s3://{BUCKET}/contract")) as made:
            yield made


@contextmanager
def postgres(path: Path, request: pytest.FixtureRequest) -> Iterator[Subject]:
    """With counts and outcomes in a database for several machines."""
    place = Directory(table_path(Home(path / "h")))
    with new_database(request.getfixturevalue("postgres_server")) as url, recorded(path, place, url) as made:
        yield made


@contextmanager
def recorded(path: Path, place: Place, database: str | None = None) -> Iterator[Subject]:
    home = Home(path / "h")
    for directory in home.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.secret.write_text(secrets.token_hex(32))
    command = [sys.executable, "-m", "serinus.predictions", "--home", str(home.path), "--table", place.uri]
    command += ["--database", database] if database else []
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def answer(release: str, split: str, **changes: Any) -> None:
        token = log_token(home.secret.read_text(), release)
        said = {"release": release, "token": token, "boot": secrets.token_hex(8), "format": 2}
        record = {"t": time.time(), "id": secrets.token_hex(8), "role": "champion", "split": split, "status": 200}
        record |= {"ms": 2.0, "rows": 1, "scores": [0.5], "answers": None, "entity": None, "error": None}
        record |= {"fallback": 0, "cached": 0, "columns": None, "inputs": None, **changes}
        headers = [] if record["columns"] is None else [record["columns"]]
        record["columns"] = 0 if headers else None
        body = json.dumps({**{name: [value] for name, value in record.items()}, "headers": headers}).encode()
        with socket.socket(socket.AF_UNIX) as connection:
            wait_until(lambda: connection.connect_ex(str(home.log_socket)) == 0)
            connection.sendall(json.dumps(said).encode() + b"\n")
            connection.sendall(json.dumps({"seq": 1, "bytes": len(body)}).encode() + b"\n" + body)
            assert connection.recv(100)

    try:
        wait_until(home.log_socket.exists)
        yield Subject(
            DeltaPredictionLog(home, place=place, database=database), answer, Journal(home.disturbances, "host")
        )
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@contextmanager
def lab(_path: Path, _request: pytest.FixtureRequest) -> Iterator[Subject]:
    """What scenarios in virtual time count by."""
    log = FakeLog()
    yield Subject(log, log.answer, log)


LOGS = {"bucket": bucket, "delta": delta, "lab": lab, "postgres": postgres}


@pytest.fixture(scope="module", params=sorted(LOGS))
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """One for all: each test has a split of its own."""
    with LOGS[request.param](tmp_path_factory.mktemp("log"), request) as made:
        yield made


def watch(split: str, **changes: Any) -> Watch:
    return Watch(
        **{"split": split, "rollout": split, "model": "card-fraud", "thresholds": {}, "slow_ms": 9.0, **changes}
    )


def test_a_split_that_is_not_watched_has_no_counts(subject: Subject) -> None:
    assert subject.log.counts("never-watched") is None


def test_a_watched_split_without_requests_has_counts_without_releases(subject: Subject) -> None:
    subject.log.watch(watch("quiet"))
    assert subject.log.counts("quiet") == {}


def test_repeating_a_watch_changes_nothing_and_another_one_for_its_split_is_refused(subject: Subject) -> None:
    subject.log.watch(watch("twice", thresholds={CANARY: 0.5, CHAMPION: 0.25}))
    subject.log.watch(watch("twice", thresholds={CHAMPION: 0.25, CANARY: 0.5}))
    with pytest.raises(Refused, match="twice is already watched"):
        subject.log.watch(watch("twice", slow_ms=10.0))


def test_each_release_is_counted_by_itself_and_only_under_the_split_of_its_requests(subject: Subject) -> None:
    subject.log.watch(watch("both", thresholds={CANARY: 0.4}))
    subject.log.watch(watch("neither"))
    subject.answer(CHAMPION, "both", entity="card-1")
    subject.answer(CANARY, "both", entity="card-2", ms=10.0)
    subject.answer(CANARY, "both", entity="card-2", status=500, scores=None, error="exception")
    wait_until(lambda: sum(arm.requests for arm in (subject.log.counts("both") or {}).values()) == 3)
    counts = subject.log.counts("both")
    assert counts is not None
    nothing = {"errors": 0, "slow": 0, "fallbacks": 0, "alerts": 0, "missing": 0, "entities": 1}
    once = {**nothing, "errors": 1, "slow": 1, "alerts": 1}

    def told(arm: ArmCounts) -> ArmCounts:
        """Who was at risk depends on which records came together."""
        return replace(arm, at_risk_in_step={}, at_risk_in_rollout={}, first_in_window={}, at_risk_in_window={})

    assert told(counts[CHAMPION]) == ArmCounts(
        CHAMPION, requests=1, answered=1, rows=1, first_in_step=nothing, first_in_rollout=nothing
    )
    assert counts[CHAMPION].at_risk_in_step == dict.fromkeys(("errors", "slow", "fallbacks", "alerts", "missing"), 1)
    assert told(counts[CANARY]) == ArmCounts(
        CANARY, requests=2, answered=1, rows=1, errors=1, slow=1, alerts=1, first_in_step=once, first_in_rollout=once
    )
    assert subject.log.counts("neither") == {}


def test_a_followed_release_is_counted_under_every_split_and_by_the_hour(subject: Subject) -> None:
    release, other = "followed-1-aaaaaa", "followed-2-bbbbbb"
    began = datetime.now(UTC)
    subject.log.follow(Followed(release, "followed", threshold=0.4, slow_ms=5.0))
    subject.log.follow(Followed(release, "followed", threshold=0.4, slow_ms=9.0))
    subject.log.watch(watch("followed-split", model="followed"))
    subject.answer(release, "steady", entity="card-1")
    subject.answer(release, "followed-split", entity="card-1", ms=10.0)
    subject.answer(release, "steady", status=500, scores=None, error="exception")
    subject.answer(other, "steady")

    def counted() -> ArmCounts:
        return (subject.log.followed() or {}).get(release, ArmCounts(release))

    wait_until(lambda: counted().requests == 3)
    found = counted()
    assert (found.answered, found.errors, found.alerts, found.slow) == (2, 1, 2, 1)
    assert found.first_in_window["errors"] == 1
    assert found.first_in_window["alerts"] in (1, 2)  # both of one card: two where a minute began between them
    assert other not in (subject.log.followed() or {})
    assert (subject.log.counts("followed-split") or {})[release].requests == 1
    hours = subject.log.hours([release, other], began)
    assert {one.counts.release for one in hours} == {release}
    assert sum(one.counts.requests for one in hours) == 3
    assert [sum(getattr(one.counts, name) for one in hours) for name in ("errors", "alerts", "slow")] == [1, 2, 1]
    assert sum(one.counts.first_in_window["errors"] for one in hours) == 1
    assert {one.hour for one in hours} <= {int(began.timestamp() // 3600), int(time.time() // 3600)}
    assert subject.log.hours([release], began + timedelta(hours=2)) == []


def test_what_is_answered_while_the_platform_disturbs_the_model_is_in_no_count_of_either_arm(subject: Subject) -> None:
    subject.log.watch(watch("disturbed"))
    number = subject.journal.begin(Cause.ACTIVATION, "card-fraud")
    seen = subject.log.disturbance("card-fraud")
    assert seen is not None
    assert (seen.cause, seen.until) == (Cause.ACTIVATION, None)
    assert subject.log.disturbance("another-model") is None
    for release in (CHAMPION, CANARY):
        subject.answer(release, "disturbed", entity=f"card-of-{release}", ms=900.0)
    subject.answer(CANARY, "disturbed", entity="card-1", status=500, scores=None, error="exception")
    subject.journal.end(number)
    wait_until(lambda: subject.log.disturbance("card-fraud") is None)
    subject.answer(CHAMPION, "disturbed", entity="card-2", ms=0.0)

    def counted() -> dict[str, ArmCounts]:
        return dict(subject.log.counts("disturbed") or {})

    wait_until(lambda: sum(arm.requests + sum(arm.set_aside.values()) for arm in counted().values()) == 4)
    canary, champion = counted()[CANARY], counted()[CHAMPION]
    assert (canary.requests, canary.errors, canary.slow, canary.set_aside) == (0, 0, 0, {"wake": 2})
    assert not any((*canary.first_in_step.values(), *canary.at_risk_in_step.values()))
    assert (champion.requests, champion.slow, champion.set_aside) == (1, 0, {"wake": 1})
    assert champion.at_risk_in_step["slow"] == champion.first_in_step["entities"] == 1
    assert subject.log.totals()[CANARY].errors >= 1, "it is in all totals"


def test_traffic_is_by_release_with_its_errors_and_latency(subject: Subject) -> None:
    release = "other-model-1-bbbbbb"
    for ms, status in ((2.0, 200), (4.0, 200), (8.0, 503)):
        subject.answer(release, "", ms=ms, status=status)
    traffic = wait_until(lambda: [one for one in subject.log.traffic("other-model", 60).values() if one.requests == 3])[
        0
    ]
    assert (traffic.release, traffic.errors) == (release, 1)
    assert traffic.seconds >= 60
    assert traffic.p50_ms == pytest.approx(4.0, rel=0.1)
    assert traffic.p99_ms == pytest.approx(8.0, rel=0.1)
    begun = subject.log.traffic("other-model", 0)
    assert all(one.seconds < 60 and one.requests <= 3 for one in begun.values()), "the minute that has begun, alone"
    of_all = subject.log.traffic_of_all(60)
    assert of_all["other-model"][release].requests == 3
    assert all(of_all[model].keys() == subject.log.traffic(model, 60).keys() for model in of_all)


def test_a_sample_is_of_what_the_releases_have_answered_since(subject: Subject) -> None:
    release, other = "sampled-1-bbbbbb", "sampled-2-bbbbbb"
    subject.answer(release, "", inputs="[[1.5, null]]", scores=[0.1 + 0.2])
    subject.answer(release, "", inputs="[[2.5, 1]]", status=500, scores=None, error="exception")
    subject.answer(release, "", inputs="[[3.5, 1]]", scores=None, answers=[0.0], fallback=1)
    subject.answer(other, "", inputs="[[4.5, 1]]")
    found: dict[str, Any] = {}
    mark = None

    def drawn() -> bool:
        nonlocal mark
        mark, new = subject.log.sample({release, other}, mark, 10)
        found.update({one.release: one for one in new})
        return set(found) == {release, other}

    wait_until(drawn)
    assert found[release] == AnsweredRequest(release, None, [[1.5, None]], [0.1 + 0.2])
    assert subject.log.sample({release, other}, mark, 10) == (mark, [])
    assert subject.log.sample({"another-1-bbbbbb"}, None, 10)[1] == []


def test_labels_are_counted_where_they_are_new_or_correct_an_earlier_one(subject: Subject) -> None:
    first = Label("request", 0.0, DAY)
    assert subject.log.label([first, Label("another", 1.0, DAY)]) == 2
    assert subject.log.label([first]) == 0
    assert subject.log.label([Label("request", 1.0, DAY - timedelta(days=1))]) == 0
    assert subject.log.label([Label("request", 1.0, DAY + timedelta(days=1), "analyst")]) == 1


def part_of(*ids: str, label: float = 1.0, at: datetime = DAY) -> Labels:
    """Outcomes by the callers' ids."""
    empty = [""] * len(ids)
    return Labels(list(ids), [label] * len(ids), [at] * len(ids), empty, empty, empty, empty)


def test_an_import_labels_once_it_is_attached_and_counts_what_is_unknown(subject: Subject) -> None:
    one, other, before = "0" * 32, "1" * 32, subject.log.matches().outcomes
    subject.answer(CHAMPION, "s1", id="known")
    subject.answer(CHAMPION, "s1", id="twice")
    subject.answer(CHAMPION, "s1", id="twice")
    subject.log.stage(one, 0, part_of("known", "twice"))
    subject.log.stage(one, 1, part_of("never", "known"))
    subject.log.stage(one, 1, part_of("never"))
    assert subject.log.matches().outcomes == before
    assert subject.log.attach(one) == Imported(outcomes=3, changed=3, unknown=1, ambiguous=1)
    with pytest.raises(NotFound):
        subject.log.attach(one)
    subject.log.stage(other, 0, part_of("known", label=0.0, at=DAY - timedelta(days=1)))
    subject.log.stage(other, 1, part_of("twice", "new"))
    subject.log.stage(other, 2, part_of("never", label=0.0))
    assert subject.log.attach(other) == Imported(outcomes=4, changed=2, unknown=2, ambiguous=1)
    assert subject.log.label([Label("known", 1.0, DAY)]) == 0
    assert subject.log.label([Label("never", 0.0, DAY)]) == 0
    subject.log.stage(one, 0, part_of("forgotten"))
    subject.log.discard(one)
    with pytest.raises(NotFound):
        subject.log.attach(one)
    with pytest.raises(InvalidInput):
        subject.log.stage("../" * 10 + "00", 0, part_of("x"))


def test_of_one_import_the_outcome_that_was_observed_last_holds(subject: Subject) -> None:
    subject.log.stage("2" * 32, 0, part_of("a", label=1.0, at=DAY + timedelta(days=1)))
    subject.log.stage("2" * 32, 1, part_of("a", "b", label=0.0))
    subject.log.stage("2" * 32, 2, part_of("b", label=1.0))
    assert subject.log.attach("2" * 32).outcomes == 2
    assert subject.log.label([Label("a", 1.0, DAY + timedelta(days=1)), Label("b", 1.0, DAY)]) == 0


def test_outcomes_of_a_champions_answers_are_counted_by_day_at_its_threshold(subject: Subject) -> None:
    release, other, begun = "by-day-1-aaaaaa", "by-day-2-bbbbbb", datetime.now(UTC).date()
    answers: tuple[tuple[str, dict[str, Any]], ...] = (
        ("caught", {"scores": [0.9]}),
        ("missed", {"scores": [0.1]}),
        ("false", {"scores": [0.8]}),
        ("several-rows", {"scores": [0.1, 0.8], "rows": 2}),
        ("at-the-threshold", {"scores": [0.5]}),
        ("without-a-score", {"scores": [None]}),
        ("unlabelled", {"scores": [0.9]}),
        ("by-the-fallback", {"scores": [0.9], "fallback": 1}),
        ("failed", {"scores": None, "status": 500}),
        ("in-a-canary", {"scores": [0.9], "role": "canary"}),
    )
    for name, changes in answers:
        subject.answer(release, "s1", **{"id": f"by-day-{name}", **changes})
    subject.answer(other, "s1", id="by-day-other", scores=[0.9])
    before = subject.log.outcomes_mark()
    frauds = ("caught", "missed", "several-rows", "without-a-score", "by-the-fallback", "failed", "in-a-canary")
    genuine = ("false", "at-the-threshold", "other")
    subject.log.label([Label(f"by-day-{name}", 1.0, DAY) for name in frauds])
    assert subject.log.outcomes_mark() not in ("", before)
    subject.log.label([Label(f"by-day-{name}", 0.0, DAY) for name in genuine])
    mark = subject.log.outcomes_mark()
    days = subject.log.outcome_days({release: 0.5})
    assert {one.release for one in days} == {release}
    assert {one.day for one in days} <= {begun, datetime.now(UTC).date()}
    counts = ("labelled", "frauds", "alerts", "caught")
    assert [sum(getattr(one, name) for one in days) for name in counts] == [6, 4, 4, 2]
    assert list(subject.log.outcome_days({})) == []
    assert subject.log.outcomes_mark() == mark


def test_rows_come_in_the_order_of_time_with_what_was_acknowledged_just_now(subject: Subject) -> None:
    release, now = "listed-1-aaaaaa", float(int(time.time()))  # not rounded once more on the way
    for number, seconds in enumerate((2, 6, 4)):
        inputs = f"[[{number}.5]]"
        subject.answer(
            release,
            "s1",
            t=now - seconds,
            id=f"listed-{number}",
            inputs=inputs,
            entity=f"card-{number}",
            columns=["amount"],
        )
    subject.answer("other-listed-1-aaaaaa", "s1", t=now, id="of-another")
    columns = ("request_id", "time", "release", "entity", "inputs", "scores")
    found = pl.concat([pl.DataFrame(one) for one in subject.log.rows("listed", columns)])
    assert tuple(found.columns) == columns
    assert found["request_id"].to_list() == ["listed-1", "listed-2", "listed-0"]
    assert found["time"].is_sorted()
    assert [json.loads(one) for one in found["inputs"]] == [[{"amount": 1.5}], [{"amount": 2.5}], [{"amount": 0.5}]]
    assert found["entity"].to_list() == ["card-1", "card-2", "card-0"]
    assert found["scores"].to_list() == [[0.5]] * 3
    since, until = (datetime.fromtimestamp(now - seconds, UTC) for seconds in (4.5, 2))
    some = pl.concat([pl.DataFrame(one) for one in subject.log.rows("listed", ("request_id",), since, until)])
    assert some["request_id"].to_list() == ["listed-2"]
    assert list(subject.log.rows("nobody", ("time",))) == []
    with pytest.raises(InvalidInput, match="no column amount"):
        list(subject.log.rows("listed", ("amount",)))


def test_counts_of_many_splits_are_read_at_once(subject: Subject) -> None:
    for split in ("first-of-many", "second-of-many", "quiet-of-many"):
        subject.log.watch(watch(split))
    subject.answer(CHAMPION, "first-of-many")
    subject.answer(CANARY, "second-of-many")
    splits = ("first-of-many", "second-of-many", "quiet-of-many", "never-watched")
    wait_until(lambda: sum(map(len, subject.log.counts_of_all(splits).values())) == 2)
    found = subject.log.counts_of_all(splits)
    assert found == {split: subject.log.counts(split) for split in splits[:3]}
    assert {split: list(arms) for split, arms in found.items()} == {
        "first-of-many": [CHAMPION],
        "second-of-many": [CANARY],
        "quiet-of-many": [],
    }
    assert subject.log.counts_of_all(()) == {}
