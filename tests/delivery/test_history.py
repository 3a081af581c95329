"""Who was champion, and where a rollback may go."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from serinus.core.examination import GateResult, Outcome
from serinus.core.people import Access, Actor
from serinus.core.release import Release, ServingSettings
from serinus.core.rollout import Cause, Kind, Phase, Plan, Policy, Rollout, Status
from serinus.delivery import champion_before, champions, rolled_back_from, why_never_champion

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def release(version: str) -> Release:
    return Release(f"m-{version}", "m", version, "d", "e", ServingSettings(), NOW)


def rollout(number: int, version: str, phase: Phase = Phase.PROMOTED, *, instead_of: str = "", **changes) -> Rollout:
    """`instead_of`: a rollback from that version."""
    plan = Plan(f"m-{instead_of}" if instead_of else None, None, (), Policy(), False, ServingSettings())
    return Rollout(
        id=f"m-r{number}", model="m", kind=Kind.ROLLBACK if instead_of else Kind.DEPLOY, version=version,
        asked_as="", actor=Actor("ada", Access.DEPLOY), why="", created_at=NOW, spec="", salt="", plan=plan,
        status=changes.pop("status", Status(phase, NOW)), candidate=release(version), **changes,
    )  # fmt: skip


def newest_first(*rollouts: Rollout) -> list[Rollout]:
    return list(reversed(rollouts))


def test_champions_are_what_was_promoted_or_is_being_promoted_the_latest_first() -> None:
    history = newest_first(
        rollout(1, "1"), rollout(2, "2"), rollout(3, "3", Phase.ABORTED), rollout(4, "4", Phase.PROMOTING)
    )
    assert list(champions(history)) == ["m-4", "m-2", "m-1"]


def test_a_second_rollback_does_not_return_to_what_was_just_rolled_back_from() -> None:
    history = newest_first(rollout(1, "1"), rollout(2, "2"), rollout(3, "3"))
    assert champion_before("m-3", history) == release("2")
    back = rollout(4, "2", Phase.PROMOTING, instead_of="3")
    assert champion_before("m-2", [back, *history]) == release("1")
    assert rolled_back_from([back, *history]) == {"m-3": "m-r4"}
    again = rollout(5, "1", instead_of="2")
    assert champion_before("m-1", [again, back, *history]) is None


def test_what_was_promoted_again_since_is_a_former_champion_like_any_other() -> None:
    history = newest_first(rollout(1, "1"), rollout(2, "2"), rollout(3, "1", instead_of="2"), rollout(4, "2"))
    assert rolled_back_from(history) == {}
    assert champion_before("m-2", history) == release("1")


FAILED = (GateResult("scan", Outcome.PASS, ""), GateResult("golden", Outcome.FAIL, "differs"))


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (rollout(2, "2", Phase.APPROVAL), "waits for an approval in m-r2"),
        (rollout(2, "2", Phase.CANARY), "still being tried in m-r2"),
        (rollout(2, "2", status=Status(Phase.ABORTED, NOW, cause=Cause.GATE), gates=FAILED), "failed the gate golden"),
        (rollout(2, "2", status=Status(Phase.ABORTED, NOW, cause=Cause.JUDGE, reason="errors")), "in m-r2: errors"),
        (None, "no rollout of it"),
    ],
)
def test_why_a_release_was_never_champion_is_said(last: Rollout | None, words: str) -> None:
    assert words in why_never_champion(last)
