"""`kill -9` of the control process, and `down`, while it builds an environment: nothing of the build goes on.

The same of trials is in `tests/targets/local/host/test_host_trials_killed.py`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from descent import alive, descendants
from mlflow.models import infer_signature
from mlflow.pyfunc.model import PythonModel
from whole_load import wait_until
from whole_serinus import Serinus

from serinus.targets.local.supervisor import down, up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SECONDS = 5.0
"""Within which nothing is left."""
OUTLIVE = ("host", "holder", "envoy", "collector", "mlflow", "supervisor")
MODEL = "built-anew"


@pytest.fixture(scope="module")
def building(serinus: Serinus, requirements: Callable[..., list[str]]) -> Iterator[str]:
    """A rollout in the phase `build`: of no other model is an environment with these packages."""

    class Zero(PythonModel):
        def predict(self, context, model_input, params=None):
            return np.zeros(len(model_input))

    rows = pd.DataFrame({"amount": [1.0], "hour": [2.0]})
    logged = mlflow.pyfunc.log_model(
        name="model",
        registered_model_name=MODEL,
        python_model=Zero(),
        signature=infer_signature(rows, np.zeros(1)),
        input_example=rows,
        pip_requirements=[*requirements("cloudpickle"), "packaging<24"],
    )
    rollout = serinus.deploy(f"{MODEL}@{logged.registered_model_version}")
    wait_until(lambda: serinus.rollout(rollout)["status"]["phase"] == "build", 200, "the phase build")
    yield rollout
    wish = {"kind": "abort", "why": "a test"}
    serinus.api.post(f"/v1/rollouts/{rollout}/orders", json=wish).raise_for_status()
    assert serinus.ended(rollout)["status"]["phase"] == "aborted"


def build(serinus: Serinus) -> Mapping[int, str]:
    """What the control process runs, once a build with what belongs to it is among that."""
    found: list[Mapping[int, str]] = [{}]

    def look() -> bool:
        found[0] = descendants(serinus.process("control")["pid"])
        return any(word in command(pid) for pid in found[0] for word in (b"/uv\0pip\0", b"trials.bytecode"))

    wait_until(look, 200, "a build")
    return found[0]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_nothing_of_a_build_goes_on_when_the_control_process_is_killed_and_the_next_one_builds(
    serinus: Serinus, building: str
) -> None:
    running, others = build(serinus), {name: serinus.process(name)["pid"] for name in OUTLIVE}
    os.kill(serinus.process("control")["pid"], signal.SIGKILL)
    wait_until(lambda: not alive(running), SECONDS, "the end of the build")
    assert {name: serinus.process(name)["pid"] for name in OUTLIVE} == others
    again = build(serinus)
    assert not set(again) & set(running)
    assert serinus.rollout(building)["status"]["phase"] == "build"


def test_nothing_of_a_build_goes_on_after_down(serinus: Serinus, building: str) -> None:
    running = build(serinus)
    try:
        assert down(serinus.home)
        wait_until(lambda: not alive(running), SECONDS, "the end of the build")
    finally:
        up(serinus.home)
    assert serinus.rollout(building)["status"]["phase"] == "build"
