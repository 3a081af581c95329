"""A release that runs gets another scale: no request fails, and after a restart of the host it still has it."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
from callers import Callers

from serinus.core.placement import PlacementState
from serinus.core.release import USUAL, CacheSettings, Scale, ServingSettings
from serinus.targets.local.host.autoscaler import Autoscaler
from serinus.targets.local.host.cgroups import Groups
from serinus.targets.local.host.state_files import StateFiles

NAME = "fraud-1-aaaaaa"
QUICK = ("--survey", "0.2")
SOON = ("--idle", "0.3", "--young", "0", "--busiest", "0", "--survey", "0.1")
CACHED = ServingSettings(cache=CacheSettings(30.0))


def asking(endpoint, body=b'{"seconds": 0.005}', threads=3):
    """Callers; who answered, and with which settings."""
    return Callers(
        endpoint, lambda told: (told["pid"], told["config"]["settings"]), body, threads=threads, seconds=20.0
    )


@pytest.mark.parametrize("held", [False, True], ids=["alone", "with-a-holder"])
def test_memory_and_cache_change_while_it_is_asked_and_no_request_fails(hosted, held, request, wait_until):
    if held:
        request.getfixturevalue("holder")
    hosted.start(*QUICK)
    first = hosted.placed(settings=CACHED, scale=Scale(max_workers=1))
    wanted = Scale(max_workers=1, memory_limit_bytes=3 << 30, cache_bytes=1 << 20)
    with asking(first.endpoint) as callers:
        wait_until(lambda: callers.answers)
        hosted.target.place(hosted.release(settings=CACHED), wanted)
        assert hosted.target.observe()[NAME].scale == wanted
        wait_until(lambda: callers.answers[-1][1]["memory_limit_bytes"] == 3 << 30)
        after = len(callers.answers)
        wait_until(lambda: len(callers.answers) > after + 20)
    assert callers.failures == []
    before, now = callers.answers[0], callers.answers[-1]
    assert before[1]["cache"] == {"max_bytes": 16 << 20, "ttl_seconds": 30.0}
    assert now[1]["cache"] == {"max_bytes": 1 << 20, "ttl_seconds": 30.0}
    assert before[0] != now[0]
    assert hosted.target.observe()[NAME].restarts == 0


def test_the_next_host_gives_it_the_same(hosted, wait_until):
    hosted.start(*QUICK)
    wanted = Scale(memory_limit_bytes=3 << 30)
    first = hosted.placed()
    hosted.target.place(hosted.release(), wanted)
    hosted.kill()
    hosted.start(*QUICK)
    second = hosted.until(NAME, PlacementState.READY, but=first.pid)
    assert second.scale == wanted
    assert wait_until(lambda: hosted.ask(second).body["config"]["settings"]["memory_limit_bytes"] == 3 << 30)


def test_the_same_scale_again_changes_nothing(hosted):
    hosted.start(*QUICK)
    scale = Scale(memory_limit_bytes=3 << 30, keep_warm=True)
    first = hosted.placed(scale=scale)
    hosted.target.place(hosted.release(), scale)
    hosted.target.place(replace(hosted.release(), version="1"), scale)
    assert hosted.ask(first).body["pid"] == first.pid
    assert "gets another scale" not in (hosted.home.logs / "host.log").read_text()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor: there is never a second worker")
def test_more_and_fewer_workers_while_it_is_asked_and_no_request_fails(hosted, wait_until):
    hosted.start("--survey", "0.3")
    first = hosted.placed(scale=Scale(max_workers=1))

    def workers():
        return hosted.target.observe()[NAME].workers

    with asking(first.endpoint, b'{"spin_seconds": 0.02}', threads=8) as callers:
        wait_until(lambda: len(callers.answers) > 100)
        assert workers() == 1
        hosted.target.place(hosted.release(), Scale(max_workers=2))
        wait_until(lambda: workers() == 2)
        hosted.target.place(hosted.release(), Scale(max_workers=1))
        wait_until(lambda: workers() == 1)
    assert callers.failures == []
    assert hosted.target.observe()[NAME].restarts == 0


def test_what_is_at_zero_is_activated_when_it_is_to_be_kept_warm_and_goes_back_when_it_is_not(hosted):
    hosted.start(*SOON)
    hosted.placed()
    hosted.until(NAME, PlacementState.SCALED_TO_ZERO)
    hosted.target.place(hosted.release(), Scale(keep_warm=True))
    up = hosted.until(NAME, PlacementState.READY)
    assert hosted.target.observe()[NAME].pid == up.pid
    hosted.target.place(hosted.release(), USUAL)
    hosted.until(NAME, PlacementState.SCALED_TO_ZERO)


def test_a_scale_that_an_earlier_version_kept_among_the_settings_is_read(hosted):
    release, files = hosted.release(settings=CACHED), StateFiles(hosted.home)
    files.keep(release)
    (file,) = hosted.home.host.glob("*.json")
    before = json.loads(file.read_text())["release"]
    scale = {"max_workers": 3, "keep_warm": True, "warm_hours": [], "memory_limit_bytes": 1024, "cpu_limit": 0.5}
    before["settings"] |= {**scale, "cache": {"max_bytes": 4096, "ttl_seconds": 30.0}}
    file.write_text(json.dumps({**before, "artifact_path": "/a", "python": "/e/bin/python"}))
    (placed,) = files.placed().values()
    assert (placed.release, placed.scale) == (release, Scale(3, True, (), 1024, 0.5, 4096))


def test_a_running_worker_is_put_under_another_limit_of_processors_and_under_none(tmp_path):
    groups = Groups(tmp_path, frozenset({"cpu", "memory"}))
    groups.put(17, Scale(cpu_limit=1.5, memory_limit_bytes=5))
    for limit, written in ((0.5, "5000 10000"), (None, "max 10000")):
        groups.limit_processors(17, Scale(cpu_limit=limit))
        assert (tmp_path / "serinus-worker-17" / "cpu.max").read_text() == written
    assert (tmp_path / "serinus-worker-17" / "memory.max").read_text() == "5", "it is the next worker's"


def test_a_scaler_that_is_bounded_gives_up_what_is_too_many_at_once():
    scaler = Autoscaler(4)
    scaler.bound(2)
    assert scaler.step(4, 4.0, 9) == 2
    scaler.bound(3)
    assert [scaler.step(2, 2.0, 9) for _ in range(2)] == [2, 3]
