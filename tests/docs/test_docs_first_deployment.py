"""The script of docs/first-deployment.md trains, and what it registers is what Serinus looks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from serinus.backends.mlflow import MlflowRegistry
from serinus.core.release import Artifact
from serinus.spec import load

if TYPE_CHECKING:
    from tests.docs.conftest import Page


@pytest.fixture(scope="module")
def trained(first_deployment: Page, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which `python train.py 1 3` has run, against an MLflow store of its own (`mlflow.db`)."""
    directory = tmp_path_factory.mktemp("first-deployment")
    (script,) = [block for block in first_deployment.blocks("python") if "def register" in block]
    (directory / "train.py").write_text(script)
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{directory}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    words = [sys.executable, "train.py", "1", "3"]
    done = subprocess.run(words, env=environment, cwd=directory, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def registry(trained: Path) -> MlflowRegistry:
    return MlflowRegistry(f"sqlite:///{trained}/mlflow.db", trained / "cache")


def artifact(registry: MlflowRegistry) -> Artifact:
    return registry.fetch(registry.find("card-fraud", "1"))


def test_the_registered_version_has_a_signature_an_example_and_pinned_requirements(registry: MlflowRegistry) -> None:
    found = artifact(registry)
    assert [column.name for column in found.inputs or ()] == ["amount", "hour", "distance"]
    assert not [warning for warning in found.warnings if "example" in warning]
    assert any(line.startswith("scikit-learn==") for line in found.requirements.packages)


def test_the_files_that_the_spec_names_are_logged_with_the_run(
    registry: MlflowRegistry, first_deployment: Page
) -> None:
    (shown,) = [load(block) for block in first_deployment.blocks("yaml")]
    version = registry.find("card-fraud", "1")
    evaluation = registry.run_file(version, shown.gates.evaluation or "")
    golden = registry.run_file(version, shown.gates.golden or "")
    assert evaluation is not None
    assert golden is not None
    frame = pl.read_parquet(evaluation)
    assert set(frame[shown.gates.label].unique()) == {0, 1}
    rows = json.loads(golden.read_text())
    assert rows["columns"] == ["amount", "hour", "distance"]
    assert len(rows["rows"]) == len(rows["scores"]) == 100


def test_the_traffic_holds_what_only_the_third_version_cannot_bear(trained: Path) -> None:
    live = pl.read_csv(trained / "live.csv")
    evaluation = pl.read_parquet(trained / "evaluation.parquet")
    assert live.columns == ["card", "amount", "hour", "distance", "label"]
    assert evaluation["amount"].max() == 500
    share = (live["amount"] > 500).mean()
    assert isinstance(share, float)
    assert 0.005 < share < 0.02
