"""Transitions of the main worker of a release: activation, scaling to zero, starting, failing and replacement. Pure."""

from __future__ import annotations

from dataclasses import replace

from serinus.core.disturbance import Cause
from serinus.lib import backoff
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.release_status import (
    AwaitCaller,
    Called,
    Delay,
    DelayOver,
    Distrust,
    EndRefusal,
    Exited,
    Forget,
    IgnoreCallers,
    LeftBehind,
    NoteReady,
    NotReady,
    Publish,
    Ready,
    Replace,
    ScaleToZero,
    Started,
    StartMain,
    State,
    Status,
    StopWorker,
)
from serinus.targets.local.host.release_steps import Step, dismissed, draining, forgotten, own, refusal, start, without


def activated(status: Status, event: Called, now: float, limits: Limits) -> Step | None:
    after = replace(status, state=State.ACTIVATING)
    return after, (IgnoreCallers(), StartMain(status.cause or Cause.ACTIVATION, urgent=True))


def scaled_to_zero(status: Status, event: ScaleToZero, now: float, limits: Limits) -> Step | None:
    """Whoever is connected is still answered; the next caller activates it."""
    after, drain = draining(status, own(status))
    return replace(after, state=State.SCALED_TO_ZERO, reason=""), (*drain, AwaitCaller())


def replaced(status: Status, event: Replace, now: float, limits: Limits) -> Step | None:
    """Whoever is connected is still answered; who comes meanwhile waits as for an activation."""
    after, drain = draining(status, own(status))
    after = replace(after, state=State.ACTIVATING, reason="")
    return after, (*drain, StartMain(Cause.REPLACEMENT, urgent=True))


def main_started(status: Status, event: Started, now: float, limits: Limits) -> Step | None:
    return replace(status, main=event.worker, main_long=event.long), ()


def ready_by_a_shorter_way(status: Status, event: Ready, now: float, limits: Limits) -> Step | None:
    """It was distrusted while it loaded: it answers until one that goes the long way is ready."""
    if event.worker != status.main or status.main_long is status.long:
        return None
    after = replace(status, state=State.STARTING, reason="", main=None, shorter=(event.worker, *status.shorter))
    taken, actions = _taken_over(replace(after, ready=after.ready | {event.worker}))
    return taken, (NoteReady(event.worker, main=True), *actions, *start(taken))


def ready(status: Status, event: Ready, now: float, limits: Limits) -> Step | None:
    """Others that have answered in its place go only now."""
    if event.worker != status.main:
        return None
    after = replace(status, state=State.READY, since=now, reason=event.notes, ready=status.ready | {event.worker})
    after, actions = _taken_over(after)
    stop = [StopWorker(one) for one in after.shorter]
    return without(after, *after.shorter), (NoteReady(event.worker, main=True), *actions, *stop)


def failed_by_a_shorter_way(status: Status, event: NotReady, now: float, limits: Limits) -> Step | None:
    """It was distrusted while it loaded: why it failed says nothing of the way that is to be gone."""
    if event.long is status.long:
        return None
    after = without(status, event.worker)
    return after, (*forgotten(event.worker), *start(after))


def failed(status: Status, event: NotReady, now: float, limits: Limits) -> Step | None:
    delay = backoff.after(status.failures + 1, limits.first_delay, limits.longest_delay)
    after = replace(
        without(status, event.worker),
        state=State.FAILED,
        reason=event.reason,
        failures=status.failures + 1,
        retry_at=now + delay,
    )
    return after, (*forgotten(event.worker), *refusal(after, now), Delay(delay))


def ended_while_serving(status: Status, event: Exited, now: float, limits: Limits) -> Step | None:
    if event.worker != status.main:
        return None
    healthy = now - status.since >= limits.healthy
    failures = 0 if healthy else status.failures + 1
    delay = 0.0 if healthy else backoff.after(failures, limits.first_delay, limits.longest_delay)
    after = replace(
        without(status, event.worker),
        state=State.RESTARTING,
        reason=event.reason,
        failures=failures,
        retry_at=now + delay,
    )
    return after, (Forget(event.worker), Delay(delay))


def started_again(status: Status, event: DelayOver, now: float, limits: Limits) -> Step | None:
    """What never came up stays failed until it does: another try is no news."""
    state = State.RETRYING if status.state is State.FAILED else State.STARTING
    after = replace(status, state=state, restarts=status.restarts + 1)
    return after, (EndRefusal(), *start(after))


def distrusted(status: Status, event: Distrust, now: float, limits: Limits) -> Step | None:
    """Its workers answer until one that goes the long way is ready. Those that drain are stopped, as who is connected
    to them would get one more answer, whenever that is."""
    if status.long:
        return None
    stop = [StopWorker(one) for one in sorted(status.draining)]
    after = replace(
        status, long=True, cause=Cause.REPLACEMENT, draining=frozenset(), helpers=(), renewing=None, renewal=None
    )
    if status.state is not State.READY:
        return replace(after, shorter=(*status.shorter, *status.helpers)), stop
    after = replace(after, state=State.STARTING, reason="", main=None, shorter=(*own(status), *status.shorter))
    return after, (*start(after), *stop)


def previous_gone(status: Status, event: Exited, now: float, limits: Limits) -> Step | None:
    """Callers wait at this host's socket from now on, also where nobody is ready."""
    if event.worker != status.previous:
        return None
    after = without(status, event.worker)
    return after, (Publish(), Forget(event.worker), *refusal(after, now))


def left_behind(status: Status, event: LeftBehind, now: float, limits: Limits) -> Step | None:
    return dismissed(status, event.worker)


def _taken_over(status: Status) -> Step:
    """New callers come to this host's socket before the worker that an earlier one left is told to go."""
    if status.previous is None:
        return status, (Publish(),)
    after, actions = dismissed(status, status.previous)
    return after, (Publish(), *actions)
