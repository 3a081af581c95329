"""What a model may be called: one rule, told in the same words wherever a name comes in."""

from __future__ import annotations

import pytest

from serinus import spec as specs
from serinus.backends.git import GitFleet
from serinus.core.errors import InvalidInput
from serinus.core.names import RULE, checked
from serinus.core.release import Requirements

REFUSED = ["Fraud Model", "Größe", "team#1", "x" * 129, "-x", ".x", "..", "", "a/b", "a\n", "a%20b", "a:b", "Ｆraud"]
TAKEN = ["card-fraud", "x" * 128, "_hidden", "a..b", "a.", "7", "A_b-c.9"]


@pytest.fixture
def lab(tmp_path):
    from lab import Lab

    return Lab(tmp_path)


@pytest.mark.parametrize("name", [name for name in REFUSED if name])
def test_init_and_deploy_refuse_a_name_in_the_same_words_about_the_name(lab, name) -> None:
    from lab import ADA

    with pytest.raises(InvalidInput) as by_init:
        lab.desk.initial_spec(name)
    with pytest.raises(InvalidInput) as by_deploy:
        lab.desk.deploy(ref=f"{name}@1", spec=None, actor=ADA)
    assert str(by_init.value) == str(by_deploy.value)
    assert RULE in str(by_init.value)
    assert "<spec>" not in str(by_init.value)
    assert name[:60] in str(by_init.value)


@pytest.mark.parametrize("name", TAKEN)
def test_a_name_that_init_takes_is_taken_by_the_spec_and_by_git(tmp_path, name) -> None:
    assert checked(name) == name
    assert specs.load(f"model: '{name}'\n").model == name
    fleet = GitFleet(tmp_path / "fleet")
    fleet.write(name, "a: 1\n", who="anna", why="")
    assert fleet.read(name) == "a: 1\n"


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_is_refused_is_refused_by_the_spec_and_by_git(tmp_path, name) -> None:
    with pytest.raises(InvalidInput):
        specs.load(f'model: "{name}"\n')
    with pytest.raises(InvalidInput):
        GitFleet(tmp_path / "fleet").read(name)


def test_what_is_explained_of_a_rollout_of_an_earlier_version_has_no_credentials(lab) -> None:
    from dataclasses import replace

    from serinus.engine import Report

    lab.live("6")
    lines = ("--index-url https://user:s3cret@pypi.example.org/simple", "lib @ https://h.example/x.whl?token=s3cret")
    rollout = lab.rollout
    lab.store.save(replace(rollout, artifact=replace(rollout.artifact, requirements=Requirements(lines, "3.11"))))
    told = Report(lab.world, lambda: {}, lambda: [], {}, lambda: []).explain(rollout.id)
    assert "s3cret" not in str(told)
    assert told.artifact.requirements.packages[0] == "--index-url https://pypi.example.org/simple"
