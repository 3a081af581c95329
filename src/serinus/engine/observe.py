"""What the engine sees of one rollout in one tick. Ports are only read here; long work is asked of `Jobs`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from serinus.core.errors import PermanentError, TemporaryError
from serinus.core.rollout import Assessment, Cause, Phase, Rollout
from serinus.core.values import Placement
from serinus.delivery import Built, Examined, Failure, Observed, Resolved
from serinus.engine.build import build
from serinus.engine.examine import examine
from serinus.engine.jobs import Jobs
from serinus.engine.judging import assess, slow_limit
from serinus.engine.resolve import resolve
from serinus.engine.world import World

log = logging.getLogger(__name__)
T = TypeVar("T")


class Observer:
    def __init__(self, world: World, jobs: Jobs) -> None:
        self._world = world
        self._jobs = jobs

    def observe(self, rollout: Rollout, placements: Mapping[str, Placement] | None, *, settled: bool) -> Observed:
        placement = (placements or {}).get(rollout.candidate.id) if rollout.candidate else None
        phase = rollout.status.phase
        return Observed(
            resolved=self._resolved(rollout) if phase is Phase.RESOLVE else None,
            built=self._built(rollout) if phase is Phase.BUILD else None,
            placement=placement,
            examined=self._examined(rollout, placements) if phase is Phase.GATES else None,
            slow_ms=slow_limit(self._world, rollout) if phase in (Phase.GATES, Phase.APPROVAL) else None,
            assessment=self._assessed(rollout) if phase is Phase.CANARY else None,
            orders=self._world.store.orders(rollout.id),
            settled=settled,
        )

    def trouble(self, rollout: Rollout) -> tuple[str, ...]:
        """Why the present phase's work is being tried again."""
        reason = self._jobs.trouble(_key(rollout))
        return (reason,) if reason else ()

    def _resolved(self, rollout: Rollout) -> Resolved | Failure | None:
        return self._work(rollout, Cause.ARTIFACT, partial(resolve, self._world, rollout))

    def _built(self, rollout: Rollout) -> Built | Failure | None:
        return self._work(rollout, Cause.ENVIRONMENT, partial(build, self._world, rollout))

    def _examined(self, rollout: Rollout, placements: Mapping[str, Placement] | None) -> Examined | Failure | None:
        if placements is None:
            return None
        return self._work(rollout, Cause.GATE, partial(examine, self._world, rollout, placements))

    def _assessed(self, rollout: Rollout) -> Assessment | None:
        return assess(self._world, rollout)

    def _work(self, rollout: Rollout, cause: Cause, work: Callable[[], T]) -> T | Failure | None:
        try:
            return self._jobs.result(_key(rollout), work)
        except TemporaryError:
            return None  # tried again at the next tick; `trouble` has the reason
        except PermanentError as error:
            return Failure(cause, str(error))
        except Exception as error:  # a fault of ours ends this rollout, with its trace in the log, not the engine
            log.exception("%s: %s failed", rollout.id, rollout.status.phase.value)
            return Failure(
                cause, f"{rollout.status.phase.value} failed inside Serinus ({type(error).__name__}); see logs"
            )


def _key(rollout: Rollout) -> str:
    candidate = rollout.candidate.id if rollout.candidate else ""
    return f"{rollout.id}/{rollout.status.phase.value}/{candidate}"
