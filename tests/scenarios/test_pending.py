"""What waits for the rollout in flight to end, and what a store of an earlier version had waiting."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from lab import ADA, MODEL, Lab

from serinus.core.rollout import Cause, Phase

KEPT = Path(__file__).parents[1] / "backends" / "sql" / "homes" / "schema_2.sql"


def test_of_several_that_supersede_the_last_one_begins_and_the_others_say_why_they_did_not(lab: Lab) -> None:
    lab.live("6")
    for version in ("7", "8", "9"):
        lab.register(version)
        lab.desk.deploy(ref=f"{MODEL}@{version}", spec=None, actor=ADA, supersede=version != "7")
    lab.run(20)
    begun, given_way, superseded = lab.store.rollouts(MODEL, limit=3)
    assert (begun.version, begun.status.phase.ended) == ("9", False)
    assert (given_way.version, given_way.status.phase) == ("8", Phase.ABORTED)
    assert given_way.status.cause is Cause.SUPERSEDED
    assert f"before it began: {begun.id} takes its place" in given_way.status.reason
    assert [event.kind for event in lab.store.events(rollout=given_way.id)] == ["aborted"]
    assert (superseded.version, superseded.status.phase) == ("7", Phase.ABORTED)
    assert lab.store.pending() == []
    assert lab.store.model(MODEL).aborted.get("8") is None, "it was never tried"


def test_a_rollback_has_the_threshold_with_which_the_release_was_last_champion(lab: Lab) -> None:
    """Also where its release was tried again since, and given up before a threshold was known."""
    lab.live("6")
    first = lab.rollout
    assert first.threshold is not None
    lab.per_second = 400
    lab.register("7")
    lab.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ADA)
    lab.run(4 * 3600, until=lambda: lab.phase.ended)
    stopped = replace(first.status, phase=Phase.ABORTED)
    lab.store.create(replace(first, id=f"{MODEL}-r100", status=stopped, threshold=None))
    lab.desk.rollback(MODEL, to=None, actor=ADA)
    lab.run(20)
    assert (lab.champion, lab.rollout.threshold) == ("6", first.threshold)


def test_a_home_of_the_version_before_migrations_goes_on_where_it_was(directory: Path) -> None:
    """One rollout in its canary, ordered to make room for another, which begins and is promoted."""
    with closing(sqlite3.connect(directory / "store.db")) as connection:
        connection.executescript(KEPT.read_text())
    lab = Lab(directory)
    lab.clock.time += timedelta(days=1)
    for version in ("6", "7", "8", "9", "10"):
        lab.register(version)
    lab.per_second = 400
    lab.run(30, until=lambda: lab.rollout.version == "10")
    flight, waited = lab.store.rollout("fraud-r4"), lab.rollout
    assert (flight.status.phase, flight.status.cause) == (Phase.ABORTED, Cause.SUPERSEDED)
    assert waited.id == "fraud-r5"
    lab.run(4 * 3600, until=lambda: lab.phase.ended)
    lab.everything_agrees_on("10")
