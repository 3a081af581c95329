"""What the demo on a cluster needs before there is one: its settings, its spec, what people do in Git, and what it
refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from clusterlab import place
from demo import story
from demo.cluster import lab as labs
from demo.cluster.__main__ import RATE, SPEC, added_by_load
from demo.cluster.lab import Lab
from demo.cluster.person import ADDRESS, Person
from demo.serinus import MODEL
from examples.card_fraud.data import FEATURES, LABEL
from serinus.backends.git import GitFleet, Remote
from serinus.core.merged import MergedFile
from serinus.judge.required import clean
from serinus.spec import load, planning
from serinus.targets.kubernetes import settings_file

DECIDED_SECONDS = 180
"""Within which the canary of a good version is to be decided, at the rate of the demo."""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab("/run/kubeconfig", "192.0.2.1:5000", "192.0.2.2", f"file://{tmp_path}", tmp_path)


def test_the_settings_of_the_cluster_are_accepted_and_bring_releases_by_argo_cd(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(lab.settings(f"{lab.registry}/serinus/base@sha256:{'0' * 64}", 7443)))
    found = settings_file.load(file)
    assert found.collectors.addresses == ("192.0.2.2:7443",)
    assert found.fleet is not None
    assert found.fleet.argo_cd is not None
    assert found.fleet.argo_cd.cluster == labs.NAME
    assert found.releases.replicas.most > found.releases.replicas.least


def test_the_canary_of_a_good_version_is_decided_within_the_time_of_the_demo() -> None:
    spec = load(SPEC.read_text())
    assert spec.model == MODEL
    policy, steps = planning.policy(spec), planning.steps(spec)
    rates = {"alerts": 0.02, "slow": 0.001}  # of the second day at an alert budget of 1%
    requests = zip(clean(policy, steps, rates), steps, strict=True)
    assert sum(number / (RATE * step.weight / 10_000) for number, step in requests) < DECIDED_SECONDS


def test_the_error_rates_of_the_judge_are_the_defaults() -> None:
    watch, usual = load(SPEC.read_text()).watch, load(f"model: {MODEL}").watch
    assert (watch.alpha, watch.beta) == (usual.alpha, usual.beta)


def test_a_part_of_the_day_has_all_hours_in_the_order_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pd = pytest.importorskip("pandas", reason="of the data scientist's side: uv sync --group demo")
    whole = pd.DataFrame({name: [float(n) for n in range(10)] for name in FEATURES})
    whole["entity"], whole[LABEL] = "card", 0
    monkeypatch.setattr(story, "DATA", tmp_path)
    monkeypatch.setattr(story, "transactions", lambda _folder: whole)
    monkeypatch.setattr(story, "second_day", lambda frame: frame)
    found = pd.read_parquet(story.prepare_data(every=4))
    assert list(found["Time"]) == [0.0, 4.0, 8.0]


def test_a_revert_of_a_person_is_read_by_serinus_as_an_order_of_that_person(lab: Lab, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", lab.bare], check=True)
    anna = Person(tmp_path / "clone", lab.fleet)
    anna.begin(f"model: {MODEL}\n")
    fleet = GitFleet(tmp_path / "fleet", Remote(lab.fleet))
    fleet.repository.fetch()
    assert fleet.read(MODEL) == f"model: {MODEL}\n"
    for version in ("1", "2"):
        fleet.publish(MODEL, {"version": version, "release": f"{MODEL}-{version}"}, who="admin", why="it is better")
    before, _ = fleet.merged(None)
    anna.revert(f"Make {MODEL} 2 live")
    fleet.repository.fetch()
    _, [merged] = fleet.merged(before)
    assert (merged.kind, merged.author.owner) == (MergedFile.LIVE, ADDRESS)
    assert yaml.safe_load(merged.text or "")["version"] == "1"
    with pytest.raises(SystemExit, match="no commit in the fleet repository says 'Make card-fraud 7 live'"):
        anna.revert(f"Make {MODEL} 7 live")


def test_only_pods_that_were_added_for_the_load_count_as_scaling() -> None:
    def event(message: str, second: int) -> dict[str, str]:
        return {"message": message, "lastTimestamp": f"2026-11-30T12:00:{second:02}Z"}

    by_load = "New size: 2; reason: cpu resource utilization (percentage of request) above target"
    floor = event("New size: 2; reason: Current number of replicas below Spec.MinReplicas", 40)
    down = event("New size: 1; reason: All metrics below target", 45)
    began = datetime(2026, 11, 30, 12, 0, 30, tzinfo=UTC)
    assert added_by_load([event(by_load, 10), floor, event(by_load, 35), down], began) == [by_load]


# --- what it refuses ------------------------------------------------------------------------------------------


def demo(**environment: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", "from demo.cluster.lab import running\nwith running(): print('it runs')"]
    return subprocess.run(
        words, cwd=story.ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_another_cluster_is_refused_in_words() -> None:
    refused = demo(SERINUS_KUBECONFIG="/srv/team/kubeconfig")
    assert refused.returncode == 1
    assert "SERINUS_KUBECONFIG names the cluster of /srv/team/kubeconfig" in refused.stderr
    assert "docs/one-machine-to-kubernetes.md" in refused.stderr
    assert (story.ROOT / "docs" / "one-machine-to-kubernetes.md").exists()


def test_programs_that_are_not_built_are_named_with_the_command_that_builds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERINUS_KUBECONFIG", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(place, "_LAB", tmp_path / "lab.json")
    with pytest.raises(SystemExit, match=r"programs are not built\. Run `make lab-build` first"), labs.running():
        raise AssertionError("it runs")
