"""What models write to disk is bounded, and gone when they are."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import kept
import pytest
from serinus_runtime.isolation.scratch import Bounds

from serinus.core.errors import Unbuildable
from serinus.core.home import Home
from serinus.core.placement import PlacementState
from serinus.targets.local.host.trial_limits import TrialLimits
from serinus.targets.local.host.trial_zygotes import TrialZygotes
from serinus.targets.local.host.trials import Trials

RELEASE = "fraud-1-aaaaaa"


@pytest.fixture
def bounded(hosted):
    hosted.start("--look", "0.1", "--scratch", str(4 << 20), "--scratch-files", "200", "--log", str(1 << 20))
    return hosted


def scratch(hosted) -> Path:
    return hosted.home.scratch / "own" / RELEASE


@pytest.mark.parametrize(
    ("writes", "why"),
    [("files", "more than 200 files"), ("bytes", "more than 4 MiB"), ("deep", "directories more than 64 deep")],
)
def test_a_worker_that_writes_without_end_is_ended_and_told_and_leaves_nothing(bounded, wait_until, writes, why):
    placement = bounded.placed()
    bounded.ask(placement, writes=writes)
    found = bounded.until(RELEASE, PlacementState.FAILED)
    assert found.reason == f"was ended because it had {why} in its scratch directory"
    assert bounded.ask(bounded.until(RELEASE, PlacementState.READY, but=placement.pid)).status == 200
    wait_until(lambda: sum(1 for _ in scratch(bounded).rglob("*")) == 0)


def test_a_worker_that_prints_without_end_goes_on_and_fills_no_disk(bounded, wait_until):
    placement = bounded.placed()
    log = bounded.home.logs / f"release-{RELEASE}.log"
    bounded.ask(placement, writes="lines")
    aside = log.with_name(log.name + ".1")
    wait_until(aside.exists)
    before = aside.stat().st_ino
    wait_until(lambda: aside.stat().st_ino != before)  # again and again
    assert aside.stat().st_size == 1 << 20
    assert bounded.ask(placement).body["pid"] == placement.pid


def test_what_a_worker_leaves_goes_with_it_and_all_of_a_release_with_its_removal(bounded, wait_until):
    placement = bounded.placed()
    (scratch(bounded) / "left").write_text("x")
    os.kill(placement.pid, signal.SIGKILL)
    bounded.until(RELEASE, PlacementState.READY, but=placement.pid)
    assert not (scratch(bounded) / "left").exists()
    bounded.target.remove(RELEASE)
    wait_until(lambda: not scratch(bounded).exists())


def test_what_was_left_of_a_host_that_was_killed_with_its_workers_is_removed(hosted, wait_until):
    (scratch(hosted) / "left").mkdir(parents=True)
    hosted.start()
    hosted.placed()
    assert not (scratch(hosted) / "left").exists()


WRITES = """
import os, time

def _load_pyfunc(path):
    n = 0
    while True:
        n += 1
        WRITE
"""


@pytest.mark.parametrize("forked", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("write", "why"),
    [
        ("open(str(n), 'w').close()", "it had written more than 200 files and was killed"),
        pytest.param(
            "os.write(2, bytes(65536)); time.sleep(0.001)",
            "it had printed more than 1 MiB and was killed",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_trial_that_writes_without_end_is_ended_and_told(tmp_path, write, why, forked):
    home = Home(tmp_path / "h")
    artifact = home.artifacts / "model"
    (artifact / "code").mkdir(parents=True)
    (artifact / "code" / "by_hand.py").write_text(WRITES.replace("WRITE", write))
    flavor = {"loader_module": "by_hand", "code": "code"}
    (artifact / "MLmodel").write_text(json.dumps({"flavors": {"python_function": flavor}}))
    limits = TrialLimits(seconds=60, written=Bounds(1 << 30, 200), printed_bytes=1 << 20)
    zygotes = TrialZygotes(home) if forked else None
    kept.environment(home)
    with pytest.raises(Unbuildable, match=why):
        Trials(home, zygotes=zygotes, limits=limits).loads(kept.HERE, "model")
    if zygotes:
        zygotes.close()
    assert list(home.scratch.iterdir()) == []
