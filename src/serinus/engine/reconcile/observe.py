"""The observations of one rollout in one tick. Ports are only read here. Long work is done by `Jobs`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from serinus.core.errors import PermanentError, TemporaryError
from serinus.core.events import Event
from serinus.core.placement import Placement
from serinus.core.rollout import Assessment, Cause, Order, Phase, Rollout
from serinus.delivery import Built, Examined, Failure, Observed, Resolved
from serinus.engine.reconcile.jobs import Jobs
from serinus.engine.steps.build import build
from serinus.engine.steps.examine import examine
from serinus.engine.steps.judging import Counted, assess, slow_limit, splits_of, without_entities
from serinus.engine.steps.resolve import resolve
from serinus.engine.world import World

log = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE = timedelta(minutes=10)
"""How long a build is tried again while a package index does not answer."""


@dataclass(frozen=True, slots=True)
class _Wait:
    phase: Phase
    since: datetime
    """The time of the first failure since the last success."""
    until: datetime
    """The time of the next attempt."""


class Observer:
    """Observes rollouts."""

    def __init__(self, world: World, jobs: Jobs) -> None:
        self._world = world
        self._jobs = jobs
        self._waits: dict[str, _Wait] = {}
        """The waiting times of work that is tried again, by rollout."""
        self._said: dict[str, set[str]] = {}
        """The lines of progress that were reported, by rollout, since each try would report them again."""
        self._orders: Mapping[str, Sequence[Order]] = {}
        self._counted: Counted | TemporaryError = {}

    def read(self, rollouts: Sequence[Rollout]) -> None:
        """Reads the counts and orders of these rollouts, for all at once. `observe` uses them until the next call.

        The engine gets news of later changes, and visits the model again.
        """
        self._orders = self._world.store.orders_of([one.id for one in rollouts])
        canaries = [one for one in rollouts if one.status.phase is Phase.CANARY]
        try:
            splits = [split for one in canaries for split in splits_of(one)]
            self._counted = self._world.log.counts_of_all(splits) if splits else {}
        except TemporaryError as error:  # Only canaries have counts.
            self._counted = error

    def forget(self, rollout: Rollout) -> None:
        """Drops what was kept for a rollout that has ended."""
        self._waits.pop(rollout.id, None)
        self._said.pop(rollout.id, None)

    def observe(self, rollout: Rollout, placements: Mapping[str, Placement] | None, *, settled: bool) -> Observed:
        """Returns the observations. `settled`: the world matches the status."""
        placement = (placements or {}).get(rollout.candidate.id) if rollout.candidate else None
        champion = (placements or {}).get(rollout.plan.champion or "") if rollout.plan else None
        phase = rollout.status.phase
        return Observed(
            resolved=self._resolved(rollout) if phase is Phase.RESOLVE else None,
            built=self._built(rollout) if phase is Phase.BUILD else None,
            placement=placement,
            champion_crashes=champion.crashes if champion else 0,
            examined=self._examined(rollout, placements) if phase is Phase.GATES else None,
            slow_ms=slow_limit(self._world, rollout) if phase in (Phase.GATES, Phase.APPROVAL) else None,
            assessment=self._assessed(rollout) if phase is Phase.CANARY else None,
            without_entities=phase is Phase.CANARY and self._without_entities(rollout),
            orders=self._orders.get(rollout.id, ()),
            settled=settled,
        )

    def trouble(self, rollout: Rollout) -> tuple[str, ...]:
        """Returns why the work of the present phase is being tried again."""
        reason = self._jobs.trouble(_key(rollout))
        return (reason,) if reason else ()

    def _resolved(self, rollout: Rollout) -> Resolved | Failure | None:
        return self._work(rollout, Cause.ARTIFACT, partial(resolve, self._world, rollout))

    def _built(self, rollout: Rollout) -> Built | Failure | None:
        return self._work(rollout, Cause.ENVIRONMENT, partial(build, self._world, rollout, partial(self._say, rollout)))

    def _examined(self, rollout: Rollout, placements: Mapping[str, Placement] | None) -> Examined | Failure | None:
        if placements is None:
            return None
        return self._work(rollout, Cause.GATE, partial(examine, self._world, rollout, placements))

    def _assessed(self, rollout: Rollout) -> Assessment | None:
        if isinstance(self._counted, TemporaryError):
            raise self._counted
        return assess(self._world, rollout, self._counted)

    def _without_entities(self, rollout: Rollout) -> bool:
        counted = self._counted
        return not isinstance(counted, TemporaryError) and without_entities(self._world, rollout, counted)

    def _work(self, rollout: Rollout, cause: Cause, work: Callable[[], T]) -> T | Failure | None:
        wait = self._waits.get(rollout.id)
        if wait is not None and self._world.clock.now() < wait.until:
            return None
        try:
            found = self._jobs.result(_key(rollout), work, rollout.status.phase.value)
        except TemporaryError as error:
            return self._wait(rollout, cause, error)
        except PermanentError as error:
            return Failure(cause, str(error))
        except (
            Exception
        ) as error:  # A defect of Serinus ends this rollout and not the engine. The traceback is in the log.
            log.exception("%s: %s failed", rollout.id, rollout.status.phase.value)
            return Failure(
                cause, f"{rollout.status.phase.value} failed inside Serinus ({type(error).__name__}); see logs"
            )
        if found is not None:
            self._waits.pop(rollout.id, None)
        return found

    def _wait(self, rollout: Rollout, cause: Cause, error: TemporaryError) -> Failure | None:
        """Schedules another attempt after the error's delay. Returns a failure where a build has been tried for too
        long."""
        now = self._world.clock.now()
        phase = rollout.status.phase
        wait = self._waits.get(rollout.id)
        since = wait.since if wait is not None and wait.phase is phase else now
        if phase is Phase.BUILD and now - since >= PATIENCE:
            return Failure(cause, f"{error} It was tried again for {PATIENCE.total_seconds() / 60:.0f} minutes.")
        self._waits[rollout.id] = _Wait(phase, since, now + timedelta(seconds=error.delay))
        if phase is Phase.BUILD:
            end = since + PATIENCE
            self._say(rollout, f"{error} It is tried again until {end:%H:%M} UTC; then the rollout is aborted.")
        return None

    def _say(self, rollout: Rollout, line: str) -> None:
        said = self._said.setdefault(rollout.id, set())
        if line not in said:
            said.add(line)
            self._world.store.emit([Event(self._world.clock.now(), rollout.model, rollout.id, "progress", line)])


def _key(rollout: Rollout) -> str:
    candidate = rollout.candidate.id if rollout.candidate else ""
    return f"{rollout.id}/{rollout.status.phase.value}/{candidate}"
