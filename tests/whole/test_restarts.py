"""A canary under constant load, while the platform itself is restarted, killed or short of processors: what it
causes is not held against a release. And a release that is really bad is aborted all the same."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from whole_load import wait_until
from whole_serinus import Serinus

from serinus.targets.local.supervisor import down, up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RATE = 200
# Slow as by default with this timeout: a fifth of it. Wide budgets, so that what clears is that it is not slow: some
# 5,000 requests of the canary, and twice as many with the default of `beta`.
SPEC = """
model: {model}
serving: {{timeout: 500ms}}
gates: {{latency_p99: 2s}}
rollout:
  steps:
    - {{traffic: 80%, requests: 600, for: {seconds}s, at_most: 5m}}
watch:
  errors: {{budget: 4%}}
  fallbacks: {{budget: 4%}}
  missing: {{budget: 4%}}
  beta: 40%
"""


@contextmanager
def canary(serinus: Serinus, model: str, version: str, seconds: int = 10) -> Iterator[str]:
    """The rollout's id, once its canary has had traffic for some seconds."""
    with serinus.load(model, RATE):
        rollout = serinus.deploy(f"{model}@{version}", text=SPEC.format(model=model, seconds=seconds))
        phases = ("canary", "aborted")
        wait_until(lambda: serinus.rollout(rollout)["status"]["phase"] in phases, 120, "the canary")
        assert serinus.rollout(rollout)["status"]["phase"] == "canary", serinus.rollout(rollout)["status"]
        wait_until(lambda: asked(serinus, rollout) > RATE, 60, "a second of the canary")
        yield rollout


def asked(serinus: Serinus, rollout: str) -> int:
    counts = serinus.log.counts(serinus.rollout(rollout)["steps"][-1]["split"]) or {}
    return sum(arm.requests for arm in counts.values())


def set_aside(serinus: Serinus, rollout: Mapping[str, Any]) -> int:
    """Requests of the rollout that were answered and not counted."""
    splits = [serinus.log.counts(step["split"]) or {} for step in rollout["steps"]]
    return sum(sum(arm.set_aside.values()) for counts in splits for arm in counts.values())


def is_promoted(serinus: Serinus, rollout: str) -> Mapping[str, Any]:
    ended = serinus.ended(rollout)
    assert ended["status"]["phase"] == "promoted", ended["status"]
    return ended


@pytest.fixture(scope="module")
def model(serinus: Serinus, register: Callable[..., str]) -> str:
    ended = serinus.deployed(f"again@{register('again', 1.0)}", text=SPEC.format(model="again", seconds=10))
    assert ended["status"]["phase"] == "promoted", ended["status"]
    return "again"


def test_a_canary_goes_on_through_down_and_up(serinus: Serinus, register: Callable[..., str], model: str) -> None:
    with canary(serinus, model, register(model, 0.1)) as rollout:
        assert down(serinus.home)
        up(serinus.home)
        ended = is_promoted(serinus, rollout)
    assert set_aside(serinus, ended) > 0


def test_a_canary_goes_on_when_processes_of_the_platform_are_killed(
    serinus: Serinus, register: Callable[..., str], model: str
) -> None:
    with canary(serinus, model, register(model, 0.2), seconds=30) as rollout:
        for process in ("host", "control", "envoy"):
            aside = set_aside(serinus, serinus.rollout(rollout))
            kill(serinus, process)
            if process != "control":  # which no request passes
                wait_for_set_aside(serinus, rollout, aside, process)
        is_promoted(serinus, rollout)


def kill(serinus: Serinus, process: str) -> None:
    """Until the next one is there."""
    before = serinus.process(process)["pid"]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: serinus.process(process)["pid"] != before and serinus.answers(), 60, f"the next {process}")


def wait_for_set_aside(serinus: Serinus, rollout: str, more_than: int, why: str) -> None:
    """Until more requests of the rollout are set aside."""
    wait_until(lambda: set_aside(serinus, serinus.rollout(rollout)) > more_than, 30, f"requests set aside: {why}")


def _burn() -> None:
    while True:
        pass


@contextmanager
def without_processors(loops: int) -> Iterator[None]:
    burning = [multiprocessing.get_context("spawn").Process(target=_burn, daemon=True) for _ in range(loops)]
    for one in burning:
        one.start()
    try:
        yield
    finally:
        for one in burning:
            one.kill()
            one.join()


def test_a_canary_goes_on_on_a_machine_without_processors_to_spare(
    serinus: Serinus, register: Callable[..., str], model: str
) -> None:
    with canary(serinus, model, register(model, 0.3), seconds=20) as rollout:
        with without_processors(8 * (os.cpu_count() or 2)):
            time.sleep(10)
        is_promoted(serinus, rollout)


@pytest.mark.parametrize(
    ("fault", "causes"), [("slow_in_service", {"judge"}), ("crashes_in_service", {"judge", "crashes"})]
)
def test_a_canary_that_is_slow_or_crashes_again_and_again_is_aborted_although_the_host_was_restarted(
    serinus: Serinus, register: Callable[..., str], register_code: Callable[..., str], fault: str, causes: set[str]
) -> None:
    """A model of this kind behaves well for its first requests, or nothing would come through the gates. The canary is
    long enough for five crashes in a row."""
    name = fault.replace("_", "-")
    ended = serinus.deployed(f"{name}@{register(name, 1.0)}", text=SPEC.format(model=name, seconds=10))
    assert ended["status"]["phase"] == "promoted", ended["status"]
    with canary(serinus, name, register_code(fault), seconds=90) as rollout:
        kill(serinus, "host")
        ended = serinus.ended(rollout)
    assert ended["status"]["phase"] == "aborted", ended["status"]
    assert ended["status"]["cause"] in causes, ended["status"]
