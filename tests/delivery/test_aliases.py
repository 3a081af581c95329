"""The aliases that Serinus both obeys and moves."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from serinus.core.people import Access, Actor
from serinus.core.release import Release, ServingSettings
from serinus.core.rollout import Kind, ModelState, Phase, Rollout, Status
from serinus.delivery import read_aliases

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def release(version: str) -> Release:
    return Release(f"fraud-{version}-abcdef", "fraud", version, "d", "e", ServingSettings(), NOW)


def in_flight(version: str, phase: Phase = Phase.CANARY, kind: Kind = Kind.DEPLOY) -> Rollout:
    return Rollout(
        id="fraud-r2",
        model="fraud",
        kind=kind,
        version=version,
        asked_as=f"fraud@{version}",
        actor=Actor("ada", Access.DEPLOY),
        why="",
        created_at=NOW,
        spec="",
        salt="s",
        plan=None,
        status=Status(phase, NOW),
        candidate=release(version),
    )


LIVE = ModelState("fraud", champion=release("6"), aliases={"champion": "6"})


def test_a_challenger_set_by_a_person_is_a_command() -> None:
    reading = read_aliases(LIVE, None, {"champion": "6", "challenger": "7"})
    assert reading.deploy == "7"
    assert reading.writes == {}
    assert reading.state.aliases["challenger"] == "7"


def test_a_challenger_that_was_seen_is_no_command_again() -> None:
    seen = read_aliases(LIVE, None, {"champion": "6", "challenger": "7"}).state
    again = read_aliases(seen, None, {"champion": "6", "challenger": "7"})
    assert again.deploy is None
    assert again.state == seen


def test_a_deployment_from_the_terminal_gets_the_alias_challenger_and_that_is_no_command() -> None:
    reading = read_aliases(LIVE, in_flight("7"), {"champion": "6"})
    assert reading.writes == {"challenger": "7"}
    after = read_aliases(reading.state, in_flight("7"), {"champion": "6", "challenger": "7"})
    assert (after.deploy, after.writes) == (None, {})


def test_a_crash_between_storing_and_writing_an_alias_is_not_read_as_a_command() -> None:
    stored = read_aliases(
        replace(LIVE, aliases={"champion": "6", "challenger": "5"}),
        in_flight("7"),
        {"champion": "6", "challenger": "5"},
    ).state
    # The write never happened: the old value is still there, and the rollout has ended meanwhile.
    again = read_aliases(stored, None, {"champion": "6", "challenger": "5"})
    assert again.deploy is None


@pytest.mark.parametrize("phase", [Phase.PROMOTING, Phase.ABORTING])
def test_the_challenger_goes_when_its_rollout_ends(phase: Phase) -> None:
    state = replace(LIVE, aliases={"champion": "6", "challenger": "7"})
    reading = read_aliases(state, in_flight("7", phase), {"champion": "6", "challenger": "7"})
    assert reading.writes["challenger"] is None


def test_an_aborted_version_is_not_deployed_again_by_its_alias() -> None:
    stopped = replace(LIVE, aborted={"7": "fraud-r2"})
    reading = read_aliases(stopped, None, {"champion": "6", "challenger": "7"})
    assert reading.deploy is None
    ((kind, text),) = reading.notices
    assert kind == "challenger-was-aborted"
    assert "--reason" in text
    assert read_aliases(reading.state, None, {"champion": "6", "challenger": "7"}).notices == ()


def test_another_challenger_during_a_rollout_waits_for_its_end() -> None:
    state = replace(LIVE, aliases={"champion": "6", "challenger": "7"})
    actual = {"champion": "6", "challenger": "8"}
    during = read_aliases(state, in_flight("7"), actual)
    assert (during.deploy, during.writes) == (None, {})
    assert [kind for kind, _ in during.notices] == ["challenger-waits"]
    assert read_aliases(during.state, in_flight("7"), actual).notices == ()
    ending = read_aliases(during.state, in_flight("7", Phase.ABORTING), actual)
    assert ending.writes == {}
    assert read_aliases(ending.state, None, actual).deploy == "8"


def test_a_champion_moved_by_hand_is_put_back_and_said() -> None:
    reading = read_aliases(LIVE, None, {"champion": "3"})
    assert reading.writes == {"champion": "6"}
    assert [kind for kind, _ in reading.notices] == ["champion-put-back"]


def test_a_promotion_moves_the_champion_without_calling_it_a_hand() -> None:
    promoted = replace(LIVE, champion=release("7"), aliases={"champion": "6", "challenger": "7"})
    reading = read_aliases(promoted, in_flight("7", Phase.PROMOTING), {"champion": "6", "challenger": "7"})
    assert reading.writes == {"champion": "7", "challenger": None}
    assert reading.notices == ()
    again = read_aliases(reading.state, None, {"champion": "6", "challenger": "7"})  # neither was written: a crash
    assert again.notices == ()
    assert again.deploy is None
    assert again.writes == {"champion": "7"}


def test_a_challenger_that_is_live_already_is_no_command() -> None:
    reading = read_aliases(LIVE, None, {"champion": "6", "challenger": "6"})
    assert reading.deploy is None
    assert [kind for kind, _ in reading.notices] == ["challenger-is-live"]


def test_a_model_without_a_champion_has_no_alias_written() -> None:
    reading = read_aliases(ModelState("fraud"), None, {"champion": "3"})
    assert reading.writes == {}
    assert reading.state.aliases == {"champion": "3"}


def test_a_rollback_in_flight_moves_no_challenger() -> None:
    state = replace(LIVE, aliases={"champion": "6", "challenger": "9"})
    reading = read_aliases(state, in_flight("5", kind=Kind.ROLLBACK), {"champion": "6", "challenger": "9"})
    assert reading.writes == {}
