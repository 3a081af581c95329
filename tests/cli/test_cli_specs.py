"""`serinus spec` and `serinus diff`: the spec in force, and what another one would change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cli_harness import Serinus
from scenes import V6, busy, rollout
from small_fleet import NOW, Installation

from serinus import spec as specs
from serinus.core.evidence import Traffic
from serinus.core.people import Access, Actor
from serinus.core.rollout import ModelState, Phase

SPEC = "model: card-fraud\nserving:\n  timeout: 300ms   # a payment waits\n"


@pytest.fixture
def kept(installation: Installation) -> Installation:
    installation.fleet.specs["card-fraud"] = SPEC
    return installation


def champion(kept: Installation, spec: str) -> None:
    """V6 is live, deployed by `spec`."""
    release = replace(V6, settings=specs.settings(specs.load(spec, model="card-fraud")))
    done = replace(rollout(1, Phase.PROMOTED), spec=spec, candidate=release, version=release.version)
    kept.store.create(done)
    kept.store.save_model(ModelState("card-fraud", champion=release, champion_threshold=0.83, since=NOW))


def test_each_value_is_told_with_the_file_and_line_or_as_the_default(kept: Installation, serinus: Serinus) -> None:
    said = serinus("spec", "card-fraud")
    assert said.code == 0
    rows = {line.split()[0]: line.split()[1:3] for line in said.out.splitlines()}
    assert rows["serving.timeout"] == ["300ms", "models/card-fraud/model.yaml:3"]
    assert rows["serving.max_body"] == ["1MiB", "default"]
    assert rows["rollout.approval"] == ["none", "default"]
    assert "another spec" not in said.out
    told = serinus("spec", "card-fraud", "--json").json
    assert told["spec"] == SPEC
    assert {one["origin"] for one in told["fields"]} == {"file", "default"}


def test_the_policy_of_the_model_stands_above_its_spec(kept: Installation, serinus: Serinus) -> None:
    champion(kept, SPEC)
    kept.desk.set_approval("card-fraud", True, actor=Actor("anna", Access.ADMIN))
    (row,) = [line for line in serinus("spec", "card-fraud").out.splitlines() if line.startswith("rollout.approval")]
    assert row.split()[1:3] == ["required", "policy"]
    assert "serinus policy card-fraud" in row


def test_what_the_champion_does_not_go_by_yet_is_told(kept: Installation, serinus: Serinus) -> None:
    champion(kept, "alerts: {budget: 1%}\n")
    out = serinus("spec", "card-fraud").out
    assert f"{V6.id} was deployed with another spec. These values take effect with the next deployment:" in out
    assert "  serving.timeout: 300ms (now 250ms)" in out
    assert "  alerts.budget: 0.5% (now 1%)" in out
    assert "the champion's, from the gates: 0.83" in out


def test_a_value_that_is_left_to_the_installation_says_what_is_done(kept: Installation, serinus: Serinus) -> None:
    kept.report._installation = {"serving.workers": "at most 2, the processors of this machine"}
    (row,) = [line for line in serinus("spec", "card-fraud").out.splitlines() if line.startswith("serving.workers")]
    assert row.split()[1:] == ["auto", "default", "at", "most", "2,", "the", "processors", "of", "this", "machine"]


def test_a_model_without_a_spec_and_a_spec_that_cannot_be_read_are_told(kept: Installation, serinus: Serinus) -> None:
    assert "serinus init merchant-risk" in serinus("spec", "merchant-risk").err
    kept.fleet.specs["card-fraud"] = "serving: {timeout: soon}\n"
    for said in (serinus("spec", "card-fraud"), serinus("init", "card-fraud", "-o", "-")):
        assert (said.code, said.out) == (2, "")
        assert "models/card-fraud/model.yaml:1: serving.timeout: expected a duration" in said.err
        assert "Correct it in the fleet repository" in said.err


def test_diff_is_0_where_nothing_would_change(kept: Installation, serinus: Serinus, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text("# only a comment\nmodel: card-fraud\nserving: {timeout: 0.3s, memory: null}\n")
    said = serinus("diff", "new.yaml")
    assert said.code == 0
    assert said.out == "new.yaml says what models/card-fraud/model.yaml says.\n"
    assert kept.fleet.specs["card-fraud"] == SPEC


def test_diff_is_1_where_something_would_and_names_the_lines(
    kept: Installation, serinus: Serinus, tmp_path: Path
) -> None:
    champion(kept, SPEC)
    (tmp_path / "new.yaml").write_text("model: card-fraud\nrollout:\n  approval: required\n")
    said = serinus("diff", "new.yaml")
    assert said.code == 1
    assert said.out.splitlines() == [
        "serving.timeout: 300ms -> 250ms (the default)",
        "rollout.approval: none -> required (new.yaml:3)",
        "The serving settings differ from the champion's: deploying its version again would make another release.",
        "It sets the policy of card-fraud: every later version needs the approval of another person.",
        "warning: new.yaml:3: rollout.steps: no request has reached card-fraud in the last hour: a canary cannot be "
        "judged without traffic, and would be aborted in the end",
    ]
    told = serinus("diff", "new.yaml", "--json")
    assert (told.code, told.json["same"]) == (1, False)


def test_diff_warns_of_what_contradicts_itself_and_says_how_long_the_canary_would_take(
    kept: Installation, serinus: Serinus, tmp_path: Path
) -> None:
    champion(kept, SPEC)
    kept.log.traffics = {"card-fraud": [Traffic(V6.id, 3_000, 300, 0, 1.4, 8.9)]}
    (tmp_path / "new.yaml").write_text("model: card-fraud\nwatch:\n  slow: {ok: 0.9}\n")
    said = serinus("diff", "new.yaml")
    assert "warning: new.yaml:3: watch.slow.ok: 0.9 is less than 1" in said.out
    assert "At 10 requests/s the canary of a version as good as the champion takes about" in said.out


def test_diff_of_a_first_spec_is_1(installation: Installation, serinus: Serinus, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text("alerts: {budget: 1%}\n")
    said = serinus("diff", "new.yaml", "--model", "card-fraud")
    assert said.code == 1
    assert "No spec of card-fraud is kept yet" in said.out


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("serving: {timeout: 1s}\n", "new.yaml:1: model: is missing"), ("model: m\nserving: 3\n", "new.yaml:2: serving")],
)
def test_diff_of_what_cannot_be_read_is_2_and_never_1(
    kept: Installation, serinus: Serinus, tmp_path: Path, text: str, wrong: str
) -> None:
    (tmp_path / "new.yaml").write_text(text)
    said = serinus("diff", "new.yaml")
    assert (said.code, said.out) == (2, "")
    assert wrong in said.err
    assert serinus("diff", "missing.yaml").code == 2


def test_diff_by_the_policy_says_that_the_spec_does_not_loosen_it(
    kept: Installation, serinus: Serinus, tmp_path: Path
) -> None:
    busy(kept)
    kept.desk.set_approval("card-fraud", True, actor=Actor("anna", Access.ADMIN))
    (tmp_path / "new.yaml").write_text(SPEC + "alerts: {budget: 1%}\n")
    assert "The policy of card-fraud requires an approval of every version" in serinus("diff", "new.yaml").out
