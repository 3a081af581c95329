"""What can happen to a release in the host, as a table: of the rows for an event, the first that applies happens.

Pure: an event goes in; the status after it comes out, and the actions that it asks for, in the order in which they are
to be done. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serinus.core.disturbance import Cause
from serinus.lib import backoff
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.release_status import (
    DELAYED,
    LOADING,
    PLACED,
    Action,
    AwaitCaller,
    Called,
    CancelStart,
    Delay,
    DelayOver,
    Distrust,
    Drain,
    EndDelay,
    EndRefusal,
    Event,
    Exited,
    Fault,
    Forget,
    Halt,
    HelperNotStarted,
    HelperStarted,
    IgnoreCallers,
    LeftBehind,
    NoteReady,
    NotReady,
    Publish,
    Ready,
    Refuse,
    Renew,
    Replace,
    ScaleTo,
    ScaleToZero,
    Shed,
    Started,
    StartHelper,
    StartMain,
    State,
    Status,
    Stop,
    StopWorker,
    Withdraw,
)

Step = tuple[Status, Sequence[Action]]
Change = Callable[[Status, Any, float, Limits], Step | None]


@dataclass(frozen=True, slots=True)
class Transition:
    """`apply` answers the status afterwards and what is to be done, or None where the transition does not apply."""

    name: str
    on: type[Any]
    sources: frozenset[State]
    apply: Change


def placed(
    now: float,
    *,
    scaled_to_zero: bool = False,
    previous: int | None = None,
    previous_ready: bool = False,
    inherited: bool = False,
    long: bool = False,
    cause: Cause | None = None,
) -> Step:
    """How a release begins in this host. `cause`: why its first worker is started; None: it is new. `previous`: the
    worker that an earlier host left."""
    if scaled_to_zero:
        return Status(State.SCALED_TO_ZERO, now, inherited=inherited, long=long), (Publish(), AwaitCaller())
    ready = frozenset({previous}) if previous is not None and previous_ready else frozenset()
    status = Status(State.STARTING, now, previous=previous, ready=ready, inherited=inherited, long=long)
    return status, (*(() if previous is not None else (Publish(),)), StartMain(cause))


def advance(status: Status, event: Event, now: float, limits: Limits) -> tuple[str, Status, Sequence[Action]] | None:
    """The transition that happens, by name, the status after it, and what is to be done; None: nothing happens."""
    for transition in TRANSITIONS:
        if not isinstance(event, transition.on) or status.state not in transition.sources:
            continue
        step = transition.apply(status, event, now, limits)
        if step is not None:
            after, actions = step
            return transition.name, replace(after, cause=_cause_left(after, actions)), actions
    return None


def _start(status: Status, urgent: bool = False) -> Sequence[Action]:
    """Callers wait for one that takes the place of a worker whose answers cannot be trusted."""
    return (StartMain(status.cause, urgent or bool(status.shorter)),)


def _cause_left(status: Status, actions: Iterable[Action]) -> Cause | None:
    """A cause is that of the next start alone."""
    return None if any(isinstance(action, StartMain) for action in actions) else status.cause


def _without(status: Status, *workers: int | None) -> Status:
    """They have no part any more. Where one of two that change places is gone, the other stays as it is."""
    gone = {one for one in workers if one is not None}
    renewed = status.renewing in gone or status.renewal in gone
    return replace(
        status,
        renewing=None if renewed else status.renewing,
        renewal=None if renewed else status.renewal,
        main=None if status.main in gone else status.main,
        previous=None if status.previous in gone else status.previous,
        helpers=tuple(one for one in status.helpers if one not in gone),
        shorter=tuple(one for one in status.shorter if one not in gone),
        draining=status.draining - gone,
        ready=status.ready - gone,
    )


def _drained(status: Status, workers: Sequence[int]) -> Step:
    after = _without(status, *workers)
    return replace(after, draining=after.draining | set(workers)), [Drain(one) for one in workers]


def _own(status: Status) -> Sequence[int]:
    return [one for one in (status.main, *status.helpers) if one is not None]


# --- scale to zero ----------------------------------------------------------------------------------------


def activated(status: Status, event: Called, now: float, limits: Limits) -> Step | None:
    after = replace(status, state=State.ACTIVATING)
    return after, (IgnoreCallers(), StartMain(status.cause or Cause.ACTIVATION, urgent=True))


def scaled_to_zero(status: Status, event: ScaleToZero, now: float, limits: Limits) -> Step | None:
    """Whoever is connected is still answered; the next caller activates it."""
    after, drain = _drained(status, _own(status))
    return replace(after, state=State.SCALED_TO_ZERO, reason=""), (*drain, AwaitCaller())


def replaced(status: Status, event: Replace, now: float, limits: Limits) -> Step | None:
    """Whoever is connected is still answered; who comes meanwhile waits as for an activation."""
    after, drain = _drained(status, _own(status))
    after = replace(after, state=State.ACTIVATING, reason="")
    return after, (*drain, StartMain(Cause.REPLACEMENT, urgent=True))


# --- the main worker --------------------------------------------------------------------------------------


def main_started(status: Status, event: Started, now: float, limits: Limits) -> Step | None:
    return replace(status, main=event.worker, main_long=event.long), ()


def ready_by_a_shorter_way(status: Status, event: Ready, now: float, limits: Limits) -> Step | None:
    """It was distrusted while it loaded: it answers until one that goes the long way is ready."""
    if event.worker != status.main or status.main_long is status.long:
        return None
    after = replace(status, state=State.STARTING, reason="", main=None, shorter=(event.worker, *status.shorter))
    taken, actions = _taken_over(replace(after, ready=after.ready | {event.worker}))
    return taken, (NoteReady(event.worker, main=True), *actions, *_start(taken))


def ready(status: Status, event: Ready, now: float, limits: Limits) -> Step | None:
    """Others that have answered in its place go only now."""
    if event.worker != status.main:
        return None
    after = replace(status, state=State.READY, since=now, reason=event.notes, ready=status.ready | {event.worker})
    after, actions = _taken_over(after)
    stop = [StopWorker(one) for one in after.shorter]
    return _without(after, *after.shorter), (NoteReady(event.worker, main=True), *actions, *stop)


def _taken_over(status: Status) -> Step:
    """New callers come to this host's socket before the worker that an earlier one left is told to go."""
    if status.previous is None:
        return status, (Publish(),)
    after, actions = _dismissed(status, status.previous)
    return after, (Publish(), *actions)


def _dismissed(status: Status, worker: int) -> Step:
    """One that an earlier host left. Where it listens on a socket of its own it takes in who waits there, and then
    goes; at once where its answers cannot be trusted."""
    if status.inherited and not status.long:
        return _drained(status, [worker])
    return _without(status, worker), (StopWorker(worker),)


def failed_by_a_shorter_way(status: Status, event: NotReady, now: float, limits: Limits) -> Step | None:
    """It was distrusted while it loaded: why it failed says nothing of the way that is to be gone."""
    if event.long is status.long:
        return None
    after = _without(status, event.worker)
    return after, (*_forgotten(event.worker), *_start(after))


def failed(status: Status, event: NotReady, now: float, limits: Limits) -> Step | None:
    delay = backoff.after(status.failures + 1, limits.first_delay, limits.longest_delay)
    after = replace(
        _without(status, event.worker),
        state=State.FAILED,
        reason=event.reason,
        failures=status.failures + 1,
        retry_at=now + delay,
    )
    return after, (*_forgotten(event.worker), *_refusal(after, now), Delay(delay))


def ended_while_serving(status: Status, event: Exited, now: float, limits: Limits) -> Step | None:
    if event.worker != status.main:
        return None
    healthy = now - status.since >= limits.healthy
    failures = 0 if healthy else status.failures + 1
    delay = 0.0 if healthy else backoff.after(failures, limits.first_delay, limits.longest_delay)
    after = replace(
        _without(status, event.worker),
        state=State.RESTARTING,
        reason=event.reason,
        failures=failures,
        retry_at=now + delay,
    )
    return after, (Forget(event.worker), Delay(delay))


def _forgotten(worker: int | None) -> Sequence[Action]:
    return () if worker is None else (Forget(worker),)


def _refusal(status: Status, now: float) -> Sequence[Action]:
    """Of a release that does not come up: better an answer at once than a wait for nothing. Not where other workers
    answer: they may listen on the same socket."""
    answered = status.helpers or status.shorter or status.standing_in is not None
    if status.state is not State.FAILED or answered:
        return ()
    return (Refuse(max(0.0, status.retry_at - now)),)


def started_again(status: Status, event: DelayOver, now: float, limits: Limits) -> Step | None:
    """What never came up stays failed until it does: another try is no news."""
    state = State.RETRYING if status.state is State.FAILED else State.STARTING
    after = replace(status, state=state, restarts=status.restarts + 1)
    return after, (EndRefusal(), *_start(after))


# --- distrust ---------------------------------------------------------------------------------------------


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
    after = replace(after, state=State.STARTING, reason="", main=None, shorter=(*_own(status), *status.shorter))
    return after, (*_start(after), *stop)


# --- further workers --------------------------------------------------------------------------------------


def one_more_asked(status: Status, event: ScaleTo, now: float, limits: Limits) -> Step | None:
    """One at a time: the next look decides about another."""
    if status.main is None or status.helpers_asked or 1 + len(status.helpers) >= event.workers:
        return None
    return replace(status, helpers_asked=1), (StartHelper(),)


def fewer_asked(status: Status, event: ScaleTo, now: float, limits: Limits) -> Step | None:
    surplus = status.helpers[max(event.workers - 1, 0) :]
    return _drained(status, surplus) if surplus else None


def renewed(status: Status, event: Renew, now: float, limits: Limits) -> Step | None:
    """One at a time, as a further worker: no caller waits for it, and it needs the memory of one."""
    if status.helpers_asked or status.renewing is not None or event.worker not in status.answering:
        return None
    return replace(status, helpers_asked=1, renewing=event.worker), (StartHelper(),)


def helper_started(status: Status, event: HelperStarted, now: float, limits: Limits) -> Step | None:
    """Where it is not wanted any more, it goes."""
    after = replace(status, helpers_asked=0)
    if status.main is None or event.long is not status.long:
        return _drained(replace(after, renewing=None), [event.worker])
    renewal = event.worker if status.renewing is not None and status.renewal is None else status.renewal
    return replace(after, helpers=(*status.helpers, event.worker), renewal=renewal), ()


def helper_came_too_late(status: Status, event: HelperStarted, now: float, limits: Limits) -> Step | None:
    return replace(status, helpers_asked=0), (StopWorker(event.worker),)


def helper_not_started(status: Status, event: HelperNotStarted, now: float, limits: Limits) -> Step | None:
    return replace(status, helpers_asked=0, renewing=status.renewing if status.renewal is not None else None), ()


def renewal_ready(status: Status, event: Ready, now: float, limits: Limits) -> Step | None:
    """The one in whose place it is accepts no caller any more, and has those that it has connect anew."""
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
    """Callers keep their connections, and would never come to the new one by themselves."""
    if event.worker in status.shorter:
        return replace(status, ready=status.ready | {event.worker}), (NoteReady(event.worker, main=False),)
    if event.worker not in status.helpers:
        return None
    after = replace(status, ready=status.ready | {event.worker})
    shed = [Shed(one) for one in after.answering if one != event.worker]
    return after, (NoteReady(event.worker, main=False), *shed)


# --- the ends of others -----------------------------------------------------------------------------------


def previous_gone(status: Status, event: Exited, now: float, limits: Limits) -> Step | None:
    """Callers wait at this host's socket from now on, also where nobody is ready."""
    if event.worker != status.previous:
        return None
    after = _without(status, event.worker)
    return after, (Publish(), Forget(event.worker), *_refusal(after, now))


def other_gone(status: Status, event: Exited, now: float, limits: Limits) -> Step | None:
    """Whose end is nobody's trouble: the next look decides whether it is missed."""
    if event.worker not in (*status.helpers, *status.shorter):
        return None
    after = _without(status, event.worker)
    return after, (Forget(event.worker), *_refusal(after, now))


def drained(status: Status, event: Exited, now: float, limits: Limits) -> Step | None:
    return (_without(status, event.worker), ()) if event.worker in status.draining else None


def left_behind(status: Status, event: LeftBehind, now: float, limits: Limits) -> Step | None:
    return _dismissed(status, event.worker)


# --- the end of the release -------------------------------------------------------------------------------


def halted(status: Status, event: Halt, now: float, limits: Limits) -> Step | None:
    after = replace(status, state=State.DRAINING)
    if status.state is State.SCALED_TO_ZERO:
        return after, (IgnoreCallers(),)
    if status.state in DELAYED:
        return after, (EndDelay(), EndRefusal())
    return after, (CancelStart(),) if status.state in LOADING else ()


def stopped(status: Status, event: Stop, now: float, limits: Limits) -> Step | None:
    """No new callers; those that are connected are answered, within the grace."""
    everyone = [*_own(status), *status.shorter, *sorted(status.draining)]
    if status.previous is not None:
        everyone.append(status.previous)
    return _without(status, *everyone), (Withdraw(), *(StopWorker(one) for one in everyone))


def faulty(status: Status, event: Fault, now: float, limits: Limits) -> Step | None:
    """Not to look like a release that is starting."""
    return replace(status, state=State.FAILED, reason=event.reason), ()


READY = frozenset({State.READY})
SCALED_TO_ZERO = frozenset({State.SCALED_TO_ZERO})
DRAINING = frozenset({State.DRAINING})
ALWAYS = frozenset(State)

TRANSITIONS = (
    Transition("halted", Halt, PLACED, halted),
    Transition("stopped", Stop, DRAINING, stopped),
    Transition("faulty", Fault, PLACED, faulty),
    Transition("activated", Called, SCALED_TO_ZERO, activated),
    Transition("scaled-to-zero", ScaleToZero, READY, scaled_to_zero),
    Transition("replaced", Replace, READY, replaced),
    Transition("main-started", Started, LOADING, main_started),
    Transition("ready-by-a-shorter-way", Ready, LOADING, ready_by_a_shorter_way),
    Transition("ready", Ready, LOADING, ready),
    Transition("failed-by-a-shorter-way", NotReady, LOADING, failed_by_a_shorter_way),
    Transition("failed", NotReady, LOADING, failed),
    Transition("ended-while-serving", Exited, READY, ended_while_serving),
    Transition("started-again", DelayOver, DELAYED, started_again),
    Transition("distrusted", Distrust, PLACED, distrusted),
    Transition("one-more-asked", ScaleTo, PLACED, one_more_asked),
    Transition("fewer-asked", ScaleTo, PLACED, fewer_asked),
    Transition("helper-started", HelperStarted, PLACED, helper_started),
    Transition("helper-came-too-late", HelperStarted, DRAINING, helper_came_too_late),
    Transition("helper-not-started", HelperNotStarted, ALWAYS, helper_not_started),
    Transition("renewed", Renew, READY, renewed),
    Transition("renewal-ready", Ready, PLACED, renewal_ready),
    Transition("helper-ready", Ready, PLACED, helper_ready),
    Transition("previous-gone", Exited, PLACED, previous_gone),
    Transition("other-gone", Exited, PLACED, other_gone),
    Transition("drained", Exited, ALWAYS, drained),
    Transition("left-behind", LeftBehind, PLACED, left_behind),
)
