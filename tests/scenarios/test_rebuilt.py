"""A cluster was rebuilt: what runs, what is routed, or the store itself was lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lab import ADA, GRACE, MODEL, OTHER, SPEC, Counter, FakeRecording, Killed, Lab, breaking

from serinus.backends.sql import SqlStore
from serinus.core.errors import SerinusError
from serinus.core.placement import Recorded
from serinus.core.release import Scale
from serinus.core.rollout import Phase
from serinus.core.routing import WHOLE
from serinus.engine import Report

DONE = "taken-over"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """With a record that outlives the store."""
    lab = Lab(tmp_path / "lab")
    lab.world = replace(lab.world, recording=FakeRecording(lab.target))
    lab.restart()
    return lab


def recording(lab: Lab) -> FakeRecording:
    assert isinstance(lab.world.recording, FakeRecording)
    return lab.world.recording


def lose_the_store(lab: Lab) -> None:
    """And the process with it."""
    lab.store = SqlStore(f"sqlite:///{lab.directory / 'another.db'}")
    lab.world = replace(lab.world, store=lab.store)
    lab.target.history.clear()
    lab.router.history.clear()
    lab.restart()


def lose_the_cluster(lab: Lab) -> None:
    """What ran is in Git alone."""
    recording(lab).also = {one.release.id: one for one in recording(lab).recorded()}
    lab.target.placed.clear()
    lab.router.routings.clear()


def canary(lab: Lab) -> None:
    """Version 2 has a part of the traffic of version 1."""
    lab.per_second = 100
    lab.live("1")
    lab.register("2")
    lab.desk.deploy(ref=f"{MODEL}@2", spec=None, actor=ADA)
    lab.run(seconds=60, until=lambda: lab.phase is Phase.CANARY and "2" in lab.weights())
    assert "2" in lab.weights()


def release_of(lab: Lab, version: str) -> str:
    return next(one.id for one in lab.target.placed.values() if one.version == version)


def told(lab: Lab, kind: str) -> list[str]:
    return [one.text for one in lab.store.events(limit=1000) if one.kind == kind]


# --- the store is there -----------------------------------------------------------------------------------


@pytest.mark.parametrize("away", [False, True], ids=["while the engine runs", "while it is away"])
def test_a_champion_is_placed_and_routed_again(lab: Lab, away: bool) -> None:
    lab.live("1")
    lose_the_cluster(lab)
    if away:
        lab.restart()
    lab.run(seconds=20)
    lab.everything_agrees_on("1")
    assert told(lab, "taken-over") == []


@pytest.mark.parametrize("away", [False, True], ids=["while the engine runs", "while it is away"])
def test_a_rollout_goes_on_after_its_releases_and_its_routing_were_lost(lab: Lab, away: bool) -> None:
    canary(lab)
    rollout = lab.rollout.id
    lose_the_cluster(lab)
    if away:
        lab.restart()
    lab.run(seconds=20)
    assert (lab.rollout.id, lab.phase) == (rollout, Phase.CANARY)
    assert "2" in lab.weights()
    lab.run(seconds=4000, until=lambda: lab.phase.ended)
    lab.everything_agrees_on("2")


# --- the store is lost ------------------------------------------------------------------------------------


def test_a_champion_is_taken_over_and_nothing_else_happens_to_it(lab: Lab) -> None:
    lab.live("1")
    before = lab.store.model(MODEL)
    assert before.champion is not None
    lose_the_store(lab)
    lab.run(seconds=20)
    lab.everything_agrees_on("1")
    state = lab.store.model(MODEL)
    assert state.champion is not None
    assert replace(state.champion, created_at=before.champion.created_at) == before.champion
    assert (state.champion_threshold, state.scale) == (before.champion_threshold, before.scale)
    assert [one.id for one in lab.store.releases(MODEL)] == [before.champion.id]
    assert lab.target.history == []
    assert lab.router.history == []
    assert len(lab.fleet.commits) == 1


def test_what_was_lost_is_said_in_an_event_the_status_and_the_audit_record(lab: Lab) -> None:
    lab.live("1")
    lose_the_store(lab)
    lab.run(seconds=8)
    [text] = told(lab, "taken-over")
    assert "Rollouts, approvals, evidence and the history of fraud are lost" in text
    assert lab.store.model(MODEL).notes == (text,)
    [entry] = [one for one in lab.store.audit_trail() if one.what == "take-over"]
    assert (entry.subject, entry.why) == ("fraud@1", "the store was empty")
    lab.restart()
    lab.run(seconds=8)
    assert len(told(lab, "taken-over")) == 1


def test_a_canary_is_dropped_and_its_traffic_is_the_champions_first(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    canary(lab)
    candidate = release_of(lab, "2")
    remove, weights = lab.target.remove, []

    def watched(release_id: str) -> None:
        weights.append(lab.weights())
        remove(release_id)

    monkeypatch.setattr(lab.target, "remove", watched)
    lose_the_store(lab)
    lab.run(seconds=20)
    lab.everything_agrees_on("1")
    assert weights[0] == {"1": WHOLE}
    assert candidate not in lab.target.placed
    assert lab.store.in_flight() == []
    [text] = told(lab, "dropped")
    assert text.startswith(candidate)
    assert [one.what for one in lab.store.audit_trail() if one.subject == "fraud@2"] == ["drop"]


def test_a_cluster_that_was_lost_as_well_comes_up_on_its_champion_alone(lab: Lab) -> None:
    canary(lab)
    champion, candidate = release_of(lab, "1"), release_of(lab, "2")
    lose_the_cluster(lab)
    lose_the_store(lab)
    lab.run(seconds=20)
    lab.everything_agrees_on("1")
    assert lab.target.placed.keys() == {champion}
    assert lab.target.history[0] == f"remove {candidate}", "also what runs nowhere yet, and is in Git"


def test_its_scale_and_its_threshold_are_taken_over(lab: Lab) -> None:
    lab.register("1")
    lab.desk.deploy(ref=f"{MODEL}@1", spec=f"{SPEC}serving: {{workers: 3}}\n", actor=ADA)
    lab.run(seconds=10)
    threshold = lab.store.model(MODEL).champion_threshold
    lose_the_store(lab)
    lab.run(seconds=8)
    state = lab.store.model(MODEL)
    assert state.scale == Scale(max_workers=3)
    assert state.champion_threshold == threshold is not None


def test_what_was_distrusted_stays_so_and_is_never_placed_otherwise(lab: Lab) -> None:
    lab.live("1")
    champion = release_of(lab, "1")
    lose_the_cluster(lab)
    lose_the_store(lab)
    also = recording(lab).also
    also[champion] = replace(also[champion], long=True)
    lab.run(seconds=20)
    lab.everything_agrees_on("1")
    assert lab.target.history == [f"distrust {champion}", f"place {champion}"]


def test_a_target_that_is_away_is_waited_for_and_nothing_is_said_twice(lab: Lab) -> None:
    canary(lab)
    lab.fleet.push(OTHER, {"version": "4", "release": "scoring-4-abcdef"})
    lose_the_store(lab)
    lab.target.away = True
    for _ in range(3):
        with pytest.raises(SerinusError, match="the host does not answer"):
            lab.step()
    lab.target.away = False
    lab.run(seconds=20)
    lab.everything_agrees_on("1")
    acts = [one.what for one in lab.store.audit_trail()]
    assert [acts.count(act) for act in ("take-over", "lose", "drop")] == [1, 1, 1]
    assert [len(told(lab, kind)) for kind in ("taken-over", "store-lost", "dropped")] == [1, 1, 1]


def test_the_next_version_needs_an_approval_until_the_policy_is_set(lab: Lab) -> None:
    lab.live("1")
    lose_the_store(lab)
    lab.run(seconds=8)
    lab.register("2")
    lab.desk.deploy(ref=f"{MODEL}@2", spec=None, actor=ADA)
    lab.run(seconds=60, until=lambda: lab.phase is Phase.APPROVAL)
    assert lab.phase is Phase.APPROVAL
    lab.desk.set_approval(MODEL, False, actor=GRACE, why="agreed")
    assert not lab.desk.policy(MODEL).approval_required


def test_nothing_is_removed_while_git_cannot_be_read(lab: Lab) -> None:
    canary(lab)
    before = set(lab.target.placed)
    lose_the_store(lab)
    recording(lab).away = True
    for _ in range(3):
        with pytest.raises(SerinusError, match="the Git server does not answer"):
            lab.step()
    assert lab.target.placed.keys() == before
    assert "2" in lab.weights()
    recording(lab).away = False
    lab.run(seconds=20)
    lab.everything_agrees_on("1")


def test_what_is_routed_is_taken_over_where_git_does_not_name_it(lab: Lab) -> None:
    canary(lab)
    lab.fleet.published.clear()
    lose_the_store(lab)
    lab.run(seconds=20)
    lab.everything_agrees_on("1")


def test_a_router_that_is_away_is_waited_for_where_git_does_not_name_what_runs(lab: Lab) -> None:
    lab.live("1")
    lab.fleet.published.clear()
    lose_the_store(lab)
    lab.router.away = True
    with pytest.raises(SerinusError, match="the router does not answer"):
        lab.step()
    assert lab.target.placed
    lab.router.away = False
    lab.run(seconds=20)
    lab.everything_agrees_on("1")


def test_what_is_live_and_recorded_nowhere_is_said_and_the_others_are_taken_over(lab: Lab) -> None:
    lab.live("1")
    lab.fleet.push(OTHER, {"version": "4", "release": "scoring-4-abcdef"})
    lab.fleet.push("old", {"retired": "2026-01-01T00:00:00+00:00", "version": "2", "release": "old-2-abcdef"})
    lose_the_store(lab)
    lab.run(seconds=8)
    assert lab.champion == "1"
    assert lab.store.model(OTHER).champion is None
    retired, lost = sorted(told(lab, "store-lost"))
    assert (
        "scoring-4-abcdef, which is live by Git, is recorded nowhere else. Deploy it again: `serinus deploy scoring@4`"
        in lost
    )
    assert "old, which is retired. Its callers get HTTP 404" in retired
    shown = {one.model: one.notes for one in Report(lab.world, dict, list, {}, list).status().models}
    assert (shown[OTHER], shown["old"]) == ([lost], [retired])


def test_the_release_of_another_model_is_not_taken_for_it(lab: Lab) -> None:
    lab.live("1")
    lab.fleet.push(OTHER, {"version": "1", "release": release_of(lab, "1")})
    lose_the_store(lab)
    lab.run(seconds=8)
    assert lab.store.model(OTHER).champion is None
    assert lab.champion == "1"


def test_a_store_with_champions_is_complete(lab: Lab) -> None:
    there = recording(lab)
    lab.restart(replace(lab.world, recording=None))  # as a version before this one
    lab.live("1")
    assert lab.store.setting(DONE) is None
    one = next(iter(lab.target.placed.values()))
    there.also = {"stray": Recorded(replace(one, id="fraud-9-abcdef", version="9"), Scale())}
    lab.restart()
    lab.run(seconds=8)
    assert lab.store.setting(DONE)
    assert told(lab, "taken-over") == told(lab, "dropped") == []


def test_a_new_installation_takes_nothing_over(lab: Lab) -> None:
    lab.run(seconds=8)
    assert lab.store.setting(DONE)
    assert lab.store.events(limit=10) == []
    lab.live("1")
    lab.everything_agrees_on("1")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 12))
def test_it_may_be_killed_at_any_act(lab: Lab, at: int, after: bool) -> None:
    canary(lab)
    champion = release_of(lab, "1")
    lose_the_store(lab)
    try:
        lab.restart(breaking(lab.world, Counter(at, after)))
        lab.step()
    except Killed:
        assert champion in lab.target.placed
    lab.restart()
    lab.run(seconds=20)
    lab.everything_agrees_on("1")
    assert lab.target.placed.keys() == {champion}
    assert "2" not in lab.weights()
    assert told(lab, "taken-over")
