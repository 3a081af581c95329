"""What counts as what, and what is remembered of entities."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serinus.core.evidence import ArmCounts, Followed, Totals, Watch
from serinus.predictions.counts import ledger
from serinus.predictions.counts import schema as db
from serinus.predictions.counts.counting import KINDS, Tally, arm_counts, buckets, entity_hash, quantile
from serinus.predictions.counts.ledger import Advance, Ledger
from serinus.predictions.counts.store import CountStore
from serinus.predictions.database import Database
from serinus.predictions.segments.columns import Columns, parse_body
from serinus.predictions.segments.files import Position
from serinus.predictions.segments.wire import Hello

RELEASE, OTHER, MODEL = "card-fraud-7-3f9a2c", "card-fraud-8-aaaaaa", "card-fraud"
WATCH = Watch("s1", "r1", MODEL, {RELEASE: 0.9}, slow_ms=50.0)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "counts.db", db.metadata)


@pytest.fixture
def of(record, body) -> Callable[..., Columns]:
    """One record as it is after its way through the socket."""

    def make(number: int = 0, release: str = RELEASE, **changes: Any) -> Columns:
        return parse_body(body([record(number, **changes)]), Hello(release, MODEL, "00000000"))

    return make


def together(records: list[Columns]) -> Columns:
    found = Columns()
    for each in records:
        found.extend(each)
    return found


def count(database: Database, records: list[Columns], watch: Watch = WATCH, most_entities: int = 1000) -> ArmCounts:
    """Counts `records` on top of what is counted already."""
    CountStore(database).watch(watch)
    tally = Tally()
    tally.add(together(records), {watch.split: watch}, time.time())
    Ledger(database, most_entities).commit(tally, Advance(Position(1, 1), time.time()))
    counts = CountStore(database).counts(watch.split)
    assert counts is not None
    return counts[RELEASE]


def test_a_good_answer_is_answered_and_nothing_else(database, of) -> None:
    counts = count(database, [of(rows=3, scores=[0.1, 0.2, 0.3])])
    assert (counts.requests, counts.answered, counts.rows) == (1, 1, 3)
    assert (counts.errors, counts.slow, counts.fallbacks, counts.alerts, counts.missing) == (0, 0, 0, 0, 0)
    assert counts.first_in_step["entities"] == 1


@pytest.mark.parametrize("status", [400, 404, 413, 422, 429])
def test_the_callers_own_mistake_is_a_request_but_neither_an_error_nor_an_answer(database, of, status) -> None:
    counts = count(database, [of(status=status, scores=None, ms=900.0, error="invalid")])
    assert counts == ArmCounts(
        RELEASE, requests=1, first_in_step=counts.first_in_step, first_in_rollout=counts.first_in_rollout
    )
    assert set(counts.first_in_step.values()) == {0}


def test_a_fallback_is_a_fallback_and_the_error_that_it_hides_but_no_alert(database, of) -> None:
    counts = count(database, [of(fallback=True, error="exception", scores=[0.99])])
    assert (counts.requests, counts.answered, counts.errors, counts.fallbacks, counts.alerts) == (1, 0, 1, 1, 0)


def test_a_timeout_is_slow_even_where_the_router_gave_up_before_the_slow_limit(database, of) -> None:
    assert count(database, [of(status=504, ms=10.0, error="timeout", scores=None)]).slow == 1


def test_alerts_are_rows_from_the_releases_own_threshold_on(database, of) -> None:
    assert count(database, [of(rows=3, scores=[0.9, 0.89, 0.95])]).alerts == 2
    assert count(database, [of(scores=[0.99], split="s2")], Watch("s2", "r1", MODEL, {}, 50.0)).alerts == 0


@pytest.mark.parametrize("scores", [None, [None], [0.1, None]])
def test_an_answer_without_a_score_for_every_row_is_missing_and_still_an_answer(database, of, scores) -> None:
    counts = count(database, [of(scores=scores)])
    assert (counts.missing, counts.answered, counts.errors) == (1, 1, 0)


def test_a_release_that_is_declared_to_answer_no_score_lacks_none(database, of) -> None:
    counts = count(database, [of(rows=3, scores=[])])
    assert (counts.missing, counts.alerts, counts.answered, counts.rows) == (0, 0, 1, 3)


def test_an_entitys_first_event_of_a_kind_is_counted_once_however_often_it_happens(database, of) -> None:
    errors = [of(entity="card-1", status=500) for _ in range(3)]
    count(database, errors)
    counts = count(database, [*errors, of(entity="card-2", status=500)])
    assert (counts.errors, counts.first_in_step["errors"], counts.first_in_rollout["errors"]) == (7, 2, 2)


def test_the_next_step_of_a_rollout_counts_an_entity_anew_but_the_rollout_does_not(database, of) -> None:
    count(database, [of(entity="card-1", status=500)])
    counts = count(database, [of(entity="card-1", status=500, split="s2")], Watch("s2", "r1", MODEL, {}, 50.0))
    assert (counts.first_in_step["errors"], counts.first_in_rollout["errors"]) == (1, 0)


def test_requests_without_an_entity_count_singly(database, of) -> None:
    counts = count(database, [of(entity=None, status=500), of(entity="", status=500)])
    assert counts.first_in_step["errors"] == 2


def test_beyond_what_a_set_may_remember_events_count_singly_and_that_is_said(database, of) -> None:
    known = [of(entity=f"card-{number}", status=500) for number in range(3)]
    count(database, known, most_entities=2)
    counts = count(database, known, most_entities=2)
    assert counts.first_in_step["errors"] == 4  # the first two once, the third at each look
    assert counts.first_in_step["entities"] == 2, "the split is judged by those that fit"
    assert "split:s1 entities" in Ledger(database, 2).saturated()


def test_requests_at_risk_are_those_of_entities_without_such_an_event_before(database, of) -> None:
    now = time.time()
    count(database, [of(entity="card-1", status=500, t=now), of(entity="card-2", t=now), of(entity=None, t=now)])
    more = [of(entity="card-1", t=now), of(entity="card-1", status=400, t=now), of(entity="card-3", t=now)]
    counts = count(database, [*more, of(entity=None, status=500, t=now)])
    assert counts.requests == 7
    assert counts.at_risk_in_step["errors"] == 5, "neither card-1's second request nor the caller's mistake"
    assert counts.at_risk_in_rollout["errors"] == 5
    assert counts.at_risk_in_step["slow"] == 6
    assert counts.at_risk_in_step["alerts"] == 4, "only answers can alert"


def test_those_at_risk_in_a_later_step_have_had_no_event_in_the_rollout(database, of) -> None:
    count(database, [of(entity="card-1", status=500)])
    later = Watch("s2", "r1", MODEL, {}, 50.0)
    counts = count(database, [of(entity="card-1", split="s2"), of(entity="card-2", split="s2")], later)
    assert (counts.at_risk_in_step["errors"], counts.at_risk_in_rollout["errors"]) == (2, 1)


def test_an_entitys_event_is_counted_again_in_the_next_window(database, of) -> None:
    """One ledger, as of one collector: the present windows are not kept over a restart."""
    CountStore(database).watch(WATCH)
    kept, begin = Ledger(database), 60.0 * int(time.time() // 60)
    for number, second in enumerate((1, 2, 61, 62, 125)):
        tally = Tally()
        tally.add(of(entity="card-1", status=500, t=begin + second), {"s1": WATCH}, begin + second)
        kept.commit(tally, Advance(Position(1, number + 1), begin + second))
    counted = CountStore(database).counts("s1")
    assert counted is not None
    counts = counted[RELEASE]
    assert (counts.errors, counts.first_in_step["errors"], counts.first_in_window["errors"]) == (5, 1, 3)
    assert counts.at_risk_in_window["errors"] == 3


def test_counts_of_a_home_that_did_not_count_who_was_at_risk_have_none(database) -> None:
    assert arm_counts(RELEASE, {"requests": 5, "step.errors": 1}).at_risk_in_step == {}


def test_a_release_of_another_model_cannot_count_under_the_split(database, of) -> None:
    CountStore(database).watch(WATCH)
    tally = Tally()
    tally.add(replace(of(), model=["another"]), {"s1": WATCH}, time.time())
    Ledger(database).commit(tally, Advance(Position(1, 1), time.time()))
    assert CountStore(database).counts("s1") == {}


def test_counts_and_the_position_they_reach_are_one_transaction(database, of, monkeypatch) -> None:
    count(database, [of()])

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(ledger, "_put", fail)
    tally = Tally()
    tally.add(of(), {"s1": WATCH}, time.time())
    with pytest.raises(OSError, match="no space"):
        Ledger(database).commit(tally, Advance(Position(9, 9), time.time()))
    counts = CountStore(database).counts("s1")
    assert counts is not None
    assert counts[RELEASE].requests == 1
    assert Ledger(database).recovered().position == Position(1, 1)


def test_traffic_covers_the_last_minutes_with_quantiles_within_a_tenth(database, of) -> None:
    now = time.time()
    tally = Tally()
    for number in range(1000):
        tally.add(of(number, t=now, ms=1.0 + number / 10), {}, now)
    tally.add(of(t=now - 600, ms=5000.0), {}, now)
    tally.add(of(t=now, status=500), {}, now)
    Ledger(database).commit(tally, Advance(Position(1, 1), now))
    traffic = CountStore(database).traffic(MODEL, 60, now)[RELEASE]
    assert (traffic.requests, traffic.errors) == (1001, 1)
    assert 60 <= traffic.seconds < 120
    assert traffic.p50_ms == pytest.approx(51, rel=0.1)
    assert traffic.p99_ms == pytest.approx(100, rel=0.1)
    assert CountStore(database).traffic(MODEL, 900, now)[RELEASE].requests == 1002
    begun = CountStore(database).traffic(MODEL, 0, now)[RELEASE]
    assert (begun.requests, begun.seconds) == (1001, pytest.approx(now % 60))
    assert CountStore(database).traffic("another", 60, now) == {}


def test_a_worker_that_lies_about_the_time_is_counted_now(database, of) -> None:
    now = time.time()
    tally = Tally()
    tally.add(of(t=1.0), {}, now)
    tally.add(of(t=3.9e9), {}, now)
    assert {minute for minute, *_ in tally.minutes} == {int(now // 60)}


def test_a_quantile_of_nothing_is_unknown() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({int(buckets(np.array([0.01]))[0]): 4}, 0.99) == pytest.approx(0.1)


def test_what_is_old_is_forgotten_but_counts_are_kept(database, of) -> None:
    count(database, [of(status=500)])
    Ledger(database).prune(time.time() + 8 * 86_400, time.time() + 8 * 86_400)
    with database.read() as connection:
        assert connection.execute(db.minutes.select()).all() == []
        assert connection.execute(db.entities.select()).all() == []
    counts = CountStore(database).counts("s1")
    assert counts is not None
    assert counts[RELEASE].errors == 1


def test_an_entity_that_changed_sides_within_a_stretch_counts_where_it_was_first(database, of) -> None:
    CountStore(database).watch(WATCH)
    sides = [of(entity="card-1", release=release, status=500) for release in (OTHER, RELEASE, OTHER)]
    tally = Tally()
    tally.add(together(sides), {"s1": WATCH}, time.time())
    Ledger(database).commit(tally, Advance(Position(1, 1), time.time()))
    counts = CountStore(database).counts("s1")
    assert counts is not None
    assert [(counts[one].errors, counts[one].first_in_rollout["errors"]) for one in (OTHER, RELEASE)] == [
        (2, 1),
        (1, 0),
    ]


def test_entities_that_a_failed_transaction_saw_are_new_to_the_next(database, of, monkeypatch) -> None:
    CountStore(database).watch(WATCH)
    kept = Ledger(database)
    tally = Tally()
    tally.add(of(entity="card-1"), {"s1": WATCH}, time.time())
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "_put", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
        with pytest.raises(OSError, match="no space"):
            kept.commit(tally, Advance(Position(1, 1), time.time()))
    for _ in range(2):
        kept.commit(tally, Advance(Position(1, 1), time.time()))
    counts = CountStore(database).counts("s1")
    assert counts is not None
    assert (counts[RELEASE].requests, counts[RELEASE].first_in_step["entities"]) == (2, 1)


def test_totals_are_counted_without_a_watch(database, of) -> None:
    tally = Tally()
    records = [of(status=422, error="invalid"), of(status=500), of(fallback=True, error="timeout"), of(cached=True)]
    tally.add(together(records), {}, time.time())
    tally.add_dropped({"model": MODEL, "release": RELEASE, "dropped": 3})
    Ledger(database).commit(tally, Advance(Position(1, 1), time.time()))
    totals = CountStore(database).totals()
    assert totals == {RELEASE: Totals(RELEASE, MODEL, 4, 2, 1, 1, 3, totals[RELEASE].streak)}


RECORDS = st.fixed_dictionaries(
    {
        "release": st.sampled_from([RELEASE, OTHER]),
        "split": st.sampled_from(["s1", "s2", "unwatched"]),
        "entity": st.sampled_from([None, "card-1", "card-2", "card-3"]),
        "status": st.sampled_from([200, 400, 422, 500, 503, 504]),
        "ms": st.sampled_from([1.0, 50.0, 50.1, 900.0]),
        "rows": st.integers(0, 3),
        "scores": st.none() | st.lists(st.none() | st.sampled_from([0.1, 0.89, 0.9, 1.0]), max_size=3),
        "fallback": st.booleans(),
        "error": st.sampled_from([None, "timeout", "exception"]),
    }
)
WATCHES = {"s1": WATCH, "s2": Watch("s2", "r1", MODEL, {OTHER: 0.5}, slow_ms=5.0)}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(RECORDS, max_size=25))
def test_counting_a_stretch_is_counting_record_by_record(of, said) -> None:
    tally, expected = Tally(), Counter[tuple[str, str, str]]()
    firsts: dict[tuple[str, str], dict[int, tuple[str, str, str]]] = {}
    asked, windows = Counter[tuple[Any, ...]](), set()
    tally.add(together([of(**one) for one in said]), WATCHES, time.time())
    for one in said:
        watch = WATCHES.get(one["split"])
        if watch is None:
            continue
        for name, count in happenings(one, watch).items():
            key = (one["split"], one["release"])
            if name != "entities":
                expected[*key, name] += count
            if name in ("entities", "answered") and count:
                asked[*key, name, one["entity"]] += 1
            if name not in KINDS or not count:
                continue
            if name != "entities" and one["entity"] is None:
                expected[*key, f"window.{name}"] += 1
            elif name != "entities":
                windows.add((*key, name, entity_hash(one["entity"])))
            for scope, within in ((f"split:{watch.split}", "step"), (f"rollout:{watch.rollout}", "rollout")):
                if one["entity"] is None:
                    expected[*key, f"{within}.{name}"] += 1
                else:
                    firsts.setdefault((scope, name), {}).setdefault(
                        entity_hash(one["entity"]), (*key, f"{within}.{name}")
                    )
    assert +tally.counts == +expected
    assert tally.firsts == firsts
    assert {(*key, entity) for key, found in tally.windows.items() for entity in found} == windows
    for (split, release), of_arm in tally.asked.items():
        for name, kind in (("entities", "errors"), ("answered", "alerts")):
            by_entity, nameless = of_arm.of(kind)
            assert nameless == asked[split, release, name, None]
            for entity in ("card-1", "card-2", "card-3"):
                assert by_entity[entity_hash(entity)] == asked[split, release, name, entity]


def happenings(said: dict[str, Any], watch: Watch) -> dict[str, int]:
    """What one answered request counts for, in words as plain as can be."""
    status, fallback, error, scores = said["status"], said["fallback"], said["error"], said["scores"]
    if 400 <= status < 500:
        return {"requests": 1}
    failed = status >= 500 or (fallback and error is not None)
    answered = not failed and not fallback
    threshold = watch.thresholds.get(said["release"])
    alerts = [score for score in scores or [] if None not in (score, threshold) and score >= threshold]
    return {
        "requests": 1,
        "entities": 1,
        "answered": int(answered),
        "rows": said["rows"] if answered else 0,
        "errors": int(failed),
        "slow": int(error == "timeout" or status == 504 or said["ms"] > watch.slow_ms),
        "fallbacks": int(fallback),
        "missing": int(answered and (scores is None or None in scores)),
        "alerts": len(alerts) if answered else 0,
    }


def streak_after(database, *stretches) -> tuple[int, float | None, float | None]:
    """Of what is stored when the stretches were counted one after the other."""
    now = time.time()
    for number, records in enumerate(stretches):
        tally = Tally()
        tally.add(together(records), {}, now)
        Ledger(database).commit(tally, Advance(Position(1, number + 1), now))
    streak = CountStore(database).totals()[RELEASE].streak
    answered, failed = (None if at is None else at.timestamp() for at in (streak.answered_at, streak.failed_at))
    return streak.failing, answered, failed


def test_failures_since_the_last_answer_are_counted_over_stretches(database, of) -> None:
    at = time.time() - 100
    bad, good = [of(t=at + n, status=500) for n in range(3)], of(t=at + 10)
    assert streak_after(database, bad) == (3, None, pytest.approx(at + 2))
    assert streak_after(database, [good]) == (0, pytest.approx(at + 10), pytest.approx(at + 2))
    later = [of(t=at + 20, status=504), of(t=at + 21, status=400)]
    assert streak_after(database, later) == (1, pytest.approx(at + 10), pytest.approx(at + 20))
    assert streak_after(database, [of(t=at + 31, status=500), of(t=at + 30)]) == (
        1,
        pytest.approx(at + 30),
        pytest.approx(at + 31),
    )


def test_what_the_caller_got_wrong_is_neither_failure_nor_answer(database, of) -> None:
    assert streak_after(database, [of(status=400)]) == (0, None, None)


def test_a_followed_release_is_counted_once_an_entity_and_minute_and_by_the_hour(database, of) -> None:
    begin = 1_900_000_000 // 3600 * 3600 + 3480.0  # two minutes before the next hour
    keeper, store = Ledger(database), CountStore(database)
    store.follow(Followed(RELEASE, MODEL, threshold=None, slow_ms=50.0))
    for minute in range(5):
        now = begin + 60 * minute
        records = [of(n, entity="card-1", split=f"any-{n}", status=500, t=now + n) for n in range(4)]
        records += [of(9, entity=None, split="s9", status=500, t=now + 9)]
        records += [of(10, release=OTHER, entity="card-2", t=now + 10)]
        tally = Tally()
        tally.add(together(records), {}, now + 20, store.following([RELEASE, OTHER]))
        keeper.commit(tally, Advance(Position(1, minute), now + 20))
    counts = store.followed()
    assert set(counts) == {RELEASE}
    assert (counts[RELEASE].requests, counts[RELEASE].errors) == (25, 25)
    assert counts[RELEASE].first_in_window["errors"] == 10  # the card, and one of nobody, each minute
    assert counts[RELEASE].at_risk_in_window["errors"] == 25  # all came at once
    first, second = store.hours([RELEASE, OTHER], int(begin // 3600))
    assert (first.hour, second.hour) == (begin // 3600, begin // 3600 + 1)
    assert (first.counts.first_in_window["errors"], second.counts.first_in_window["errors"]) == (4, 6)
    assert (first.counts.errors, second.counts.errors) == (10, 15)
    assert (first.squares["errors"], second.squares["errors"]) == (8, 8)  # 2 x 2 a minute; the last one is not over
    with database.read() as connection:
        assert connection.execute(db.entities.select()).all() == []
    keeper.prune(begin + 36 * 86_400, begin)
    assert store.hours([RELEASE], 0) == []


def test_events_of_hours_that_an_earlier_version_has_counted_too_high_are_mended_once(database) -> None:
    def counted() -> list[tuple[int, int]]:
        return [(hour.counts.alerts, hour.counts.answered) for hour in CountStore(database).hours([RELEASE, OTHER], 0)]

    Ledger(database)
    with database.write() as connection:
        connection.execute(db.progress.delete())
        wrong = [(5, RELEASE, 410), (6, RELEASE, 99), (6, OTHER, 7)]
        rows = [{"hour": hour, "release": release, "name": "alerts", "value": value} for hour, release, value in wrong]
        rows += [{"hour": hour, "release": RELEASE, "name": "answered", "value": 30} for hour in (5, 6)]
        rows.append({"hour": 5, "release": RELEASE, "name": "window.alerts", "value": 9})
        connection.execute(db.hours.insert(), rows)
    Ledger(database)
    assert sorted(counted()) == [(0, 0), (0, 30), (9, 30)]
    with database.write() as connection:
        connection.execute(db.hours.update().where(db.hours.c.name == "alerts").values(value=11))
    Ledger(database)
    assert sorted(counted()) == [(11, 0), (11, 30), (11, 30)]


def test_who_has_failed_is_not_at_risk_until_the_next_minute(database, of) -> None:
    now = 1_900_000_020.0 // 60 * 60
    keeper, store = Ledger(database), CountStore(database)
    store.follow(Followed(RELEASE, MODEL, threshold=None, slow_ms=50.0))
    for second in (1, 2, 3, 61):
        tally = Tally()
        failed = of(entity="card-1", split=f"s{second}", status=500, t=now + second)
        tally.add(
            together([failed, of(2, entity="card-2", t=now + second)]), {}, now + second, store.following([RELEASE])
        )
        keeper.commit(tally, Advance(Position(1, second), now + second))
    counts = store.followed()[RELEASE]
    assert (counts.errors, counts.first_in_window["errors"], counts.at_risk_in_window["errors"]) == (4, 2, 6)
