"""Parts of transitions: what they have in common about the workers of a release. Pure."""

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
    """Callers wait for one that takes the place of a worker whose answers cannot be trusted."""
    return (StartMain(status.cause, urgent or bool(status.shorter)),)


def without(status: Status, *workers: int | None) -> Status:
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


def draining(status: Status, workers: Sequence[int]) -> Step:
    after = without(status, *workers)
    return replace(after, draining=after.draining | set(workers)), [Drain(one) for one in workers]


def own(status: Status) -> Sequence[int]:
    return [one for one in (status.main, *status.helpers) if one is not None]


def dismissed(status: Status, worker: int) -> Step:
    """One that an earlier host left. Where it listens on a socket of its own it takes in who waits there, and then
    goes; at once where its answers cannot be trusted."""
    if status.inherited and not status.long:
        return draining(status, [worker])
    return without(status, worker), (StopWorker(worker),)


def forgotten(worker: int | None) -> Sequence[Action]:
    return () if worker is None else (Forget(worker),)


def refusal(status: Status, now: float) -> Sequence[Action]:
    """Of a release that does not come up: better an answer at once than a wait for nothing. Not where other workers
    answer: they may listen on the same socket."""
    answered = status.helpers or status.shorter or status.standing_in is not None
    if status.state is not State.FAILED or answered:
        return ()
    return (Refuse(max(0.0, status.retry_at - now)),)
