"""Which releases are needed, case by case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from serinus.core.people import Access, Actor
from serinus.core.release import Release, ServingSettings
from serinus.core.rollout import Kind, ModelState, Phase, Plan, Policy, Retired, Rollout, Status
from serinus.delivery import needed_releases

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def release(version: int) -> Release:
    return Release(
        id=f"m-{version}",
        model="m",
        version=str(version),
        artifact_digest=f"{version}",
        environment_digest="e",
        settings=ServingSettings(),
        created_at=NOW,
    )


R = {version: release(version) for version in range(1, 7)}


def rollout(
    number: int, phase: Phase, version: int | None, days_ago: float = 0, kind: Kind = Kind.DEPLOY, champion: str = ""
) -> Rollout:
    plan = Plan(champion or None, None, (), Policy(), False, ServingSettings())
    return Rollout(
        id=f"m-r{number}",
        model="m",
        kind=kind,
        version=str(version),
        asked_as="m@1",
        actor=Actor("anna", Access.DEPLOY),
        why="",
        created_at=NOW,
        spec="",
        salt="",
        plan=plan,
        status=Status(phase, NOW - days_ago * DAY),
        candidate=R[version] if version else None,
    )


ROLLED_BACK = [
    rollout(3, Phase.PROMOTED, 1, 8, Kind.ROLLBACK, champion="m-2"),
    rollout(2, Phase.PROMOTED, 2, 9),
    rollout(1, Phase.PROMOTED, 1, 20),
]
LIVE = [rollout(3, Phase.PROMOTED, 3, 2), rollout(2, Phase.PROMOTED, 2, 5), rollout(1, Phase.PROMOTED, 1, 20)]
STATE = ModelState("m", champion=R[3], previous=R[2])
RETIRED = ModelState("m", retired=Retired(R[3], NOW - 2 * DAY, "anna", "replaced"))

CASES: Mapping[str, tuple[ModelState, Sequence[Rollout], Sequence[Rollout], set[int]]] = {
    "nothing was ever deployed": (ModelState("m"), [], [], set()),
    "champion and the one before": (STATE, LIVE, [], {3, 2}),
    "aborted ones are not": (STATE, [rollout(4, Phase.ABORTED, 4, 0), *LIVE], [], {3, 2}),
    "a canary": (STATE, [rollout(4, Phase.CANARY, 4), *LIVE], [rollout(4, Phase.CANARY, 4)], {4, 3, 2}),
    "one that waits to supersede": (STATE, LIVE, [rollout(5, Phase.PLACE, 1, kind=Kind.ROLLBACK)], {3, 2, 1}),
    "one being built has no release yet": (STATE, LIVE, [rollout(4, Phase.BUILD, None)], {3, 2}),
    "one being aborted still runs": (STATE, LIVE, [rollout(4, Phase.ABORTING, 4)], {4, 3, 2}),
    "the one before the first champion that was rolled back from": (
        ModelState("m", champion=R[1], previous=R[2]),
        ROLLED_BACK,
        [],
        {1, 2},
    ),
    "previous is forgotten, the history is not": (ModelState("m", champion=R[3]), LIVE, [], {3, 2}),
    "retired": (RETIRED, [rollout(4, Phase.RETIRED, None, 2, Kind.RETIRE), *LIVE], [], set()),
    "being retired": (RETIRED, LIVE, [rollout(4, Phase.RETIRING, None, 0, Kind.RETIRE)], {3}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_needed_whatever_the_time(case: str) -> None:
    state, rollouts, flying, wanted = CASES[case]
    found = needed_releases(state, rollouts, flying, timedelta(), NOW)
    assert {int(one.version) for one in found} == wanted
    assert all(found.values())


@pytest.mark.parametrize(
    ("days", "wanted"),
    [(1, {3, 2}), (2.5, {3, 2}), (4.9, {3, 2}), (5.1, {3, 2, 1}), (30, {3, 2, 1})],
)
def test_a_former_champion_is_kept_for_a_time_from_when_it_was_replaced_on(days: float, wanted: set[int]) -> None:
    """Version 1 was replaced five days ago."""
    found = needed_releases(STATE, LIVE, [], timedelta(days=days), NOW)
    assert {int(one.version) for one in found} == wanted


def test_a_retired_champion_is_kept_for_that_time_as_well() -> None:
    rollouts = [rollout(4, Phase.RETIRED, None, 2, Kind.RETIRE), *LIVE]
    assert set(needed_releases(RETIRED, rollouts, [], 3 * DAY, NOW)) == {R[3], R[2]}
    assert set(needed_releases(RETIRED, rollouts, [], 6 * DAY, NOW)) == {R[3], R[2], R[1]}


def test_the_reasons_are_told_in_words() -> None:
    flying = [replace(rollout(4, Phase.CANARY, 4), id="m-r4")]
    found = needed_releases(STATE, LIVE, flying, 6 * DAY, NOW)
    assert found == {
        R[3]: "champion",
        R[4]: "m-r4 has not ended",
        R[2]: "it is the target of a rollback",
        R[1]: "champion until 2026-03-05 12:00 UTC",
    }
