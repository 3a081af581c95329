"""What people merge in the fleet repository is carried out: a spec is deployed, a revert of what is live rolls back."""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import ADA, MODEL, SPEC, Lab

from serinus.backends.git import GitFleet, Remote
from serinus.backends.git.command import Git
from serinus.core.errors import Refused, Unavailable
from serinus.core.merged import Merged, MergedFile
from serinus.core.people import Access, Actor
from serinus.core.rollout import Kind, Phase
from serinus.engine.reconcile.converge import FLEET_READ

CARLA = Actor("Carla", Access.DEPLOY, "git", "carla@example.org")
DORA = Actor("Dora", Access.APPROVE, "git", "dora@example.org")
FASTER = SPEC.replace("3000", "2000")
QUICK = SPEC + "serving: {timeout: 80ms}\n"
PATH = f"models/{MODEL}/model.yaml"


def spec(text: str | None, **changes: Any) -> Merged:
    said = {"commit": "1234567890abcdef", "summary": "A shorter timeout", "author": CARLA} | changes
    return Merged(MODEL, MergedFile.SPEC, PATH, text, **said)


def revert(live: dict[str, Any] | None, **changes: Any) -> Merged:
    said = {"commit": "fedcba0987654321", "summary": 'Revert "Make fraud 7 live"', "author": CARLA} | changes
    text = yaml.safe_dump(live) if live is not None else None
    return Merged(MODEL, MergedFile.LIVE, f"live/{MODEL}.yaml", text, **said)


@pytest.fixture
def running(lab: Lab) -> Lab:
    """fraud@6 is live."""
    lab.live("6")
    lab.per_second = 500
    return lab


def rollouts(lab: Lab) -> int:
    return len(lab.store.rollouts(MODEL))


def test_a_merged_spec_is_deployed_with_the_version_that_is_live(running: Lab) -> None:
    running.fleet.merge(spec(QUICK))
    running.run(10, until=lambda: rollouts(running) == 2)
    found = running.rollout
    assert (found.kind, found.version, found.spec, found.actor) == (Kind.DEPLOY, "6", QUICK, CARLA)
    assert found.why == f"A shorter timeout ({PATH} in 1234567890)"
    running.run(3600, until=lambda: running.phase.ended)
    assert running.phase is Phase.PROMOTED
    (entry,) = [one for one in running.store.audit_trail() if one.details.get("commit")]
    assert (entry.who, entry.what, entry.subject) == ("Carla", "deploy", f"{MODEL}@6")


def test_a_merged_spec_is_deployed_with_the_challenger_where_there_is_one(running: Lab) -> None:
    running.register("7")
    running.registry.alias[MODEL]["challenger"] = "7"
    running.fleet.merge(spec(QUICK))
    running.run(10, until=lambda: rollouts(running) == 2)
    running.run(10)
    assert (running.rollout.version, running.rollout.spec) == ("7", QUICK)


def test_a_version_that_was_aborted_is_not_tried_again_by_a_merge(running: Lab) -> None:
    running.register("7")
    running.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ADA)
    running.run(20)
    running.desk.order(MODEL, "abort", actor=ADA, why="not yet")
    running.run(60, until=lambda: running.phase.ended)
    running.registry.alias[MODEL]["challenger"] = "7"
    running.fleet.merge(spec(QUICK))
    running.run(10)
    assert running.rollout.version == "6"


def test_what_was_there_before_serinus_is_no_order(lab: Lab) -> None:
    lab.fleet.merge(spec(QUICK))
    lab.live("6")
    lab.run(30)
    assert rollouts(lab) == 1


def test_a_merge_that_changes_nothing_of_what_is_live_starts_nothing(running: Lab) -> None:
    running.fleet.merge(spec(SPEC + "# a comment\n"))
    running.run(30)
    assert rollouts(running) == 1


def test_a_merge_is_carried_out_once_also_when_the_engine_dies_after_it(running: Lab) -> None:
    seen = running.store.setting("merges-seen")
    running.fleet.merge(spec(QUICK))
    running.run(10, until=lambda: rollouts(running) == 2)
    running.store.set_setting("merges-seen", seen or "")  # as if it had died before it was stored
    running.restart()
    running.run(20)
    assert rollouts(running) == 2
    assert not running.rollout.status.phase.ended


def test_a_later_merge_takes_the_place_of_the_rollout_in_flight(running: Lab) -> None:
    running.fleet.merge(spec(QUICK))
    running.run(30, until=lambda: running.phase is Phase.CANARY)
    slower = QUICK.replace("80ms", "90ms")
    running.fleet.merge(spec(slower, commit="2" * 16, summary="Still longer"))
    running.run(30, until=lambda: rollouts(running) == 3)
    assert running.rollout.spec == slower


def test_a_mistake_is_said_with_file_line_and_word_until_it_is_corrected(running: Lab) -> None:
    running.fleet.merge(spec(SPEC + "servng: {timeout: 80ms}\n"))
    running.run(10, until=lambda: "merges" in running.engine.trouble)
    (said,) = running.engine.trouble["merges"]
    line = SPEC.count("\n") + 1
    assert f"{PATH}:{line}" in said
    assert "servng" in said
    assert "Carla (carla@example.org) changed in 1234567890" in said
    assert "merge-refused" in [event.kind for event in running.store.events(model=MODEL, limit=100)]
    assert (running.champion, rollouts(running)) == ("6", 1)
    running.restart()
    running.run(10)
    assert running.engine.trouble["merges"] == (said,)
    running.fleet.merge(spec(QUICK, commit="3" * 16, summary="Correct it"))
    running.run(10, until=lambda: "merges" not in running.engine.trouble)
    assert running.rollout.spec == QUICK


def test_a_mistake_is_corrected_by_a_deployment_with_another_spec_as_well(running: Lab) -> None:
    running.fleet.merge(spec("model: [\n"))
    running.run(10, until=lambda: "merges" in running.engine.trouble)
    running.desk.deploy(ref=f"{MODEL}@6", spec=QUICK, actor=ADA)
    running.fleet.merge(Merged("other", MergedFile.LIVE, "live/other.yaml", None, "4" * 16, "Away", CARLA))
    running.run(10, until=lambda: "merges" not in running.engine.trouble)


def test_a_spec_that_cannot_be_read_is_said_and_the_engine_goes_on(running: Lab) -> None:
    running.fleet.merge(spec("", unreadable="models/fraud/model.yaml is not a file of at most 4 MiB."))
    running.run(10, until=lambda: "merges" in running.engine.trouble)
    assert "not a file of at most 4 MiB" in running.engine.trouble["merges"][0]
    assert (running.champion, "" in running.engine.trouble) == ("6", False)


def test_a_repository_that_cannot_be_read_does_not_stop_the_engine(
    running: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> Any:
        raise Refused("The fleet repository has commits of its own.")

    monkeypatch.setattr(running.fleet, "merged", refused)
    running.register("7")
    running.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ADA)
    running.run(3600, until=lambda: running.champion == "7")
    assert running.champion == "7"
    assert running.engine.trouble["merges"] == ("The fleet repository has commits of its own.",)


def test_a_model_that_has_no_version_to_deploy_says_so(running: Lab) -> None:
    text = QUICK.replace(f"model: {MODEL}", "model: other")
    running.fleet.merge(Merged("other", MergedFile.SPEC, "models/other/model.yaml", text, "5" * 16, "New", CARLA))
    running.run(10, until=lambda: "merges" in running.engine.trouble)
    assert "no version of it has the alias challenger" in running.engine.trouble["merges"][0]


def test_a_deleted_spec_leaves_the_model_live_and_says_how_it_is_retired(running: Lab) -> None:
    running.fleet.merge(spec(None))
    running.run(10, until=lambda: "merges" in running.engine.trouble)
    assert f"serinus retire {MODEL}" in running.engine.trouble["merges"][0]
    assert running.champion == "6"


def test_a_registry_that_is_away_delays_a_merge(running: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> Any:
        raise Unavailable("MLflow does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(running.registry, "aliases", away)
        running.fleet.merge(spec(QUICK))
        running.run(20)
        assert rollouts(running) == 1
    running.run(20, until=lambda: rollouts(running) == 2)
    assert running.rollout.spec == QUICK


# --- approvals --------------------------------------------------------------------------------------------

ASKING = QUICK.replace("rollout:", "rollout:\n  approval: required")


def test_who_merges_what_another_person_wrote_has_approved_it(running: Lab) -> None:
    running.fleet.merge(spec(ASKING, approver=DORA))
    running.run(60, until=lambda: running.phase is Phase.CANARY)
    assert running.phase is Phase.CANARY
    assert running.rollout.approver == DORA
    assert any("approved by Dora (dora@example.org)" in note for note in running.rollout.notes)


def test_without_a_review_a_merge_waits_for_an_approval(running: Lab) -> None:
    running.fleet.merge(spec(ASKING))
    running.run(60, until=lambda: running.phase is Phase.APPROVAL)
    running.run(60)
    assert running.phase is Phase.APPROVAL


def test_who_merges_their_own_change_has_not_approved_it(running: Lab) -> None:
    own = Actor("Carla L.", Access.APPROVE, "git", "Carla@Example.org")
    running.fleet.merge(spec(ASKING, approver=own))
    running.run(60, until=lambda: running.phase is Phase.APPROVAL)
    running.run(60)
    assert running.phase is Phase.APPROVAL


def test_a_merge_cannot_loosen_what_the_model_requires(running: Lab) -> None:
    running.desk.set_approval(MODEL, True, actor=ADA)
    running.fleet.merge(spec(QUICK))
    running.run(60, until=lambda: running.phase is Phase.APPROVAL)
    assert running.phase is Phase.APPROVAL


def test_an_approval_of_a_rollout_that_waits_for_another_one_to_end_counts_as_well(running: Lab) -> None:
    running.register("7")
    running.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ADA)
    running.run(30, until=lambda: running.phase is Phase.CANARY)
    running.fleet.merge(spec(ASKING, approver=DORA))
    running.run(120, until=lambda: running.rollout.spec == ASKING and running.phase is Phase.CANARY)
    assert (running.rollout.spec, running.rollout.approver) == (ASKING, DORA)


# --- reverts ----------------------------------------------------------------------------------------------


@pytest.fixture
def promoted(running: Lab) -> Lab:
    """fraud@7 has followed fraud@6."""
    running.register("7")
    running.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ADA)
    running.run(3600, until=lambda: running.champion == "7" and running.phase.ended)
    running.run(10)
    running.everything_agrees_on("7")
    return running


def before(lab: Lab) -> dict[str, Any]:
    """What was published of the release before."""
    previous = lab.store.model(MODEL).previous
    assert previous is not None
    return {"version": previous.version, "release": previous.id}


def test_a_revert_of_what_is_live_is_a_rollback(promoted: Lab) -> None:
    promoted.fleet.merge(revert(before(promoted)))
    promoted.run(60, until=lambda: promoted.champion == "6" and promoted.phase.ended)
    promoted.run(10)
    promoted.everything_agrees_on("6")
    assert (promoted.rollout.kind, promoted.rollout.actor) == (Kind.ROLLBACK, CARLA)
    assert promoted.rollout.why.startswith('Revert "Make fraud 7 live"')
    versions = [one[0] for one in promoted.fleet.commits]
    assert len(versions) == 3, "what is live is not written in between"


def test_a_revert_that_is_pushed_between_two_readings_of_the_repository_is_not_written_over(promoted: Lab) -> None:
    was, merges, found = before(promoted), promoted.engine._merges, promoted.engine._converger

    def read_in_between() -> Collection[str] | None:
        now, last = promoted.clock.now(), found._fleet_read
        assert last is not None
        if not promoted.fleet.brought and now - last >= FLEET_READ:
            merges._read = now  # a moment before
            promoted.fleet.merge(revert(was))
        return read()

    read, found.read_fleet = found.read_fleet, read_in_between  # type: ignore[method-assign]
    promoted.run(60, until=lambda: promoted.champion == "6" and promoted.phase.ended)
    promoted.run(10)
    promoted.everything_agrees_on("6")
    assert promoted.rollout.kind is Kind.ROLLBACK
    assert len(promoted.fleet.commits) == 3, "what is live is not written in between"


@pytest.mark.parametrize(
    ("live", "words"),
    [
        ({"version": "9", "release": "fraud-9-abcdef"}, "no release fraud-9-abcdef"),
        ({"version": "6"}, "names no release that could be live"),
    ],
)
def test_what_never_was_live_is_written_again_and_said(promoted: Lab, live: dict[str, Any], words: str) -> None:
    promoted.fleet.merge(revert(live))
    promoted.run(30)
    promoted.everything_agrees_on("7")
    (event,) = [one for one in promoted.store.events(model=MODEL, limit=100) if one.kind == "merge-refused"]
    assert words in event.text
    assert "merges" not in promoted.engine.trouble


def test_what_is_live_already_is_no_order(promoted: Lab) -> None:
    champion = promoted.store.model(MODEL).champion
    assert champion is not None
    promoted.fleet.merge(revert({"version": "7", "release": champion.id, "threshold": 0.123}))
    promoted.run(30)
    promoted.everything_agrees_on("7")
    assert rollouts(promoted) == 2


# --- with a real server -----------------------------------------------------------------------------------


def git(path: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Carla", "-c", "user.email=carla@example.org")
    command = ["git", "-C", str(path), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_person_deploys_and_rolls_back_by_pushing_alone(lab: Lab, tmp_path: Path) -> None:
    server, clone = tmp_path / "server.git", tmp_path / "clone"
    Git.create(server)
    fleet = GitFleet(tmp_path / "fleet", Remote(str(server)))
    lab.restart(replace(lab.world, fleet=fleet))
    lab.register("6")
    lab.desk.deploy(ref=f"{MODEL}@6", spec=SPEC, actor=ADA)
    lab.run(10)
    lab.per_second = 500
    git(tmp_path, "clone", "--quiet", str(server), str(clone))
    (clone / PATH).write_text(QUICK)
    git(clone, "commit", "--quiet", "-am", "A shorter timeout")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    fleet.repository.fetch()
    lab.run(3600, until=lambda: rollouts(lab) == 2 and lab.phase.ended)
    lab.run(10)
    champion = lab.store.model(MODEL).champion
    assert champion is not None
    assert (lab.phase, champion.settings.timeout_ms) == (Phase.PROMOTED, 80)
    assert (fleet.live(MODEL) or {})["release"] == champion.id

    git(clone, "pull", "--quiet", "--rebase", "origin", "main")
    assert git(clone, "log", "-1", "--format=%an|%s") == f"Carla|Make {MODEL} 6 live"
    git(clone, "revert", "--no-edit", "HEAD")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    fleet.repository.fetch()
    lab.run(60, until=lambda: rollouts(lab) == 3 and lab.phase.ended)
    lab.run(10)
    assert (lab.rollout.kind, lab.rollout.actor.shown) == (Kind.ROLLBACK, "Carla (carla@example.org)")
    before = lab.store.model(MODEL).champion
    assert before is not None
    assert before.id != champion.id
    assert (fleet.live(MODEL) or {})["release"] == before.id
    subjects = git(server, "log", "--format=%s", "main").splitlines()
    assert subjects[0] == f'Revert "Make {MODEL} 6 live"', "Serinus had nothing to add"
