"""A change of scale alone is applied to what is live: no other release, no gates, no canary."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import ADA, GRACE, MODEL, SPEC, Counter, Killed, Lab, breaking

from serinus.core.errors import Refused
from serinus.core.release import USUAL, Scale
from serinus.core.rollout import Kind, Phase
from serinus.engine.queries.in_force import changes_by, spec_in_force

MORE = "\nserving: {workers: 4, memory: 1GiB}\n"
WANTED = Scale(max_workers=4, memory_limit_bytes=2**30)


@pytest.fixture
def live(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "lab")
    lab.live("7")
    return lab


def deploy(lab: Lab, spec: str | None = SPEC + MORE, version: str = "7", *, supersede: bool = False) -> str:
    return lab.desk.deploy(ref=f"{MODEL}@{version}", spec=spec, actor=ADA, supersede=supersede).message


def scales(lab: Lab) -> dict[str, Scale]:
    """Version -> what runs with which scale."""
    return {one.version: lab.target.scales[one.id] for one in lab.target.placed.values()}


def test_it_is_applied_to_the_live_release_without_another_one_and_without_a_canary(live: Lab) -> None:
    before, routed = live.store.model(MODEL).champion, list(live.router.history)
    assert deploy(live) == f"{live.rollout.id} changes scale only: applied to {MODEL}@7 without a canary"
    live.run(12)
    assert (live.rollout.kind, live.phase) == (Kind.SCALE, Phase.SCALED)
    assert scales(live) == {"7": WANTED}
    state = live.store.model(MODEL)
    assert (state.champion, state.scale) == (before, WANTED)
    assert len(live.store.releases(MODEL)) == 1
    assert live.router.history == routed
    assert live.kinds() == ["created", "scaling", "scaled"]
    assert [entry.what for entry in live.store.audit_trail()] == ["promote", "scale"]
    live.everything_agrees_on("7")


def test_its_spec_becomes_the_models_so_that_the_next_version_has_that_scale_too(live: Lab) -> None:
    deploy(live)
    live.run(12)
    assert live.fleet.specs[MODEL] == SPEC + MORE
    live.register("8")
    live.per_second = 500
    live.desk.deploy(ref=f"{MODEL}@8", spec=None, actor=ADA)
    live.run(4000, lambda: live.phase.ended)
    assert live.champion == "8"
    assert scales(live) == {"7": WANTED, "8": WANTED}
    assert live.store.model(MODEL).scale == WANTED


def test_nothing_is_done_twice_and_what_differs_otherwise_is_another_release(live: Lab) -> None:
    deploy(live)
    live.run(12)
    assert "there is nothing to do" in deploy(live)
    assert "is being deployed as" in deploy(live, f"{SPEC}\nserving: {{workers: 4, memory: 1GiB, timeout: 1s}}\n")
    live.run(12)
    assert live.rollout.kind is Kind.DEPLOY


def test_it_waits_for_an_approval_where_a_version_would_and_its_spec_with_it(live: Lab) -> None:
    live.desk.set_approval(MODEL, True, actor=GRACE)
    assert "once it is approved" in deploy(live)
    live.run(20)
    assert (live.phase, scales(live), live.fleet.specs[MODEL]) == (Phase.APPROVAL, {"7": USUAL}, SPEC)
    with pytest.raises(Refused, match="another person"):
        live.desk.order(live.rollout.id, "approve", actor=ADA)
    live.desk.order(live.rollout.id, "approve", actor=GRACE)
    live.run(12)
    assert (live.phase, scales(live), live.fleet.specs[MODEL]) == (Phase.SCALED, {"7": WANTED}, SPEC + MORE)
    assert live.rollout.approved_by == "grace"


def test_one_that_was_not_approved_changes_nothing(live: Lab) -> None:
    live.desk.set_approval(MODEL, True, actor=GRACE)
    deploy(live)
    live.run(12)
    live.desk.order(live.rollout.id, "abort", actor=ADA, why="too much")
    live.run(12)
    assert (live.phase, scales(live), live.store.model(MODEL).scale) == (Phase.ABORTED, {"7": USUAL}, USUAL)
    assert live.store.model(MODEL).aborted == {}


def test_a_spec_that_asks_for_an_approval_gets_one(live: Lab) -> None:
    deploy(live, SPEC.replace("rollout:", "rollout:\n  approval: required") + MORE)
    live.run(12)
    assert live.phase is Phase.APPROVAL


def test_while_a_version_is_tried_it_is_refused_or_takes_its_place(live: Lab) -> None:
    live.register("8")
    live.per_second = 50
    live.desk.deploy(ref=f"{MODEL}@8", spec=None, actor=ADA)
    live.run(60, lambda: live.phase is Phase.CANARY)
    with pytest.raises(Refused, match="is in flight"):
        deploy(live)
    deploy(live, supersede=True)
    live.run(40)
    assert (live.rollout.kind, live.phase, live.champion) == (Kind.SCALE, Phase.SCALED, "7")
    assert scales(live) == {"7": WANTED}


def test_the_canary_has_the_scale_of_its_own_spec_and_the_champion_keeps_its(live: Lab) -> None:
    live.register("8")
    live.per_second = 50
    live.desk.deploy(ref=f"{MODEL}@8", spec=SPEC + MORE, actor=ADA)
    live.run(60, lambda: live.phase is Phase.CANARY)
    assert scales(live) == {"7": USUAL, "8": WANTED}
    live.desk.order(live.rollout.id, "abort", actor=ADA)
    live.run(20)
    assert scales(live)["7"] == USUAL
    assert live.store.model(MODEL).scale == USUAL


def test_a_rollback_goes_back_in_behaviour_and_keeps_the_scale(live: Lab) -> None:
    live.register("8")
    live.per_second = 500
    live.desk.deploy(ref=f"{MODEL}@8", spec=SPEC + MORE, actor=ADA)
    live.run(4000, lambda: live.phase.ended)
    live.desk.rollback(MODEL, to=None, actor=ADA)
    live.run(20)
    assert (live.champion, live.store.model(MODEL).scale) == ("7", WANTED)
    assert scales(live) == {"7": WANTED, "8": WANTED}


def test_a_target_that_is_away_gets_it_when_it_is_back(live: Lab) -> None:
    live.target.away = True
    deploy(live)
    live.run(20)
    assert live.phase is Phase.SCALING
    live.target.away = False
    live.run(12)
    assert (live.phase, scales(live)) == (Phase.SCALED, {"7": WANTED})


def test_it_is_told_only_when_all_that_serves_has_it(live: Lab) -> None:
    live.target.unscaled["7"] = ""
    deploy(live)
    live.run(200)
    assert (live.phase, scales(live), live.kinds()) == (Phase.SCALING, {"7": WANTED}, ["created", "scaling"])
    assert [act for act in live.target.history if act.startswith("place")][2:] == [], "it is told once"
    assert live.engine.trouble[MODEL][0].endswith("does not have its new scale yet")
    live.target.unscaled.clear()
    live.run(12)
    assert (live.phase, live.kinds()) == (Phase.SCALED, ["created", "scaling", "scaled"])
    assert MODEL not in live.engine.trouble


def test_why_it_does_not_get_it_is_told_and_an_abort_gives_it_the_one_before(live: Lab) -> None:
    live.target.unscaled["7"] = "a worker with its new scale exited with 1 while loading: MemoryError"
    deploy(live)
    live.run(12)
    assert "does not have its new scale yet: a worker with its new scale" in live.engine.trouble[MODEL][0]
    live.desk.order(live.rollout.id, "abort", actor=ADA, why="too little memory")
    live.run(1)
    live.target.unscaled.clear()
    live.run(12)
    assert (live.phase, scales(live), live.store.model(MODEL).scale) == (Phase.ABORTED, {"7": USUAL}, USUAL)
    assert live.store.model(MODEL).aborted == {}
    live.everything_agrees_on("7")
    deploy(live)
    live.run(12)
    assert (live.phase, scales(live)) == (Phase.SCALED, {"7": WANTED})


def test_another_scale_takes_its_place(live: Lab) -> None:
    live.target.unscaled["7"] = "a worker with its new scale exited with 1"
    deploy(live)
    live.run(12)
    deploy(live, f"{SPEC}\nserving: {{workers: 2}}\n", supersede=True)
    live.run(12)
    live.target.unscaled.clear()
    live.run(20)
    assert (live.rollout.kind, live.phase, scales(live)) == (Kind.SCALE, Phase.SCALED, {"7": Scale(max_workers=2)})


def test_one_that_is_aborted_before_it_begins_changes_nothing_of_the_last_one(live: Lab) -> None:
    deploy(live)
    live.run(12)
    live.desk.set_approval(MODEL, True, actor=GRACE)
    deploy(live, f"{SPEC}\nserving: {{workers: 2}}\n")
    live.run(12)
    live.desk.order(live.rollout.id, "abort", actor=ADA)
    live.run(12)
    assert (live.phase, scales(live), live.store.model(MODEL).scale) == (Phase.ABORTED, {"7": WANTED}, WANTED)


def test_diff_and_spec_say_so(live: Lab) -> None:
    said = changes_by(live.world, SPEC + MORE, model=MODEL, source="new.yaml")
    assert f"A deployment of {MODEL}@7 changes scale only: applied without a canary." in said.effects
    assert not any("canary" in one for one in said.effects[1:])
    live.fleet.specs[MODEL] = SPEC + MORE  # as by a push
    assert [one.field for one in spec_in_force(live.world, MODEL, {}).not_yet] == [
        "serving.memory",
        "serving.workers",
    ]
    deploy(live, None)
    live.run(12)
    assert spec_in_force(live.world, MODEL, {}).not_yet == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_act_it_is_applied_all_the_same(tmp_path: Path, after: bool) -> None:
    acts, at = 1, 0
    while at < acts:
        counter = Counter(at, after)
        lab = Lab(tmp_path / str(at))
        lab.live("7")
        lab.restart(breaking(lab.world, counter))
        try:
            deploy(lab)
            lab.run(12)
        except Killed:
            lab.restart()
            if lab.rollout.kind is not Kind.SCALE:  # died before the wish was stored: the person asks again
                deploy(lab)
            lab.run(20)
        when = f"killed {'after' if after else 'before'} act {at}, {counter.calls[-1:]}"
        assert (lab.phase, scales(lab), lab.store.model(MODEL).scale) == (Phase.SCALED, {"7": WANTED}, WANTED), when
        assert lab.fleet.specs[MODEL] == SPEC + MORE, when
        assert lab.store.audit_broken_at() is None, when
        acts = acts if at else counter.seen + 1
        at += 1
    assert acts > 5
