"""Parts that transitions share. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from serinus.targets.local.host.release_status import (
    Action,
    Drain,
    Forget,
    Refuse,
    StartMain,
    State,
    Status,
    StopWorker,
)

Step = tuple[Status, Sequence[Action]]
"""The status after a transition, and the actions that follow, in their order."""


def start(status: Status, urgent: bool = False) -> Sequence[Action]:
    """Starts the main worker. It is urgent where it replaces a worker whose answers cannot be trusted, because callers
    wait."""
    return (StartMain(status.cause, urgent or bool(status.shorter)),)


def without(status: Status, *workers: int | None) -> Status:
    """Removes workers from the status. Where one of two that replace each other is removed, the other one stays."""
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


def draining(status: Status, workers: Sequence[int]) -> Step:
    """Drains workers."""
    after = without(status, *workers)
    return replace(after, draining=after.draining | set(workers)), [Drain(one) for one in workers]


def own(status: Status) -> Sequence[int]:
    """Returns the workers of this host."""
    return [one for one in (status.main, *status.helpers) if one is not None]


def dismissed(status: Status, worker: int) -> Step:
    """Ends a worker of an earlier host. Where it listens on another socket, it is stopped. Otherwise it is drained, or
    stopped at once where its answers cannot be trusted."""
    if status.inherited and not status.long:
        return draining(status, [worker])
    return without(status, worker), (StopWorker(worker),)


def forgotten(worker: int | None) -> Sequence[Action]:
    """Forgets a worker, if there is one."""
    return () if worker is None else (Forget(worker),)


def refusal(status: Status, now: float) -> Sequence[Action]:
    """Refuses callers of a release that cannot start, because an immediate answer is better than waiting in vain. It
    does not where other workers answer, which may listen on the same socket."""
    answered = status.helpers or status.shorter or status.standing_in is not None
    if status.state is not State.FAILED or answered:
        return ()
    return (Refuse(max(0.0, status.retry_at - now)),)
