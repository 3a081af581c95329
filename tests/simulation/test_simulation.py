"""A short form of `python -m simulation`: fewer kinds and fewer streams, and all of what its table rests on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import serinus.judge
from serinus.core.rollout import Policy, Step
from serinus.judge import clean
from simulation.__main__ import main
from simulation.catalogue import KINDS
from simulation.goals import Result, lower, upper
from simulation.panel import Panel
from simulation.results import Results, digest
from simulation.run import Disagreement, Found, roll_out
from simulation.table import ROWS, row_of, write

ROOT = Path(__file__).parents[2]
SHORT = ("independent", "errors of few entities, tail 0", "slow x 2", "1 % errors", "silent", "everything fails")


@pytest.mark.parametrize("name", SHORT)
def test_what_is_promised_of_a_kind_is_kept(name: str) -> None:
    result = Result(KINDS[name], roll_out(KINDS[name], 20, seed=3))
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


def test_a_batch_with_a_disagreement_is_told_and_not_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worker processes are forked, and so have the panel that judges otherwise."""
    whole = Panel._good
    monkeypatch.setattr(Panel, "_good", lambda self, *of: whole(self, *of) * 1.001)
    monkeypatch.setattr(sys, "argv", ["simulation", "--streams", "3", "--jobs", "1", "1 % errors"])
    assert main() == 1
    said = capsys.readouterr()
    assert "not counted: 1 % errors, " in said.err
    assert len(said.out.splitlines()) == 1, "the heading"


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


def test_the_command_prints_a_line_for_each_kind_and_refuses_a_name_that_nothing_has() -> None:
    found = _run("--streams", "5", "--jobs", "1", "1 % errors")
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[1].split()[:5] == ["1", "%", "errors", "harmful", "5"]
    unknown = _run("no such kind")
    assert unknown.returncode == 2
    assert "--list" in unknown.stderr


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulation", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_streams_that_have_ended_are_left_out_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS["1 % errors"]
    whole = roll_out(kind, 12, seed=4, compared=12)
    monkeypatch.setattr("simulation.run.FEW", 0.0)
    assert roll_out(kind, 12, seed=4).aborted == whole.aborted == 12


def test_a_run_goes_on_where_it_was_ended(tmp_path: Path) -> None:
    file, few = tmp_path / "found.json", ("--jobs", "1", "--compared", "0", "1 % errors", "everything fails")
    assert _run("--streams", "4", "--results", str(file), *few).returncode == 0
    first = json.loads(file.read_text())["kinds"]["1 % errors"]
    assert (first["found"]["streams"], first["seeds"]) == (4, [1, 2, 3])
    """A quarter of the streams, then half of them, then all."""
    assert _run("--streams", "6", "--results", str(file), *few).returncode == 0
    then = json.loads(file.read_text())["kinds"]["1 % errors"]
    assert (then["found"]["streams"], then["seeds"]) == (6, [1, 2, 3, 4])
    assert then["found"]["until_abort"][:4] == first["found"]["until_abort"]
    report = _run("--report", str(file))
    assert report.returncode == 0
    assert (
        "| harmful: 0.3 and 1 % errors, slow and alerts x 2 and x 3, alerts / 4, silent | 6 | 6 | 0 |" in report.stdout
    )


def test_the_results_of_another_judge_are_not_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = Results(tmp_path / "found.json")
    results.add("silent", 1, Found(streams=5, aborted=5))
    assert Results.read(tmp_path / "found.json").streams("silent") == 5
    monkeypatch.setattr("simulation.results.digest_of", lambda kind: "another kind of this name")
    assert Results.read(tmp_path / "found.json").streams("silent") == 0
    monkeypatch.setattr("simulation.results.digest", lambda: "another judge")
    with pytest.raises(ValueError, match="another version of the judge"):
        Results.read(tmp_path / "found.json").add("silent", 2, Found(streams=5))


def test_a_judge_whose_words_alone_differ_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest()
    package = tmp_path / "judge"
    shutil.copytree(Path(serinus.judge.__file__).parent, package)
    monkeypatch.setattr(serinus.judge, "__file__", str(package / "__init__.py"))
    clearing = package / "clearing.py"
    clearing.write_text(clearing.read_text().replace('"""', '"""Other words. ', 1) + "\n# A comment.\n")
    assert digest() == before
    clearing.write_text(clearing.read_text().replace("BURST = ", "BURST = 1 + "))
    assert digest() != before


def test_every_kind_has_one_row_of_the_table_and_every_row_a_kind() -> None:
    assert {row_of(name) for name in KINDS} == set(ROWS)


def test_the_table_of_the_page_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "judge.md"
    page.write_text((ROOT / "docs" / "judge.md").read_text())
    lines = page.read_text().splitlines()
    write(page, {"silent": Found(streams=2_000, aborted=1_999, passed=1)})
    after = page.read_text().splitlines()
    assert "The table has 2,000 streams of each kind." in after
    assert any(line.startswith("| harmful:") and "| 2,000 | 1,999 | 1 | 0.24% passed |" in line for line in after)
    kept = [line for line in lines if not line.startswith(("| ", "|-", "The table has "))]
    assert [line for line in after if not line.startswith(("| ", "|-", "The table has "))] == kept
    page.write_text("No table.\n")
    with pytest.raises(ValueError, match="has no table"):
        write(page, {})


@pytest.mark.parametrize("weights", [(100, 2_500, 5_000), (1_000, 5_000), (5_000,)])
def test_a_clean_rollout_takes_the_requests_that_were_told_beforehand(weights: tuple[int, ...]) -> None:
    """Within a fifth of the median, in every step."""
    steps = tuple(Step(weight, 100, 20.0, 86_400.0) for weight in weights)
    found = roll_out(replace(KINDS["independent"], steps=steps, seconds=1_200.0), 40, seed=3)
    assert found.passed == 40
    for step, told in enumerate(clean(Policy(), steps)):
        assert np.median(found.by_step[step]) == pytest.approx(told, rel=0.2)
