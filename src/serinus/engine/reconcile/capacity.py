"""Has the target make releases large enough for the load that is coming, before the traffic is divided anew."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from serinus.core.errors import SerinusError
from serinus.core.evidence import Traffic
from serinus.core.placement import Placement
from serinus.core.rollout import Kind, ModelState, Rollout
from serinus.delivery import Load, Observed, coming_weight, expected_workers, held_back, is_kept_large, missing_workers
from serinus.engine.world import World

WINDOW_SECONDS = 60.0
"""The period over which requests are measured, beside the minute that has begun."""
MEASURED_EVERY = timedelta(seconds=5)
LEAST_REQUESTS = 100
"""Requests to a model in that period. With fewer, the smallest number of workers suffices."""


class Capacity:
    """Tells the target which number of workers is expected of each release. It caches only what was measured
    recently."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._traffic: Mapping[str, Mapping[str, Traffic]] = {}
        self._measured: datetime | None = None

    def prepare(
        self, state: ModelState, rollout: Rollout, seen: Observed, placements: Mapping[str, Placement] | None
    ) -> Observed:
        """Prepares the releases of a rollout for the traffic that they get next. Returns `seen` with what a worker
        carries, and with why the candidate gets no more traffic yet.

        Where the load is unknown nothing is expected, and nothing waits. Nothing waits for the target to take it
        either: it is told again.
        """
        coming = coming_weight(rollout, seen)
        if not coming or placements is None:
            return seen
        seen = replace(seen, too_small=held_back(rollout, coming, placements))
        load = self._load(rollout, placements)
        if load is None:
            return seen
        for release, workers in expected_workers(state, rollout, coming, load).items():
            with suppress(SerinusError):
                self._expect(placements.get(release), workers)
        missing = seen.too_small or missing_workers(rollout, coming, load, placements)
        return replace(seen, carried=load.per_worker, too_small=missing)

    def settle(self, state: ModelState, placements: Mapping[str, Placement] | None) -> None:
        """Leaves the releases of a model without a rollout in flight to the autoscaler, some time after the last
        rollout."""
        releases = [one.id for one in (state.champion, state.previous) if one is not None]
        large = [one for one in releases if placements and one in placements and placements[one].expected]
        if not large:
            return
        last = next(iter(self._world.store.rollouts(state.model, limit=1)), None)
        if not is_kept_large(last, self._world.clock.now()):
            for release in large:
                with suppress(SerinusError):
                    self._world.target.expect(release, 0)

    def _expect(self, placed: Placement | None, workers: int) -> None:
        """Tells a higher number alone. The number would otherwise change with every measurement of the load."""
        if placed is not None and workers > placed.expected:
            self._world.target.expect(placed.release, workers)

    def _load(self, rollout: Rollout, placements: Mapping[str, Placement]) -> Load | None:
        """Returns the load of the model. None: there is no champion, or there are too few requests to tell."""
        plan, found = rollout.plan, self._measure().get(rollout.model, {})
        champion = placements.get(plan.champion or "") if plan else None
        if plan is None or champion is None or sum(one.requests for one in found.values()) < LEAST_REQUESTS:
            return None
        now = _rate(found.get(champion.release)) / champion.workers if champion.workers else 0.0
        # While a part of the traffic goes to the candidate, the champion's workers carry less than they can.
        carried = self._carried_before(rollout) or max(now, plan.carried or 0.0)
        return Load(sum(_rate(one) for one in found.values()), carried) if carried else None

    def _carried_before(self, rollout: Rollout) -> float | None:
        """Returns the requests a second that a worker carried of the release that `rollout` goes back to, when that
        was champion. None: unknown, or it is no rollback."""
        if rollout.kind is not Kind.ROLLBACK or rollout.candidate is None:
            return None
        for one in self._world.store.rollouts(rollout.model, promoted=True):
            if one.plan is not None and one.plan.champion == rollout.candidate.id:
                return one.plan.carried
        return None

    def _measure(self) -> Mapping[str, Mapping[str, Traffic]]:
        """Returns the traffic by model and release. Empty where the prediction log does not answer."""
        now = self._world.clock.now()
        if self._measured is None or now - self._measured >= MEASURED_EVERY:
            self._measured = now
            try:
                self._traffic = self._world.log.traffic_of_all(WINDOW_SECONDS)
            except SerinusError:
                self._traffic = {}
        return self._traffic


def _rate(traffic: Traffic | None) -> float:
    return traffic.requests / traffic.seconds if traffic is not None and traffic.seconds else 0.0
