"""`serinus plan`: its forms, its exit codes, and what a control plane adds."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cli_harness import Serinus
from scenes import V6
from small_fleet import NOW, Installation

from serinus import spec as specs
from serinus.backends.git import GitFleet
from serinus.cli.plan_words import LONGEST, MARKER, in_markdown
from serinus.core.people import Access
from serinus.core.rollout import ModelState
from serinus.resources import MergePlan, PlannedChange

SPEC = "model: card-fraud\nserving: {timeout: 300ms}\n"
FILE = "models/card-fraud/model.yaml"
Write = Callable[..., None]


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file in a clone, in which the command line runs. card-fraud@6 is live."""
    fleet = GitFleet(tmp_path / "origin")
    fleet.write("card-fraud", SPEC, who="anna", why="first")
    fleet.publish("card-fraud", {"version": "6", "release": V6.id}, who="anna", why="promoted")
    clone = tmp_path / "clone"
    git("clone", "--quiet", str(fleet.repository.path), str(clone))
    monkeypatch.chdir(clone)

    def written(text: str, path: str = FILE) -> None:
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        (clone / path).write_text(text)

    return written


def test_a_change_is_0_and_shows_what_it_would_do(write: Write, serinus: Serinus) -> None:
    write(SPEC.replace("300ms", "80ms") + "watch: {slow: {ok: 0.9}}\nrollout: {steps: [10%]}\n")
    said = serinus("plan")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert re.fullmatch(r"From the commit [0-9a-f]{10} to the working tree:", lines[0])
    assert lines[2:5] == [
        f"{FILE}: another release",
        "  card-fraud@6 is deployed again, as another release.",
        "  serving.timeout: 300ms -> 80ms (line 2)",
    ]
    assert any(line.startswith("  watch.slow.ok: ") and line.endswith(" -> 0.9 (line 3)") for line in lines)
    assert "  2. canary with 10% of the traffic, for 10m and 5,000 requests at least" in lines
    assert any(line.startswith(f"  warning: {FILE}:3: watch.slow.ok") for line in lines)


def test_nothing_to_merge_is_0(write: Write, serinus: Serinus) -> None:
    said = serinus("plan")
    assert (said.code, said.out.splitlines()[1:]) == (0, ["No file of a model changes."])


def test_a_mistake_is_1_and_a_failure_2(write: Write, serinus: Serinus, tmp_path: Path) -> None:
    write("servng: 1\n")
    said = serinus("plan")
    assert said.code == 1
    assert f"  {FILE}:1: servng: is not a field; did you mean 'serving'?" in said.out.splitlines()
    for arguments in (["--from", "nothing"], [str(tmp_path)], ["--format", "html"]):
        said = serinus("plan", *arguments)
        assert (said.code, said.out) == (2, "")
        assert said.err


def test_json_is_one_document_by_either_option(write: Write, serinus: Serinus) -> None:
    write(SPEC.replace("300ms", "80ms"))
    said = serinus("plan", "--json")
    assert said.json == serinus("plan", "--format", "json").json == serinus("plan", "--format", "text", "--json").json
    (change,) = said.json["changes"]
    assert (change["model"], change["effect"], change["server"]) == ("card-fraud", "release", None)
    assert MergePlan.model_validate(said.json).ok


def test_markdown_begins_with_the_marker_and_has_a_row_and_a_section_for_each_file(
    write: Write, serinus: Serinus
) -> None:
    write(SPEC.replace("300ms", "80ms"))
    write("servng: 1\n", "models/merchant/model.yaml")
    said = serinus("plan", "--format", "markdown")
    assert said.code == 1
    lines = said.out.splitlines()
    assert lines[0] == MARKER
    rows = [line for line in lines if line.startswith("| `") and "models/" in line]
    assert rows == [
        "| `merchant` | `models/merchant/model.yaml` | **refused** |",
        f"| `card-fraud` | `{FILE}` | another release |",
    ]
    assert "- `models/merchant/model.yaml:1: servng: is not a field; did you mean 'serving'?`" in lines
    assert "| `serving.timeout` | `300ms` | `80ms` | 2 |" in lines
    assert said.out.count("<details") == said.out.count("</details>") == 2


def test_text_of_a_file_is_no_markup_and_mentions_nobody(write: Write, serinus: Serinus) -> None:
    write("serving: {score: '`@team` | <img src=x> **b**'}\nalerts: {label: '](http://x) `` @team'}\n")
    outside = re.sub(r"(`+)[^`].*?(?<!`)\1(?!`)", "", serinus("plan", "--format", "markdown").out)
    assert "@team" not in outside
    assert "<img" not in outside
    write("serving: {score: '`@team` | \\| <img src=x> **b**'}\n")
    out = serinus("plan", "--format", "markdown").out
    (row,) = [line for line in out.splitlines() if line.startswith("| `serving.score`")]
    assert "``'`@team` \\| \\ \\| <img src=x> **b**'``" in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 5


def test_markdown_fits_a_comment_with_mistakes_first() -> None:
    good = PlannedChange(
        model="good", file="models/good/model.yaml", effect="release", summary="x" * 500, steps=["step"] * 20
    )
    bad = PlannedChange(model="bad", file="models/bad/model.yaml", effect="refused", summary="", error="models/bad: no")
    text = in_markdown(MergePlan(since="a" * 40, until="b" * 40, changes=[*[good] * 900, bad], notes=["n"], ok=False))
    assert len(text) <= LONGEST
    assert "models/bad: no" in text
    assert re.search(r"\n\d+ more: run `serinus plan`", text)
    assert text.endswith("\n\n- n")


def test_markdown_of_one_file_is_short_enough_to_be_shown() -> None:
    error = "\n".join(f"models/bad/model.yaml:{line}: word{line}: is not a field" for line in range(2_000))
    bad = PlannedChange(model="bad", file="models/bad/model.yaml", effect="refused", summary="", error=error)
    lines = in_markdown(MergePlan(since="a" * 40, until=None, changes=[bad], notes=[], ok=False)).splitlines()
    assert "- `models/bad/model.yaml:39: word39: is not a field`" in lines
    assert "- 1960 more" in lines
    assert lines[-1] == "</details>"


def test_a_control_plane_adds_what_it_knows(
    write: Write, serinus: Serinus, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.fleet.specs["card-fraud"] = SPEC
    release = replace(V6, settings=specs.settings(specs.load(SPEC, model="card-fraud")))
    installation.store.save_model(ModelState("card-fraud", champion=release, since=NOW))
    monkeypatch.setenv("SERINUS_TOKEN", installation.token("bob", Access.VIEW))
    write(SPEC.replace("300ms", "80ms"))
    write("servng: 1\n", "models/merchant/model.yaml")
    said = serinus("plan", "--server", installation.addresses["api"])
    assert said.code == 1
    assert "  By the control plane:" in said.out.splitlines()
    assert "    The serving settings differ from the champion's" in said.out
    assert f"warning: {FILE}:1: rollout.steps: no request has reached card-fraud in the last hour" in said.out
    assert (
        "By the control plane:"
        in serinus("plan", "--server", installation.addresses["api"], "--format", "markdown").out
    )


def test_a_control_plane_that_does_not_answer_is_2(write: Write, serinus: Serinus) -> None:
    write(SPEC.replace("300ms", "80ms"))
    said = serinus("plan", "--server", "http://127.0.0.1:1", "--json")
    assert (said.code, said.out) == (2, "")
    assert "does not answer" in json.loads(said.err)["error"]
