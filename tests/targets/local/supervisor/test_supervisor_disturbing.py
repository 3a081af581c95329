"""What callers of models notice of the supervisor's work is written down, so that no release answers for it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

from stages import FOR_EVER, Clock, python
from waiting import wait_until

from serinus.core.disturbance import Cause, Disturbance
from serinus.core.home import Home
from serinus.disturbances import Disturbances
from serinus.targets.local.supervisor import state
from serinus.targets.local.supervisor.process_manager import ProcessManager, ProcessSpec


def specs(serves: bool = True) -> Sequence[ProcessSpec]:
    return [ProcessSpec("envoy", python(FOR_EVER), serves=serves)]


def now_disturbed(home: Home) -> Sequence[Disturbance]:
    now = time.time()
    return Disturbances(home.disturbances).within(now, now)


def killed(home: Home) -> float:
    """When it was."""
    record = state.read(home, "envoy")
    assert record is not None
    at = time.time()
    os.kill(record.pid, signal.SIGKILL)
    wait_until(lambda: not state.alive(state.read(home, "envoy")))
    return at


def test_a_start_disturbs_every_model_for_some_seconds(home: Home, clock: Clock) -> None:
    manager = ProcessManager(home, specs(), clock)
    assert now_disturbed(home) == []
    manager.round()
    (found,) = now_disturbed(home)
    assert (found.cause, found.model) == (Cause.RESTART, "")
    assert found.until is not None
    assert 5 < found.until - time.time() < 30


def test_a_death_is_told_from_when_the_process_was_last_seen(home: Home, clock: Clock) -> None:
    manager = ProcessManager(home, specs(), clock)
    manager.round()
    manager.round()
    at = killed(home)
    manager.round()
    assert any(one.since <= at <= one.end for one in Disturbances(home.disturbances).within(at, at + 100))
    assert state.alive(state.read(home, "envoy"))


def test_what_is_stopped_disturbs_until_it_is_started_again(home: Home, clock: Clock) -> None:
    manager = ProcessManager(home, specs(), clock)
    manager.round()
    manager.stop()
    stopped = time.time()
    whole = list(Disturbances(home.disturbances).within(stopped + 60, stopped + 60))
    assert [(one.cause, one.until) for one in whole] == [(Cause.RESTART, None)]
    ProcessManager(home, specs(), clock).round()
    assert all(one.until is not None for one in now_disturbed(home))


def test_what_a_killed_supervisor_has_left_is_stopped_the_same_way(home: Home, clock: Clock) -> None:
    ProcessManager(home, specs(serves=False), clock).round()
    assert now_disturbed(home) == []
    ProcessManager.of_what_runs(home).stop()
    assert [one.until for one in now_disturbed(home)] == [None]


def test_a_process_that_no_caller_waits_for_disturbs_nobody(home: Home, clock: Clock) -> None:
    manager = ProcessManager(home, specs(serves=False), clock)
    manager.round()
    killed(home)
    manager.round()
    manager.stop()
    assert Disturbances(home.disturbances).within(0, time.time() + 100) == []
