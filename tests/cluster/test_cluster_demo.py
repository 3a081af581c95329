"""`make demo-cluster`, to its end: what it tells is checked by itself, and it leaves nothing in the cluster."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from clusters import Cluster

from demo.cluster.lab import NAME
from demo.story import ROOT

pytestmark = pytest.mark.timeout(900)


def test_the_story_is_told_and_nothing_is_left_of_it(cluster: Cluster) -> None:
    if cluster.git is None:
        pytest.skip("the demo runs on the lab alone")
    pytest.importorskip("xgboost", reason="of the data scientist's side: uv sync --group demo")
    words = [sys.executable, "-m", "demo.cluster"]
    told = subprocess.run(
        words, cwd=ROOT, env={**os.environ, "DEMO_EXIT": "1"}, capture_output=True, text=True, timeout=840, check=False
    )
    print(told.stdout)
    assert told.returncode == 0, told.stderr
    assert "NOT AS IT SHOULD BE" not in told.stdout
    everywhere = ("namespaces,applications,applicationsets,appprojects,validatingadmissionpolicies", "--all-namespaces")
    assert NAME not in cluster.kubectl("get", *everywhere, "--output=name")
    assert NAME not in cluster.kubectl("get", "clusterroles,clusterrolebindings", "--output=name")
    assert not (cluster.git.directory / f"{NAME}.git").exists()
