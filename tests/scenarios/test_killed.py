"""`kill -9` before and after every single act of the engine, and what the next process makes of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lab import ADA, MODEL, Counter, Killed, Lab, breaking

from serinus.core.merged import Merged, MergedFile
from serinus.core.people import Access, Actor
from serinus.core.release import Artifact, VersionRef
from serinus.core.rollout import Phase

pytestmark = pytest.mark.long

QUICK = """
model: fraud
alerts: {budget: 25%}
gates: {evaluation: evaluation.csv}
rollout:
  steps:
    - {traffic: 20%, requests: 1000, for: 4s, at_most: 1h}
    - {traffic: 50%, requests: 5000, for: 4s, at_most: 1h}
watch: {after: 0s}  # which would write for ever: see test_watch.py
"""

Story = Callable[[Lab], None]


def promotion(lab: Lab) -> None:
    lab.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ADA, why="again")
    lab.run(400, until=lambda: lab.phase.ended and lab.rollout.version == "7")


def abortion(lab: Lab) -> None:
    lab.behaviours["7"].errors = 0.05
    promotion(lab)


def rollback(lab: Lab) -> None:
    lab.desk.rollback(MODEL, to="5", actor=ADA, why="again")
    lab.run(400, until=lambda: lab.phase.ended and lab.rollout.version == "5")


def prepared(directory: Path) -> Lab:
    """fraud@5, then fraud@6 live, under 4,000 requests a second."""
    lab = Lab(directory)
    lab.fleet.specs[MODEL] = QUICK
    lab.register("7")
    lab.live("5")
    lab.per_second = 4000
    lab.register("6")
    lab.desk.deploy(ref=f"{MODEL}@6", spec=None, actor=ADA)
    lab.run(400, until=lambda: lab.phase.ended)
    assert lab.champion == "6"
    return lab


def killed_at(lab: Lab, story: Story, counter: Counter) -> Lab:
    """The story, its process killed once, and everything after that by new processes."""
    lab.restart(breaking(lab.world, counter))
    try:
        story(lab)
        lab.run(20)
    except Killed:
        lab.restart()
        if not lab.store.in_flight() and lab.rollout.version == "6":
            story(lab)  # died before the wish was stored: the person was told so, and asks again
        lab.run(400, until=lambda: lab.phase.ended)
    lab.run(20)
    return lab


def acts_of(lab: Lab, story: Story) -> int:
    counter = Counter(at=0, after=False)
    killed_at(lab, story, counter)
    return counter.seen


def test_what_happens_in_a_copied_lab_does_not_reach_the_one_that_was_copied(directory: Path) -> None:
    before = prepared(directory / "before")
    copy = before.copied(directory / "copy")
    copy.register("8")
    promotion(copy)
    copy.everything_agrees_on("7")
    before.everything_agrees_on("6")
    assert len(list(copy.registry.files.iterdir())) == len(list(before.registry.files.iterdir())) + 1
    assert (copy.clock.time > before.clock.time, before.store.in_flight(), before.rollout.version) == (True, [], "6")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("story", "live", "phase"),
    [(promotion, "7", Phase.PROMOTED), (abortion, "6", Phase.ABORTED), (rollback, "5", Phase.PROMOTED)],
    ids=["promotion", "abortion", "rollback"],
)
@pytest.mark.timeout(400)
def test_killed_at_every_act_the_rollout_goes_on_in_the_same_direction(
    directory: Path, story: Story, live: str, phase: Phase, after: bool
) -> None:
    before = prepared(directory / "before")
    acts = acts_of(before.copied(directory / "whole"), story)
    assert acts > 10
    for at in range(1, acts + 1):
        counter = Counter(at, after)
        here = directory / str(at)
        lab = killed_at(before.copied(here), story, counter)
        when = f"killed {'after' if after else 'before'} act {at}, {counter.calls[-1:]}"
        assert lab.phase is phase, f"{when}: {lab.rollout.status}"
        lab.everything_agrees_on(live)
        assert lab.store.audit_broken_at() is None, when
        assert lab.store.in_flight() == [], when
        lab.store.close()
        shutil.rmtree(here)


def run_until_deployed(lab: Lab, spec: str) -> None:
    lab.run(400, until=lambda: lab.rollout.spec == spec and lab.phase.ended)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.timeout(400)
def test_killed_while_it_carries_out_a_merge_it_carries_it_out_once(directory: Path, after: bool) -> None:
    spec = QUICK + "serving: {timeout: 80ms}\n"
    carla = Actor("Carla", Access.DEPLOY, "git", "carla@example.org")
    merged = Merged(MODEL, MergedFile.SPEC, f"models/{MODEL}/model.yaml", spec, "1" * 40, "Shorter", carla)
    before = prepared(directory / "before")
    for at in range(1, 12):
        counter = Counter(at, after)
        here = directory / str(at)
        lab = before.copied(here)
        lab.restart(breaking(lab.world, counter))
        lab.fleet.merge(merged)
        with pytest.raises(Killed):
            lab.run(60)
        lab.restart()
        run_until_deployed(lab, spec)
        lab.run(20)
        champion = lab.store.model(MODEL).champion
        assert champion is not None
        when = f"killed {'after' if after else 'before'} act {at}, {counter.calls[-1:]}"
        assert (lab.phase, champion.settings.timeout_ms) == (Phase.PROMOTED, 80), when
        assert len(lab.store.rollouts(MODEL)) == 3, when
        lab.store.close()
        shutil.rmtree(here)


@pytest.mark.parametrize("changed", [False, True])
def test_another_control_plane_fetches_the_files_that_were_resolved_before_it_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    """It takes over with a disk of its own. Files of another content are not those that were scanned."""
    lab = prepared(tmp_path)
    fetch, fetched = lab.registry.fetch, []

    def counted(ref: VersionRef) -> Artifact:
        fetched.append(lab.rollout.status.phase)
        found = fetch(ref)
        return replace(found, digest="another") if changed and fetched[-1] is Phase.BUILD else found

    monkeypatch.setattr(lab.registry, "fetch", counted)
    lab.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ADA, why="again")
    lab.run(400, until=lambda: lab.phase.ended and lab.rollout.version == "7")
    assert Phase.BUILD in fetched
    assert lab.phase is (Phase.ABORTED if changed else Phase.PROMOTED)
    assert lab.champion == ("6" if changed else "7")
    assert ("have changed since they were scanned" in lab.rollout.status.reason) == changed
