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
    """Starts a worker, because a caller has arrived."""
    after = replace(status, state=State.ACTIVATING)
    return after, (IgnoreCallers(), StartMain(status.cause or Cause.ACTIVATION, urgent=True))


def scaled_to_zero(status: Status, event: ScaleToZero, now: float, limits: Limits) -> Step | None:
    """Drains all workers. Connected callers are answered, and the next caller activates the release."""
    after, drain = draining(status, own(status))
    return replace(after, state=State.SCALED_TO_ZERO, reason=""), (*drain, AwaitCaller())


def replaced(status: Status, event: Replace, now: float, limits: Limits) -> Step | None:
    """Drains all workers and starts another one. New callers wait as for an activation."""
    after, drain = draining(status, own(status))
    after = replace(after, state=State.ACTIVATING, reason="")
    return after, (*drain, StartMain(Cause.REPLACEMENT, urgent=True))


def main_started(status: Status, event: Started, now: float, limits: Limits) -> Step | None:
    """Records the process of the main worker."""
    return replace(status, main=event.worker, main_long=event.long), ()


def ready_by_a_shorter_way(status: Status, event: Ready, now: float, limits: Limits) -> Step | None:
    """The release was distrusted while the worker loaded. It answers until one with the model's own `predict` is
    ready."""
    if event.worker != status.main or status.main_long is status.long:
        return None
    after = replace(status, state=State.STARTING, reason="", main=None, shorter=(event.worker, *status.shorter))
    taken, actions = _taken_over(replace(after, ready=after.ready | {event.worker}))
    return taken, (NoteReady(event.worker, main=True), *actions, *start(taken))


def ready(status: Status, event: Ready, now: float, limits: Limits) -> Step | None:
    """The main worker is ready. Workers that have answered in its place are ended now."""
    if event.worker != status.main:
        return None
    after = replace(status, state=State.READY, since=now, reason=event.notes, ready=status.ready | {event.worker})
    after, actions = _taken_over(after)
    stop = [StopWorker(one) for one in after.shorter]
    return without(after, *after.shorter), (NoteReady(event.worker, main=True), *actions, *stop)


def failed_by_a_shorter_way(status: Status, event: NotReady, now: float, limits: Limits) -> Step | None:
    """The release was distrusted while the worker loaded. Its failure says nothing about the model's own `predict`."""
    if event.long is status.long:
        return None
    after = without(status, event.worker)
    return after, (*forgotten(event.worker), *start(after))


def failed(status: Status, event: NotReady, now: float, limits: Limits) -> Step | None:
    """The main worker did not become ready. It is started again after a delay."""
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
    """The main worker ended while it served. It is started again, at once where it was ready for long."""
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
    """Starts the main worker again. A release that never was ready stays failed until it is."""
    state = State.RETRYING if status.state is State.FAILED else State.STARTING
    after = replace(status, state=state, restarts=status.restarts + 1)
    return after, (EndRefusal(), *start(after))


def distrusted(status: Status, event: Distrust, now: float, limits: Limits) -> Step | None:
    """The present workers answer until one with the model's own `predict` is ready. Draining workers are stopped,
    because they could still answer connected callers."""
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
    """The worker of an earlier host has ended. Callers wait at this host's socket from now on."""
    if event.worker != status.previous:
        return None
    after = without(status, event.worker)
    return after, (Publish(), Forget(event.worker), *refusal(after, now))


def left_behind(status: Status, event: LeftBehind, now: float, limits: Limits) -> Step | None:
    """Ends another worker of an earlier host."""
    return dismissed(status, event.worker)


def _taken_over(status: Status) -> Step:
    """Publishes this host's socket before the worker of an earlier host is ended."""
    if status.previous is None:
        return status, (Publish(),)
    after, actions = dismissed(status, status.previous)
    return after, (Publish(), *actions)
