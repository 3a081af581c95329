"""What `serinus plan` says before a merge is what the engine does after it, and the words of mistakes are the same."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from lab import ADA, MODEL, SPEC, Lab

from serinus.backends.git import GitFleet, Remote
from serinus.backends.git.command import Git
from serinus.core.rollout import Kind
from serinus.resources import PlannedChange
from serinus.wiring.merge_plan import plan

pytestmark = pytest.mark.long

FILE, LIVE = f"models/{MODEL}/model.yaml", f"live/{MODEL}.yaml"


def git(path: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Carla", "-c", "user.email=carla@example.org", "-c", "commit.gpgSign=false")
    return subprocess.run(["git", "-C", str(path), *who, *arguments], check=True, capture_output=True, text=True).stdout


class Team:
    """A lab with a Git server, and a person with a clone of it. fraud@6 is live."""

    def __init__(self, lab: Lab, path: Path) -> None:
        server, self.clone = path / "server.git", path / "clone"
        Git.create(server)
        self.fleet = GitFleet(path / "fleet", Remote(str(server)))
        self.lab = lab
        lab.restart(replace(lab.world, fleet=self.fleet))
        self.deploy("6")
        git(path, "clone", "--quiet", str(server), str(self.clone))

    def deploy(self, version: str) -> None:
        self.lab.register(version)
        self.lab.desk.deploy(ref=f"{MODEL}@{version}", spec=SPEC, actor=ADA)
        self.lab.per_second = 500
        self.lab.run(3600, until=lambda: self.lab.champion == version and self.lab.phase.ended)
        self.lab.run(10)

    def planned(self) -> PlannedChange:
        (found,) = plan(self.clone, since=None, until=None).changes
        return found

    def merge(self) -> None:
        git(self.clone, "add", "--all")
        git(self.clone, "commit", "--quiet", "--allow-empty", "-m", "A change")
        git(self.clone, "push", "--quiet", "origin", "HEAD:main")
        self.fleet.repository.fetch()
        self.lab.run(20)


@pytest.fixture
def team(lab: Lab, tmp_path: Path) -> Team:
    return Team(lab, tmp_path)


@pytest.mark.parametrize(
    ("text", "effect", "kind"),
    [
        (SPEC + "serving: {timeout: 80ms}\n", "release", Kind.DEPLOY),
        (SPEC + "serving: {workers: 3}\n", "scale", Kind.SCALE),
        (SPEC + "retention: {predictions: 30d}\n", "later", None),
        (SPEC + "# a comment\n", "nothing", None),
    ],
)
def test_a_spec_does_what_was_planned(team: Team, text: str, effect: str, kind: Kind | None) -> None:
    (team.clone / FILE).write_text(text)
    assert team.planned().effect == effect
    team.merge()
    found = team.lab.store.rollouts(MODEL)
    assert [one.kind for one in found if one.spec == text] == ([kind] if kind else [])
    assert len(found) == (2 if kind else 1)


@pytest.mark.parametrize(
    "text", [SPEC + "servng: {timeout: 80ms}\nalerts: {budget: lots}\n", "model: other\n", "model: [\n", None]
)
def test_a_mistake_has_the_words_that_the_engine_uses(team: Team, text: str | None) -> None:
    if text is None:
        (team.clone / FILE).unlink()
    else:
        (team.clone / FILE).write_text(text)
    found = team.planned()
    assert found.error
    team.merge()
    (trouble,) = team.lab.engine.trouble["merges"]
    assert trouble.endswith(f"is not carried out: {found.error} {found.hint}".rstrip())
    assert len(team.lab.store.rollouts(MODEL)) == 1


def test_a_revert_does_what_was_planned(team: Team) -> None:
    team.deploy("7")
    git(team.clone, "pull", "--quiet", "--rebase", "origin", "main")
    git(team.clone, "revert", "--no-edit", "HEAD")
    found = team.planned()
    assert (found.file, found.effect) == (LIVE, "rollback")
    team.merge()
    team.lab.run(60, until=lambda: team.lab.champion == "6" and team.lab.phase.ended)
    assert (team.lab.champion, team.lab.rollout.kind) == ("6", Kind.ROLLBACK)


def test_what_is_live_is_written_again_as_planned(team: Team) -> None:
    there = (team.clone / LIVE).read_text()
    (team.clone / LIVE).unlink()
    assert team.planned().effect == "rewritten"
    team.merge()
    assert git(team.clone, "ls-remote", "origin", "main")
    git(team.clone, "pull", "--quiet", "--rebase", "origin", "main")
    assert (team.clone / LIVE).read_text() == there
    assert len(team.lab.store.rollouts(MODEL)) == 1
