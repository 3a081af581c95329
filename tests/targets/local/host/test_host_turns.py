"""Who comes up first where many want to."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

import pytest

from serinus.core.placement import PlacementState
from serinus.targets.local.host.turns import Turns


class Starts:
    """Those that have a turn hold it until they are `done`; `begun` is the order in which they got theirs."""

    def __init__(self, usual, urgent):
        self.turns = Turns(usual, urgent)
        self.begun = []
        self.hurry = set()
        self.ends = {}
        self.tasks = {}

    def want(self, *names):
        for name in names:
            self.ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self.run(name))

    async def run(self, name):
        async with self.turns.one(lambda: name in self.hurry):
            self.begun.append(name)
            await self.ends[name].wait()

    async def done(self, name):
        self.ends[name].set()
        await self.tasks[name]
        await asyncio.sleep(0)

    async def cancelled(self, name):
        self.tasks[name].cancel()
        with suppress(asyncio.CancelledError):
            await self.tasks[name]
        await asyncio.sleep(0)


def in_a_loop(scenario):
    def test():
        asyncio.run(scenario())

    test.__name__ = scenario.__name__
    return test


@in_a_loop
async def test_turns_are_taken_in_the_order_of_coming():
    starts = Starts(usual=2, urgent=4)
    starts.want(*"abcd")
    await asyncio.sleep(0)
    assert starts.begun == ["a", "b"]
    await starts.done("b")
    await starts.done("a")
    assert starts.begun == ["a", "b", "c", "d"]


@in_a_loop
async def test_who_becomes_urgent_begins_beside_those_that_have_a_turn_up_to_the_limit():
    starts = Starts(usual=1, urgent=3)
    starts.want(*"abcde")
    await asyncio.sleep(0)
    starts.hurry |= {"c", "d", "e"}
    assert starts.begun == ["a"]
    starts.turns.look()
    await asyncio.sleep(0)
    assert starts.begun == ["a", "c", "d"]
    await starts.done("a")
    assert starts.begun == ["a", "c", "d", "e"]
    for name in "cde":
        assert "b" not in starts.begun
        await starts.done(name)
    assert starts.begun[-1] == "b"


@in_a_loop
async def test_who_is_cancelled_holds_no_turn_whether_it_waits_or_has_just_been_given_one():
    starts = Starts(usual=1, urgent=1)
    starts.want(*"abc")
    await asyncio.sleep(0)
    await starts.cancelled("b")
    starts.ends["a"].set()
    await starts.tasks["a"]  # `c` has its turn, and does not know yet
    await starts.cancelled("c")
    starts.want("d")
    await asyncio.sleep(0)
    assert (starts.begun[0], starts.begun[-1]) == ("a", "d")


# --- of releases ------------------------------------------------------------------------------------------


@pytest.fixture
def narrow(hosted):
    """A host that starts one worker at a time."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield hosted
    finally:
        os.sched_setaffinity(0, allowed)


def state(hosted, release):
    return hosted.target.observe()[release.id].state


def test_a_release_that_somebody_waits_for_comes_up_before_those_that_nobody_asks(narrow):
    narrow.start()
    slow, unasked, asked = (narrow.release(f"{name}-1-aaaaaa", load_seconds=4.0) for name in ("slow", "unasked", "a"))
    narrow.release(asked.id, load_seconds=0.0)
    for release in (slow, unasked, asked):
        narrow.target.place(release)
    answer = narrow.ask(narrow.target.observe()[asked.id])
    assert answer.status == 200
    assert state(narrow, slow) is state(narrow, unasked) is PlacementState.STARTING


def test_a_release_whose_earlier_worker_dies_does_not_wait_for_the_turns_of_those_that_still_answer(narrow, wait_until):
    narrow.start()
    first, second = narrow.placed("first-1-aaaaaa"), narrow.placed("second-1-aaaaaa")
    narrow.kill()
    narrow.release(first.release, load_seconds=8.0)
    narrow.start()
    wait_until(lambda: (narrow.home.logs / f"release-{first.release}.log").read_text().count("loading") == 2)
    os.kill(second.pid, signal.SIGKILL)
    wait_until(lambda: narrow.target.observe()[second.release].pid != second.pid)
    assert narrow.ask(second, 6.0).body["pid"] != second.pid
    assert narrow.target.observe()[first.release].pid == first.pid
