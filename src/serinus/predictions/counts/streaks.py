"""The number of requests that each release has failed since its last answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from serinus.predictions.counts.facts import Facts


class Streak(NamedTuple):
    """A streak of failures. Times are in Unix seconds. None: never. A caller's mistake is neither a failure nor an
    answer."""

    failing: int = 0
    """Requests that failed after the last one that was answered."""
    answered_at: float | None = None
    failed_at: float | None = None

    def followed_by(self, later: Streak) -> Streak:
        """Returns the streak of two stretches of the log, of which `later` comes second."""
        return Streak(
            failing=later.failing if later.answered_at is not None else self.failing + later.failing,
            answered_at=_latest(self.answered_at, later.answered_at),
            failed_at=_latest(self.failed_at, later.failed_at),
        )


def streaks(facts: Facts, now: float) -> Iterator[tuple[tuple[str, str], Streak]]:
    """Yields the streak of each (model, release) in a stretch of the log. `now` limits the times that records may
    claim."""
    time = np.minimum(facts.time, now)
    arms = {(arm.model, arm.release) for arm in facts.arms if arm.release}
    for model, release in sorted(arms):
        mine = facts.of_arms([(arm.model, arm.release) == (model, release) for arm in facts.arms])
        answered, failed = time[mine & ~facts.fault & ~facts.errors], time[mine & facts.errors]
        last = float(answered.max()) if answered.size else None
        failing = int(failed.size if last is None else (failed > last).sum())
        if answered.size or failed.size:
            yield (model, release), Streak(failing, last, float(failed.max()) if failed.size else None)


def _latest(one: float | None, other: float | None) -> float | None:
    return max((at for at in (one, other) if at is not None), default=None)
