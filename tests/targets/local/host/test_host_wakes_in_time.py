"""A release whose first answer after sleep would come too late does not sleep, or is woken before it is asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from serinus.core.home import Home
from serinus.core.placement import PlacementState
from serinus.targets.local.host import surveyor as looking
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.sleeping import Waking
from serinus.targets.local.host.surveyor import Surveyor


def test_what_takes_too_long_to_wake_stays_up_and_what_does_not_sleeps(hosted):
    hosted.start("--idle", "0.2", "--survey", "0.1", "--young", "0", "--busiest", "0")
    slow = hosted.release("fraud-1-slow", load_seconds=0.3)
    slow = replace(slow, settings=replace(slow.settings, timeout_ms=50))
    hosted.target.place(slow)
    hosted.until(slow.id, PlacementState.READY)
    quick = hosted.release("fraud-1-quick")
    hosted.target.place(quick)
    for _ in range(3):
        hosted.until(quick.id, PlacementState.ASLEEP)
        hosted.target.wake(quick.id)
        hosted.until(quick.id, PlacementState.READY)
    placed = hosted.target.observe()[slow.id]
    assert (placed.state, placed.restarts) == (PlacementState.READY, 0)


class Sleeper:
    """A keeper of a release that sleeps, and woke in 0.1 s when nothing else ran."""

    def __init__(self, release):
        self.release = release
        self.asleep, self.woken = True, 0
        self.ready_workers = ()
        self.own_bytes, self.ready_since = 0, 0.0
        self.waking = Waking()
        self.waking.recall(0.1, 0.0)
        self.renewable = False

    def wake(self, *, to_stay):
        assert not to_stay, "it sleeps again when the machine is quiet"
        self.woken += 1
        self.asleep = False


@pytest.fixture
def looks(hosted, tmp_path, monkeypatch):
    """Looks of a machine on which so many processes run for each processor, at one release; how often it was woken."""

    def look(crowd, timeout_ms=250, limits=None, many=8):
        limits = limits or Limits()
        release = hosted.release("fraud-1-aaaaaa")
        sleeper = Sleeper(replace(release, settings=replace(release.settings, timeout_ms=timeout_ms)))
        zygotes = SimpleNamespace(pids=dict, keep_only=lambda _: None)
        launcher = SimpleNamespace(home=Home(tmp_path / "h"), zygotes=zygotes)
        monkeypatch.setattr(looking, "running", lambda: crowd * limits.cores)
        surveyor = Surveyor(launcher, limits, {release.id: sleeper})

        async def run():
            for _ in range(many):
                await surveyor.look()

        asyncio.run(run())
        return sleeper.woken

    return look


@pytest.mark.parametrize(("crowd", "woken"), [(0, 0), (1, 0), (1.5, 0), (3, 1), (10, 1)])
def test_what_sleeps_is_woken_where_the_machine_is_so_busy_that_a_wake_takes_too_long(looks, crowd, woken):
    assert looks(crowd) == woken


def test_what_has_time_enough_sleeps_on_however_busy_the_machine_is(looks):
    assert looks(10, timeout_ms=3000) == 0


def test_a_short_moment_of_work_wakes_nothing(looks):
    assert looks(3, many=1) == 0


def test_nothing_is_woken_for_which_there_is_no_memory(looks):
    assert looks(10, limits=Limits(memory_bytes=0)) == 0
