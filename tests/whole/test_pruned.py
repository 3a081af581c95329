"""After `serinus prune` the champion answers, a rollback works, and what was removed is made again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from whole_serinus import Serinus

from serinus.core.home import ENVIRONMENT_FACTS

MODEL = "pruned"
SPEC = """
model: pruned
serving: {timeout: 5s, workers: 1, compile: off}
gates: {latency_p99: 5s}
rollout: {steps: []}
watch: {after: 0s}
"""
ROW = [{"amount": 1.0, "hour": 12.0}]


@pytest.mark.long
@pytest.mark.timeout(420)
def test_after_a_prune_the_champion_answers_and_the_one_before_is_returned_to(
    serinus: Serinus, register_code: Callable[..., str]
) -> None:
    versions = [register_code("degrades", data=data, model=MODEL) for data in ("first", "second", "third")]
    candidates = [_promoted(serinus, version)["candidate"] for version in versions]
    first, second, third = (serinus.home.artifact(one["artifact_digest"]) for one in candidates)
    former = _environment_of_nothing(serinus)

    shown = _serinus(serinus, "prune", "--dry-run")
    assert first.name[:12] in shown
    assert former.name[:12] in shown
    assert first.is_dir()
    _serinus(serinus, "prune", "--yes")
    assert not first.exists()
    assert not former.exists()
    assert second.is_dir()
    assert third.is_dir()
    assert serinus.home.interpreter(candidates[2]["environment_digest"]).exists()
    assert first.name[:12] not in _serinus(serinus, "disk", "--items")

    assert serinus.infer(MODEL, ROW).json()["predictions"] == [pytest.approx(0.15)]
    back, _ = serinus.rolled_back(MODEL)
    assert back["status"]["phase"] == "promoted"
    assert serinus.model(MODEL)["champion"]["release"] == candidates[1]["id"]
    assert serinus.infer(MODEL, ROW).json()["predictions"] == [pytest.approx(0.15)]

    refused = serinus.api.post(f"/v1/models/{MODEL}/rollback", json={"to": candidates[0]["id"]})
    assert refused.status_code == 409
    assert f"Deploy {MODEL}@{versions[0]} again" in refused.json()["hint"]
    assert _promoted(serinus, versions[0])["candidate"]["id"] == candidates[0]["id"]
    assert first.is_dir()
    assert serinus.infer(MODEL, ROW).json()["predictions"] == [pytest.approx(0.15)]


def _environment_of_nothing(serinus: Serinus) -> Path:
    """As one that a release of another time has left."""
    made = serinus.home.environments / ("f" * 64)
    made.mkdir()
    (made / ENVIRONMENT_FACTS).write_text("{}")
    return made


def _promoted(serinus: Serinus, version: str) -> Mapping[str, Any]:
    ended = serinus.deployed(f"{MODEL}@{version}", text=SPEC)
    assert ended["status"]["phase"] == "promoted", (ended["status"]["reason"], ended["notes"])
    return ended


def _serinus(serinus: Serinus, *words: str) -> str:
    command = [sys.executable, "-m", "serinus.cli", "--home", str(serinus.home.path), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    return done.stdout
