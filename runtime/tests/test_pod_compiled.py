"""A compiled release in a pod: its answers are those of its graph, and all of the pod fits into little memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import compiling_models
import numpy as np
import pytest
from descent import descendants
from pods import COMPILED, RunningPod, environment_of, until
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

from serinus_runtime.model import compiled

pytestmark = pytest.mark.timeout(180)
MOST = 150 << 20
"""Bytes that a pod of a compiled release may take."""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = compiling_models.mixed(LogisticRegression(), OneHotEncoder(handle_unknown="ignore"))
    data = compiling_models.payments()
    inputs = data.drop(columns="fraud")
    return compiling_models.compile_it(model, inputs, data["fraud"], tmp_path_factory.mktemp("c"), "predict_proba")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment of compiled releases."""
    return environment_of(tmp_path_factory.mktemp("small") / "environment", COMPILED)


@pytest.fixture
def start(start_pod: Callable[..., RunningPod], artifact: Path, small: Path) -> Callable[..., RunningPod]:
    digest = compiled.digest_of(artifact.parent / "compiled")

    def started(**more: object) -> RunningPod:
        return start_pod(artifact, environment=small, **{"compiled": True, "digest": digest, **more})

    return started


def test_it_answers_as_its_graph(start: Callable[..., RunningPod], artifact: Path) -> None:
    pod = start(workers=2).wait_ready(2)
    data = compiling_models.payments().drop(columns="fraud").head(20)
    rows = data.astype(object).where(data.notna(), None).to_dict("split")
    answer = pod.caller().invoke({"dataframe_split": {"columns": rows["columns"], "data": rows["data"]}})
    expected = compiled.read(artifact.parent / "compiled", artifact).predict_rows(rows["data"])
    np.testing.assert_array_equal(np.array(answer.json["predictions"]), np.array(expected, dtype=float))
    assert pod.metric("restarts_total") == 0


def test_files_that_are_not_those_that_were_proven_are_not_served(start: Callable[..., RunningPod]) -> None:
    pod = start(digest="0" * 64)
    assert pod.process.wait(60) == 1
    assert "the files of the compiled model are not those that were proven" in pod.message.read_text()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask for the memory of processes that are not dumpable")
@pytest.mark.parametrize("workers", [1, 2])
def test_all_of_the_pod_takes_little_memory(start: Callable[..., RunningPod], workers: int) -> None:
    pod = start(workers=workers).wait_ready(workers)
    data = compiling_models.payments().drop(columns="fraud").head(20)
    rows = data.astype(object).where(data.notna(), None).to_dict("split")
    callers = [pod.caller() for _ in range(8)]
    for _ in range(20):
        for caller in callers:
            assert caller.invoke({"dataframe_split": {"columns": rows["columns"], "data": rows["data"]}}).status == 200
    until(lambda: pod.metric("requests_total") >= 160)
    sizes = {pid: _share(pid) for pid in (pod.process.pid, *descendants(pod.process.pid))}
    print(
        f"{workers} workers: {sum(sizes.values()) / 2**20:.0f} MiB", [round(size / 2**20, 1) for size in sizes.values()]
    )
    assert len(sizes) == workers + 2
    assert sum(sizes.values()) <= MOST


def _share(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
