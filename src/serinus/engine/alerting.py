"""What share of the rows that a champion has scored alerts. Only reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serinus.core.errors import SerinusError
from serinus.core.rollout import ModelState
from serinus.engine.world import World
from serinus.gates.intervals import wilson


@dataclass(frozen=True, slots=True)
class AlertRate:
    requests: int
    """That it has answered since it became champion; of the last five weeks at most."""
    rows: int
    """In these requests; at least one each."""
    alerts: int
    """Rows whose score reached the release's threshold."""

    def as_json(self) -> Mapping[str, Any]:
        """With the 95% interval of the share."""
        low, high = wilson(self.alerts, self.rows)
        return {
            "requests": self.requests,
            "rows": self.rows,
            "alerts": self.alerts,
            "rate": self.alerts / self.rows,
            "rate_low": low,
            "rate_high": high,
        }


def live_alerts(world: World, state: ModelState) -> AlertRate | None:
    """None: nothing is live, it has no threshold, or nothing was counted."""
    if state.champion is None or state.champion_threshold is None or state.since is None:
        return None
    try:
        hours = world.log.hours([state.champion.id], state.since)
    except SerinusError:
        return None
    requests = sum(hour.counts.answered for hour in hours)
    rows = sum(max(hour.counts.rows, hour.counts.answered) for hour in hours)
    return AlertRate(requests, rows, sum(hour.counts.alerts for hour in hours)) if requests else None
