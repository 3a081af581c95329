"""What the platform caused is kept and marked, and counted for neither arm; and no model can make it so."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serinus.core.disturbance import Cause
from serinus.core.evidence import ArmCounts, Followed, Watch
from serinus.disturbances import Disturbances, Journal
from serinus.predictions.counts import schema as db
from serinus.predictions.counts.counting import Tally
from serinus.predictions.counts.ledger import Advance, Ledger, RouterReplies
from serinus.predictions.counts.store import CountStore
from serinus.predictions.database import Database
from serinus.predictions.segments.aside import Aside
from serinus.predictions.segments.columns import Columns, parse_body
from serinus.predictions.segments.files import Position
from serinus.predictions.segments.wire import Hello
from serinus.predictions.table.delta import frame_of

CHAMPION, CANARY, MODEL = "card-fraud-7-3f9a2c", "card-fraud-8-aaaaaa", "card-fraud"
WATCH = Watch("s1", "r1", MODEL, {}, slow_ms=50.0)
NOW = time.time()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "disturbances", "host", lambda: NOW)


@pytest.fixture
def answered(tmp_path: Path, record, body) -> Callable[..., Columns]:
    """answered(CANARY, -3.0, 80.0): three seconds before now, after 80 ms; its record arrives at `at`."""
    aside = Aside(Disturbances(tmp_path / "disturbances"))

    def make(release: str, t: float, ms: float = 2.0, at: float = 0.0, model: str = MODEL, **changes: Any) -> Columns:
        written = body([record(0, t=NOW + t, ms=ms, split="s1", entity=f"card-of-{release}", **changes)])
        found = parse_body(written, Hello(release, model, "00000000"))
        aside.mark(found, NOW + at)
        return found

    return make


@pytest.fixture
def counted(tmp_path: Path) -> Callable[..., dict[str, ArmCounts]]:
    database = Database(tmp_path / "counts.db", db.metadata)

    def count(*records: Columns) -> dict[str, ArmCounts]:
        CountStore(database).watch(WATCH)
        together = Columns()
        for each in records:
            together.extend(each)
        tally = Tally()
        tally.add(together, {"s1": WATCH}, NOW)
        Ledger(database, 1000).commit(tally, Advance(Position(1, 1), NOW))
        return dict(CountStore(database).counts("s1") or {})

    return count


def test_what_was_answered_while_a_worker_was_started_is_counted_for_neither_arm(answered, counted, journal) -> None:
    journal.mark(Cause.ACTIVATION, 1.0, MODEL, since=NOW - 5)
    disturbed = [answered(CANARY, -4, 900.0), answered(CHAMPION, -4), answered(CHAMPION, -4, status=500)]
    counts = counted(*disturbed, answered(CANARY, -20), answered(CHAMPION, -20))
    for release, aside in ((CANARY, 1), (CHAMPION, 2)):
        arm = counts[release]
        assert (arm.requests, arm.answered, arm.errors, arm.slow) == (1, 1, 0, 0)
        assert arm.first_in_step["entities"] == 1
        assert arm.at_risk_in_step["slow"] == arm.at_risk_in_window["errors"] == 1
        assert arm.set_aside == {"wake": aside}


def test_what_is_set_aside_of_a_release_that_is_also_watched_after_its_promotion_is_said_once(
    answered, journal, tmp_path: Path
) -> None:
    journal.mark(Cause.RESTART, 0.0, since=NOW - 10)
    database = Database(tmp_path / "counts.db", db.metadata)
    champion = Followed(CHAMPION, MODEL, threshold=None, slow_ms=50.0)
    CountStore(database).watch(WATCH)
    CountStore(database).follow(champion)
    tally = Tally()
    tally.add(answered(CHAMPION, -4, 900.0), {"s1": WATCH}, NOW, {CHAMPION: champion})
    Ledger(database, 1000).commit(tally, Advance(Position(1, 1), NOW))
    assert (CountStore(database).counts("s1") or {})[CHAMPION].set_aside == {"restart": 1}
    live = (CountStore(database).followed() or {}).get(CHAMPION, ArmCounts(CHAMPION))
    assert (live.requests, live.slow, live.first_in_window.get("slow", 0)) == (0, 0, 0)


def test_an_entity_whose_event_was_set_aside_can_still_have_its_first_one(answered, counted, journal) -> None:
    journal.mark(Cause.RESTART, 0.0, since=NOW - 10)
    counted(answered(CANARY, -8, 900.0))
    assert counted(answered(CANARY, 0.5, 300.0, at=1.0))[CANARY].first_in_step["slow"] == 1


@pytest.mark.parametrize(
    ("t", "ms", "aside"),
    [
        (-10.0, 2.0, False),
        (-4.5, 2.0, True),
        (-3.0, 2.0, False),
        (-3.0, 2500.0, True),  # it waited for what was started
    ],
)
def test_a_request_is_set_aside_where_any_part_of_its_wait_was_disturbed(
    answered, journal, t: float, ms: float, aside: bool
) -> None:
    journal.end(journal.begin(Cause.ACTIVATION, MODEL, since=NOW - 5), settled=-4.0)
    assert answered(CANARY, t, ms).set_aside == ["wake" if aside else None]


def test_only_requests_of_the_model_that_was_disturbed_are_set_aside(answered, journal) -> None:
    journal.mark(Cause.SCALING, 5.0, MODEL, since=NOW - 5)
    assert answered("other-1-bbbbbb", -1, model="other").set_aside == [None]
    journal.mark(Cause.RESTART, 5.0, since=NOW - 5)
    assert answered("other-1-bbbbbb", -1, model="other").set_aside == ["restart"]


def test_a_model_cannot_date_its_slow_answers_back_to_a_disturbance_that_is_over(answered, journal) -> None:
    journal.mark(Cause.RESTART, 0.0, since=NOW - 10)
    later = 600.0
    assert answered(CANARY, -5, 900.0, at=later).set_aside == [None], "a time of long ago"
    assert answered(CANARY, later - 1, 700_000.0, at=later).set_aside == [None], "a wait that no caller has had"


def test_a_record_cannot_say_of_itself_that_it_is_set_aside(answered) -> None:
    assert answered(CANARY, -1, set_aside="wake").set_aside == [None]


def test_the_table_says_why_a_request_was_set_aside(answered, journal) -> None:
    journal.mark(Cause.STARVED, 0.0, MODEL, since=NOW - 5)
    records = answered(CANARY, -3)
    records.extend(answered(CANARY, -30))
    assert frame_of(records, RouterReplies())["set_aside"].to_list() == ["starved", None]
