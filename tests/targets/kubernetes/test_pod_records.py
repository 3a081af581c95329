"""Prediction records of a real pod, taken by a real collector with a door to other machines."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from identities import Authority
from pods import ALIKE, ROW, RunningPod, environment_of, until
from remote_collector import NAME, RemoteCollector

from serinus.core.ports import Writer

pytestmark = pytest.mark.timeout(150)

RELEASE = "fraud-1-abc123"
ROUTED = {"content-type": "application/json", "x-serinus-split": "s1", "x-serinus-role": "champion"}
MODEL = """
class Model:
    def predict(self, data, params=None):
        return data["amount"].to_numpy(dtype="float64")

def _load_pyfunc(path):
    return Model()
"""


@pytest.fixture
def door(tmp_path: Path) -> Iterator[RemoteCollector]:
    door = RemoteCollector(tmp_path, {"of the pod": Writer(release=RELEASE, holder="pod-1")})
    door.open()
    yield door
    door.close()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment_of(tmp_path_factory.mktemp("environment") / "environment", ALIKE)


@pytest.fixture
def start(door: RemoteCollector, environment: Path, tmp_path: Path) -> Iterator[Callable[..., RunningPod]]:
    artifact = tmp_path / "model"
    (artifact / "code").mkdir(parents=True)
    (artifact / "code" / "by_hand_for_records.py").write_text(MODEL)
    columns = [
        {"name": "amount", "type": "double"},
        {"name": "hour", "type": "long"},
        {"name": "country", "type": "string"},
    ]
    flavor = {"loader_module": "by_hand_for_records", "code": "code", "env": "conda.yaml"}
    mlmodel = {"flavors": {"python_function": flavor}, "signature": {"inputs": json.dumps(columns), "outputs": None}}
    (artifact / "MLmodel").write_text(json.dumps(mlmodel))
    (artifact / "serving_input_example.json").write_text(json.dumps(ROW))
    (tmp_path / "token").write_text("of the pod\n")
    collectors = {
        "addresses": ["127.0.0.1:9", f"127.0.0.1:{door.port}"],  # nobody listens at the first
        "name": NAME,
        "authority": str(door.authority),
        "token": str(tmp_path / "token"),
    }
    pods: list[RunningPod] = []

    def started(**more: object) -> RunningPod:
        pod = RunningPod(tmp_path / f"pod-{len(pods)}", artifact, environment, **{"collectors": collectors, **more})
        pods.append(pod)
        return pod

    yield started
    for pod in pods:
        pod.close()


def ask(pod: RunningPod, times: int) -> None:
    caller = pod.caller()
    for _ in range(times):
        assert caller.request("POST", "/invocations", ROW, ROUTED).status == 200
    caller.close()


@pytest.mark.long
def test_each_record_is_taken_once_while_collectors_and_workers_go(
    start: Callable[..., RunningPod], door: RemoteCollector
) -> None:
    pod = start(workers=2).wait_ready(2).settled(2)
    until(lambda: pod.metric("collector_connections") == 2)
    ask(pod, 20)
    until(lambda: door.requests(RELEASE) == 20)
    door.close()
    until(lambda: pod.metric("collector_connections") == 0)
    ask(pod, 30)
    door.open()
    until(lambda: door.requests(RELEASE) == 50, 30)
    os.kill(pod.workers()[0], signal.SIGKILL)
    pod.wait_ready(2)
    until(lambda: pod.metric("collector_connections") == 2, 30)
    ask(pod, 10)
    until(lambda: door.requests(RELEASE) == 60, 30)


def test_what_was_answered_before_the_end_is_recorded(start: Callable[..., RunningPod], door: RemoteCollector) -> None:
    pod = start().wait_ready()
    until(lambda: pod.metric("collector_connections") == 1)
    ask(pod, 40)
    assert pod.stop() == 0
    until(lambda: door.requests(RELEASE) == 40)


@pytest.mark.parametrize("wrong", ["the token", "the name", "the authority"])
def test_nothing_is_sent_to_one_that_is_not_trusted_or_does_not_trust(
    start: Callable[..., RunningPod], door: RemoteCollector, tmp_path: Path, wrong: str
) -> None:
    """And the release is served; its records wait, and go once what was wrong is mended."""
    good = door.authority.read_bytes()
    if wrong == "the token":
        (tmp_path / "token").write_text("made up")
    elif wrong == "the authority":
        door.authority.write_bytes(Authority().pem)
    pod = start(
        workers=1, **({"settings": {"timeout_ms": 1000}} if wrong != "the name" else _with_name(door, tmp_path))
    )
    pod.wait_ready()
    ask(pod, 5)
    if wrong != "the token":
        until(lambda: "no collector takes prediction records: " in pod.log)
        assert pod.metric("collector_connections") == 0
    assert door.requests(RELEASE) == 0
    if wrong == "the name":
        return
    (tmp_path / "token").write_text("of the pod")
    door.authority.write_bytes(good)
    until(lambda: door.requests(RELEASE) == 5, 40)


def _with_name(door: RemoteCollector, tmp_path: Path) -> dict[str, object]:
    return {
        "collectors": {
            "addresses": [f"127.0.0.1:{door.port}"],
            "name": "another.test",
            "authority": str(door.authority),
            "token": str(tmp_path / "token"),
        }
    }
