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

pytestmark = pytest.mark.long

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


UNBROKEN = b'{"seconds": 0.3}'
"""Of more callers than answers: somebody always waits."""


def test_under_unbroken_load_a_new_worker_is_started_beside_the_old_one_which_then_goes(hosted, wait_until):
    """Although an activation would take longer than its time limit, no caller waits for one."""
    hosted.start(*QUICK)
    settings = ServingSettings(timeout_ms=1000, cache=CacheSettings(30.0))
    first = hosted.placed(settings=settings, load_seconds=2.0, scale=Scale(max_workers=1))
    release = hosted.release(settings=settings, load_seconds=2.0)
    wanted = Scale(max_workers=1, memory_limit_bytes=3 << 30, cache_bytes=1 << 20)
    with asking(first.endpoint, UNBROKEN, threads=6) as callers:
        wait_until(lambda: len(callers.answers) > 12)
        hosted.target.place(release, wanted)
        seen = [hosted.target.observe()[NAME]]
        assert not seen[0].scaled, "it is told before anything has it"

        def scaled():
            seen.append(hosted.target.observe()[NAME])
            return seen[-1].scaled

        wait_until(scaled)
        told = len(callers.answers) + len(callers.threads)  # those on their way were answered before
        wait_until(lambda: len(callers.answers) > told + 20)
    assert callers.failures == []
    assert {one.state for one in seen} == {PlacementState.READY}
    assert {told["memory_limit_bytes"] for _, told in callers.answers[told:]} == {3 << 30}
    assert {told["cache"]["max_bytes"] for _, told in callers.answers[told:]} == {1 << 20}
    last = hosted.target.observe()[NAME]
    assert (last.scaled, last.scale, last.workers, last.restarts) == (True, wanted, 1, 0)
    assert last.pid not in (first.pid, None)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor: there is never a second worker")
def test_of_several_workers_each_is_replaced_and_there_are_never_fewer(hosted, wait_until):
    hosted.start("--survey", "0.3")
    first = hosted.placed(scale=Scale(max_workers=2))
    with asking(first.endpoint, b'{"spin_seconds": 0.02}', threads=8) as callers:
        wait_until(lambda: hosted.target.observe()[NAME].workers == 2)
        hosted.target.place(hosted.release(), Scale(max_workers=2, memory_limit_bytes=3 << 30))
        counted = []

        def scaled():
            placement = hosted.target.observe()[NAME]
            counted.append(placement.workers)
            return placement.scaled

        wait_until(scaled)
    assert callers.failures == []
    assert min(counted) == 2


def test_a_worker_that_does_not_come_up_with_the_new_scale_leaves_the_old_one_in_place(hosted, wait_until):
    hosted.start(*QUICK)
    first = hosted.placed(load="ok")
    release = hosted.release(load="fail")  # from now on
    hosted.target.place(release, Scale(memory_limit_bytes=3 << 30))
    with asking(first.endpoint) as callers:
        wait_until(lambda: "a worker with its new scale" in hosted.target.observe()[NAME].reason)
        said = hosted.target.observe()[NAME]
        assert (said.state, said.scaled, said.pid) == (PlacementState.READY, False, first.pid)
        assert "No module named 'xgboost'" in said.reason
        hosted.release(load="ok")
        wait_until(lambda: hosted.target.observe()[NAME].scaled)
    assert callers.failures == []
    assert {told["memory_limit_bytes"] for _, told in callers.answers[:1]} == {None}
    assert hosted.target.observe()[NAME].reason == ""


def test_the_scale_before_again_needs_no_other_worker(hosted, wait_until):
    hosted.start("--survey", "30")
    first = hosted.placed()
    hosted.target.place(hosted.release(), Scale(memory_limit_bytes=3 << 30))
    assert not hosted.target.observe()[NAME].scaled
    hosted.target.place(hosted.release(), USUAL)
    assert hosted.target.observe()[NAME].scaled
    assert hosted.ask(first).body["pid"] == first.pid


def test_a_worker_is_not_stopped_by_a_limit_that_it_was_not_started_with(hosted, wait_until):
    """Nobody would answer until another has loaded."""
    hosted.start("--survey", "0.1")
    first = hosted.placed(load_seconds=2.0)
    assert hosted.ask(first, eat_bytes=200 << 20).status == 200
    hosted.target.place(hosted.release(load_seconds=2.0), Scale(memory_limit_bytes=100 << 20))
    wait_until(lambda: hosted.target.observe()[NAME].scaled)
    assert hosted.target.observe()[NAME].pid != first.pid
    assert hosted.target.observe()[NAME].restarts == 0
    assert "beyond its limit" not in (hosted.home.logs / "host.log").read_text()


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
