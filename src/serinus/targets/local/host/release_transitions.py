"""The transitions of a release in the host, as a table. Of the rows for an event, the first that applies happens.

Pure: an event is given, and the status after it and the actions that follow are returned, in the order in which they
must be performed. Times are in seconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serinus.core.disturbance import Cause
from serinus.targets.local.host import further_workers, main_worker
from serinus.targets.local.host.limits import Limits
from serinus.targets.local.host.release_status import (
    DELAYED,
    LOADING,
    PLACED,
    Action,
    AwaitCaller,
    Called,
    CancelStart,
    DelayOver,
    Distrust,
    EndDelay,
    EndRefusal,
    Event,
    Exited,
    Fault,
    Halt,
    HelperNotStarted,
    HelperStarted,
    IgnoreCallers,
    LeftBehind,
    NotReady,
    Publish,
    Ready,
    Renew,
    Replace,
    ScaleTo,
    ScaleToZero,
    Started,
    StartMain,
    State,
    Status,
    Stop,
    StopWorker,
    Withdraw,
)
from serinus.targets.local.host.release_steps import Step, own, without

Change = Callable[[Status, Any, float, Limits], Step | None]
"""Returns the status and the actions after the transition. None: the transition does not apply."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A named transition on an event. It may apply in the states `sources`."""

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
    """Returns the first status of a release in this host, and its actions.

    `cause` is why its first worker is started. None: it is new. `previous` is the worker of an earlier host.
    """
    if scaled_to_zero:
        return Status(State.SCALED_TO_ZERO, now, inherited=inherited, long=long), (Publish(), AwaitCaller())
    ready = frozenset({previous}) if previous is not None and previous_ready else frozenset()
    status = Status(State.STARTING, now, previous=previous, ready=ready, inherited=inherited, long=long)
    return status, (*(() if previous is not None else (Publish(),)), StartMain(cause))


def advance(status: Status, event: Event, now: float, limits: Limits) -> tuple[str, Status, Sequence[Action]] | None:
    """Returns the name of the transition that happens, the status after it, and the actions. None: nothing happens."""
    for transition in TRANSITIONS:
        if not isinstance(event, transition.on) or status.state not in transition.sources:
            continue
        step = transition.apply(status, event, now, limits)
        if step is not None:
            after, actions = step
            return transition.name, replace(after, cause=_cause_left(after, actions)), actions
    return None


def _cause_left(status: Status, actions: Iterable[Action]) -> Cause | None:
    """Returns the cause, which only applies to the next start."""
    return None if any(isinstance(action, StartMain) for action in actions) else status.cause


def halted(status: Status, event: Halt, now: float, limits: Limits) -> Step | None:
    """Starts nothing any more."""
    after = replace(status, state=State.DRAINING)
    if status.state is State.SCALED_TO_ZERO:
        return after, (IgnoreCallers(),)
    if status.state in DELAYED:
        return after, (EndDelay(), EndRefusal())
    return after, (CancelStart(),) if status.state in LOADING else ()


def stopped(status: Status, event: Stop, now: float, limits: Limits) -> Step | None:
    """Accepts no new callers, and stops all workers, which answer connected callers within the grace period."""
    everyone = [*own(status), *status.shorter, *sorted(status.draining)]
    if status.previous is not None:
        everyone.append(status.previous)
    return without(status, *everyone), (Withdraw(), *(StopWorker(one) for one in everyone))


def faulty(status: Status, event: Fault, now: float, limits: Limits) -> Step | None:
    """Records a failure of the host itself, so that the release does not seem to be starting."""
    return replace(status, state=State.FAILED, reason=event.reason), ()


def drained(status: Status, event: Exited, now: float, limits: Limits) -> Step | None:
    """A draining worker has ended."""
    return (without(status, event.worker), ()) if event.worker in status.draining else None


READY = frozenset({State.READY})
SCALED_TO_ZERO = frozenset({State.SCALED_TO_ZERO})
DRAINING = frozenset({State.DRAINING})
ALWAYS = frozenset(State)

TRANSITIONS = (
    Transition("halted", Halt, PLACED, halted),
    Transition("stopped", Stop, DRAINING, stopped),
    Transition("faulty", Fault, PLACED, faulty),
    Transition("activated", Called, SCALED_TO_ZERO, main_worker.activated),
    Transition("scaled-to-zero", ScaleToZero, READY, main_worker.scaled_to_zero),
    Transition("replaced", Replace, READY, main_worker.replaced),
    Transition("main-started", Started, LOADING, main_worker.main_started),
    Transition("ready-by-a-shorter-way", Ready, LOADING, main_worker.ready_by_a_shorter_way),
    Transition("ready", Ready, LOADING, main_worker.ready),
    Transition("failed-by-a-shorter-way", NotReady, LOADING, main_worker.failed_by_a_shorter_way),
    Transition("failed", NotReady, LOADING, main_worker.failed),
    Transition("ended-while-serving", Exited, READY, main_worker.ended_while_serving),
    Transition("started-again", DelayOver, DELAYED, main_worker.started_again),
    Transition("distrusted", Distrust, PLACED, main_worker.distrusted),
    Transition("one-more-asked", ScaleTo, PLACED, further_workers.one_more_asked),
    Transition("fewer-asked", ScaleTo, PLACED, further_workers.fewer_asked),
    Transition("helper-started", HelperStarted, PLACED, further_workers.helper_started),
    Transition("helper-came-too-late", HelperStarted, DRAINING, further_workers.helper_came_too_late),
    Transition("helper-not-started", HelperNotStarted, ALWAYS, further_workers.helper_not_started),
    Transition("renewed", Renew, READY, further_workers.renewed),
    Transition("renewal-ready", Ready, PLACED, further_workers.renewal_ready),
    Transition("helper-ready", Ready, PLACED, further_workers.helper_ready),
    Transition("previous-gone", Exited, PLACED, main_worker.previous_gone),
    Transition("other-gone", Exited, PLACED, further_workers.other_gone),
    Transition("drained", Exited, ALWAYS, drained),
    Transition("left-behind", LeftBehind, PLACED, main_worker.left_behind),
)
