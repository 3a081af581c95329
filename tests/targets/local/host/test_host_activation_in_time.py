"""A release whose activation would come too late is not scaled to zero, or is activated before anybody asks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from serinus.core.home import Home
from serinus.core.placement import PlacementState
from serinus.core.release import Scale
from serinus.targets.local.host import surveyor as looking
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.scale_to_zero import ActivationTimes
from serinus.targets.local.host.surveyor import Surveyor


def test_what_takes_too_long_to_activate_stays_up_and_what_does_not_is_scaled_to_zero(hosted):
    hosted.start("--idle", "0.2", "--survey", "0.1", "--young", "0", "--busiest", "0")
    slow = hosted.release("fraud-1-slow", load_seconds=0.3)
    slow = replace(slow, settings=replace(slow.settings, timeout_ms=50))
    hosted.target.place(slow)
    hosted.until(slow.id, PlacementState.READY)
    quick = hosted.release("fraud-1-quick")
    hosted.target.place(quick)
    for _ in range(3):
        hosted.until(quick.id, PlacementState.SCALED_TO_ZERO)
        hosted.target.activate(quick.id)
        hosted.until(quick.id, PlacementState.READY)
    placed = hosted.target.observe()[slow.id]
    assert (placed.state, placed.restarts) == (PlacementState.READY, 0)


class AtZero:
    """The controller of a release that is scaled to zero, and was activated in 0.1 s when nothing else ran."""

    def __init__(self, release):
        self.release = release
        self.scaled_to_zero, self.activated = True, 0
        self.ready_workers = ()
        self.own_bytes, self.ready_since = 0, 0.0
        self.starts = SimpleNamespace(activation_times=ActivationTimes(), crowd=None)
        self.starts.activation_times.recall(0.1, 0.0)
        self.renewable, self.scale = False, Scale()
        self.most, self.least = 2, 0

    def renew(self):
        return False  # it has no worker that could have another scale

    def activate(self, *, to_stay):
        assert not to_stay, "it is scaled to zero again when the machine is quiet"
        self.activated += 1
        self.scaled_to_zero = False


@pytest.fixture
def looks(hosted, tmp_path, monkeypatch):
    """Looks at one release of a machine on which so many processes run for each processor; how often it was
    activated."""

    def look(crowd, timeout_ms=250, limits=None, many=8):
        limits = limits or Limits()
        release = hosted.release("fraud-1-aaaaaa")
        at_zero: Any = AtZero(replace(release, settings=replace(release.settings, timeout_ms=timeout_ms)))
        zygotes = SimpleNamespace(pids=dict, keep_only=lambda _: None)
        home = Home(tmp_path / "h")
        launcher = SimpleNamespace(home=home, zygotes=zygotes, interpreter=lambda _: home.path / "python")
        monkeypatch.setattr(looking, "running", lambda: crowd * limits.cores)
        surveyor = Surveyor(launcher, limits, {release.id: at_zero})

        async def run():
            for _ in range(many):
                await surveyor.look()

        asyncio.run(run())
        return at_zero.activated

    return look


@pytest.mark.parametrize(("crowd", "activated"), [(0, 0), (1, 0), (1.5, 0), (3, 1), (10, 1)])
def test_what_is_at_zero_is_activated_where_the_machine_is_so_busy_that_it_would_be_late(looks, crowd, activated):
    assert looks(crowd) == activated


def test_what_has_time_enough_stays_at_zero_however_busy_the_machine_is(looks):
    assert looks(10, timeout_ms=3000) == 0


def test_a_short_moment_of_work_activates_nothing(looks):
    assert looks(3, many=1) == 0


def test_nothing_is_activated_for_which_there_is_no_memory(looks):
    assert looks(10, limits=Limits(memory_bytes=0)) == 0
