"""Rollouts of models that can be compiled, and of such as cannot, by the real engine in a world in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lab import ADA, MODEL, SPEC, Lab

from serinus.core.rollout import Phase


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "lab")


def notes(lab: Lab) -> str:
    return "\n".join(lab.rollout.notes)


def test_a_release_is_compiled_where_the_proof_finds_no_difference(lab: Lab) -> None:
    lab.compiler.differing["1"] = 0
    lab.live("1")
    champion = lab.store.model(MODEL).champion
    assert champion is not None
    assert champion.compiled is not None
    assert champion.compiled.digest == "graph-1"
    assert champion.compiled.environment_digest != champion.environment_digest
    assert lab.target.placed[champion.id].compiled == champion.compiled
    assert (
        "compiled: 100 rows were compared, 3 of which are the model's own: all are answered and decided alike"
        in notes(lab)
    )


def test_a_difference_leaves_it_uncompiled_and_names_the_rows(lab: Lab) -> None:
    lab.compiler.differing["1"] = 2
    lab.live("1")
    champion = lab.store.model(MODEL).champion
    assert champion is not None
    assert champion.compiled is None
    assert (
        "not compiled: 100 rows were compared, 3 of which are the model's own: 2 get a different answer (rows 0, 1)"
        in notes(lab)
    )
    assert "the largest difference is 0.02" in notes(lab)


def test_what_cannot_be_compiled_is_deployed_all_the_same_and_told(lab: Lab) -> None:
    lab.live("1")
    assert lab.phase is Phase.PROMOTED
    assert "not compiled: custom Python models cannot be compiled" in notes(lab)


def test_the_proof_is_asked_the_golden_and_the_evaluation_rows(lab: Lab) -> None:
    lab.live("1")
    assert lab.compiler.asked == [(["a", "b"], 420)]


def test_the_spec_can_leave_it_uncompiled(lab: Lab) -> None:
    lab.fleet.specs[MODEL] = f"{SPEC}\nserving: {{compile: off}}\n"
    lab.compiler.differing["1"] = 0
    lab.live("1")
    assert lab.compiler.asked == []
    assert "not compiled: serving.compile is off" in notes(lab)


def test_a_compiled_release_is_another_release_than_the_same_uncompiled(tmp_path: Path) -> None:
    ids: list[Any] = []
    for name, differing in (("one", {}), ("other", {"1": 0})):
        lab = Lab(tmp_path / name)
        lab.compiler.differing.update(differing)
        lab.register("1")
        lab.desk.deploy(ref=f"{MODEL}@1", spec=None, actor=ADA)
        lab.run(seconds=10)
        ids.append(lab.rollout.candidate.id if lab.rollout.candidate else None)
    assert None not in ids
    assert ids[0] != ids[1]


def test_graphs_of_known_releases_are_kept_and_all_others_may_go(lab: Lab) -> None:
    lab.compiler.differing |= {"1": 0, "2": 0, "3": 2}
    for version in ("1", "2", "3"):
        lab.register(version)
        lab.desk.deploy(ref=f"{MODEL}@{version}", spec=None, actor=ADA, supersede=True)
        lab.run(seconds=10)
    assert lab.compiler.used == [set(), {"graph-1"}, {"graph-1", "graph-2"}]
