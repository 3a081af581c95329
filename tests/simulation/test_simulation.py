"""A short form of `python -m simulation`: fewer kinds and fewer streams, and all of what its table rests on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serinus.core.rollout import Policy, Step
from serinus.judge import clean
from simulation.__main__ import simulate
from simulation.catalogue import KINDS
from simulation.goals import Result, lower, upper
from simulation.panel import Panel
from simulation.run import Disagreement, Found, roll_out

ROOT = Path(__file__).parents[2]
SHORT = ("independent", "errors of few entities, tail 0", "slow x 2", "1 % errors", "silent", "everything fails")


@pytest.mark.parametrize("name", SHORT)
def test_what_is_promised_of_a_kind_is_kept(name: str) -> None:
    result = Result(KINDS[name], simulate(name, streams=20, seed=3, compared=0))
    assert result.ok != "no", result.line()


COMPARED = (
    "independent",
    "20 entities, tail 0.9",
    "canary's counts in clumps of 30 s, both fail 20 s",
    "champion's counts 30 s late",
    "slow, each arm stalls 1 s once a minute",
    "silent but for 20 s of many alerts",
    "everything fails, 20 entities",
)


@pytest.mark.parametrize("name", COMPARED)
def test_the_panel_judges_as_the_judge_does(name: str) -> None:
    """Every verdict and every e-value, at every look; a disagreement is raised."""
    kind = replace(KINDS[name], seconds=min(KINDS[name].seconds, 160.0))
    found = roll_out(kind, 2, seed=7, compared=1)
    assert found.compared > 10


def test_both_forms_take_small_counts_for_one_time_alike() -> None:
    """At ten requests a second, the factor by which the split is missed is often exactly the one that is allowed."""
    kind = replace(KINDS["errors, champion stalls 5 s, 10/s"], seconds=20.0)
    assert roll_out(kind, 16, seed=2, compared=16).compared > 10


def test_a_panel_that_judges_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Panel._good
    monkeypatch.setattr(Panel, "_good", lambda self, *of: whole(self, *of) * 1.001)
    with pytest.raises(Disagreement, match="independent"):
        roll_out(replace(KINDS["independent"], seconds=60.0), 1, seed=1, compared=1)


def test_the_bounds_are_those_of_clopper_and_pearson() -> None:
    assert upper(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100))
    assert lower(0, 100) == 0.0
    assert upper(100, 100) == 1.0
    assert lower(100, 100) == pytest.approx(0.05 ** (1 / 100))
    assert lower(10, 200) < 0.05 < upper(10, 200)


def test_a_broken_promise_is_told_from_too_few_streams() -> None:
    def ok(name: str, **found: int) -> str:
        return Result(KINDS[name], Found(**found)).ok

    honest, clean, bad, harmful = "bursts of 3", "independent", "slow x 2, champion slow 20 s", "1 % errors"
    assert ok(honest, streams=2_000, aborted=15) == "yes"
    assert ok(honest, streams=2_000, aborted=40) == "no"
    assert ok(honest, streams=20) == "too few"
    assert ok(clean, streams=2_000, passed=1_950) == "yes"
    assert ok(clean, streams=2_000, passed=1_500) == "no"
    assert ok(bad, streams=2_000, passed=90) == "yes"
    assert ok(bad, streams=2_000, passed=140) == "no"
    assert ok(harmful, streams=2_000, aborted=1_000) == "no"


def test_every_kind_has_a_name_of_its_own_and_something_that_happens() -> None:
    assert len(KINDS) > 80
    assert all(kind.name == name and kind.active for name, kind in KINDS.items())


def test_fewer_streams_than_asked_for_are_never_made() -> None:
    found = simulate("1 % errors", streams=7, seed=1, compared=0)
    assert found.streams == 7
    assert found.aborted + found.passed + found.tripped <= 7
    assert np.median(found.until_abort) < 60.0


def test_the_command_prints_a_line_for_each_kind_and_refuses_a_name_that_nothing_has() -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "simulation", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )

    found = run("--streams", "5", "--jobs", "1", "1 % errors")
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[1].split()[:5] == ["1", "%", "errors", "harmful", "5"]
    unknown = run("no such kind")
    assert unknown.returncode == 2
    assert "--list" in unknown.stderr


@pytest.mark.parametrize("weights", [(100, 2_500, 5_000), (1_000, 5_000), (5_000,)])
def test_a_clean_rollout_takes_the_requests_that_were_told_beforehand(weights: tuple[int, ...]) -> None:
    """Within a fifth of the median, in every step."""
    steps = tuple(Step(weight, 100, 20.0, 86_400.0) for weight in weights)
    found = roll_out(replace(KINDS["independent"], steps=steps, seconds=1_200.0), 40, seed=3)
    assert found.passed == 40
    for step, told in enumerate(clean(Policy(), steps)):
        assert np.median(found.by_step[step]) == pytest.approx(told, rel=0.2)
