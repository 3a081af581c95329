"""Transitions of the workers beside the main one: helpers, and renewals by which workers get another scale. Pure."""

from __future__ import annotations

from dataclasses import replace

from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.release_status import (
    Drain,
    Exited,
    Forget,
    HelperNotStarted,
    HelperStarted,
    NoteReady,
    Ready,
    Renew,
    ScaleTo,
    Shed,
    StartHelper,
    Status,
    StopWorker,
)
from serinus.targets.local.host.release_steps import Step, draining, refusal, without


def one_more_asked(status: Status, event: ScaleTo, now: float, limits: Limits) -> Step | None:
    """Starts a helper. The next measurement decides about another one."""
    if status.main is None or status.helpers_asked or 1 + len(status.helpers) >= event.workers:
        return None
    return replace(status, helpers_asked=1), (StartHelper(),)


def fewer_asked(status: Status, event: ScaleTo, now: float, limits: Limits) -> Step | None:
    """Drains surplus helpers."""
    surplus = status.helpers[max(event.workers - 1, 0) :]
    return draining(status, surplus) if surplus else None


def renewed(status: Status, event: Renew, now: float, limits: Limits) -> Step | None:
    """Starts the replacement of a worker as a helper, one at a time: no caller waits for it, and it takes the memory of
    one worker."""
    if status.helpers_asked or status.renewing is not None or event.worker not in status.answering:
        return None
    return replace(status, helpers_asked=1, renewing=event.worker), (StartHelper(),)


def helper_started(status: Status, event: HelperStarted, now: float, limits: Limits) -> Step | None:
    """Records the process of a helper. It is drained where it is not needed any more."""
    after = replace(status, helpers_asked=0)
    if status.main is None or event.long is not status.long:
        return draining(replace(after, renewing=None), [event.worker])
    renewal = event.worker if status.renewing is not None and status.renewal is None else status.renewal
    return replace(after, helpers=(*status.helpers, event.worker), renewal=renewal), ()


def helper_came_too_late(status: Status, event: HelperStarted, now: float, limits: Limits) -> Step | None:
    """Stops a helper that was started after the release began to end."""
    return replace(status, helpers_asked=0), (StopWorker(event.worker),)


def helper_not_started(status: Status, event: HelperNotStarted, now: float, limits: Limits) -> Step | None:
    """Records that a helper could not be started."""
    return replace(status, helpers_asked=0, renewing=status.renewing if status.renewal is not None else None), ()


def renewal_ready(status: Status, event: Ready, now: float, limits: Limits) -> Step | None:
    """The replacement is ready. The former worker accepts no more callers, and has connected ones connect again."""
    old = status.renewing
    if old is None or event.worker != status.renewal:
        return None
    after = replace(status, ready=status.ready | {event.worker}, renewing=None, renewal=None)
    if main := old == status.main:
        helpers = tuple(one for one in status.helpers if one != event.worker)
        after = replace(
            after, main=event.worker, main_long=status.long, helpers=helpers, since=now, reason=event.notes, failures=0
        )
    after = replace(after, helpers=tuple(one for one in after.helpers if one != old), ready=after.ready - {old})
    return replace(after, draining=after.draining | {old}), (NoteReady(event.worker, main=main), Drain(old))


def helper_ready(status: Status, event: Ready, now: float, limits: Limits) -> Step | None:
    """The helper is ready. Other workers give up some callers, who keep their connections and would never reach it
    otherwise."""
    if event.worker in status.shorter:
        return replace(status, ready=status.ready | {event.worker}), (NoteReady(event.worker, main=False),)
    if event.worker not in status.helpers:
        return None
    after = replace(status, ready=status.ready | {event.worker})
    shed = [Shed(one) for one in after.answering if one != event.worker]
    return after, (NoteReady(event.worker, main=False), *shed)


def other_gone(status: Status, event: Exited, now: float, limits: Limits) -> Step | None:
    """A helper has ended. The next measurement decides whether it is replaced."""
    if event.worker not in (*status.helpers, *status.shorter):
        return None
    after = without(status, event.worker)
    return after, (Forget(event.worker), *refusal(after, now))
