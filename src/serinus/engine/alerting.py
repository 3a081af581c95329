"""The share of a champion's scored rows that alert. Only reads."""

from __future__ import annotations

from serinus.core.errors import SerinusError
from serinus.core.rollout import ModelState
from serinus.engine.world import World
from serinus.gates.intervals import wilson
from serinus.resources import AlertRate


def live_alerts(world: World, state: ModelState) -> AlertRate | None:
    """Returns the alert rate. None: no release is live, it has no threshold, or nothing was counted."""
    if state.champion is None or state.champion_threshold is None or state.since is None:
        return None
    try:
        hours = world.log.hours([state.champion.id], state.since)
    except SerinusError:
        return None
    requests = sum(hour.counts.answered for hour in hours)
    if not requests:
        return None
    rows = sum(max(hour.counts.rows, hour.counts.answered) for hour in hours)
    alerts = sum(hour.counts.alerts for hour in hours)
    low, high = wilson(alerts, rows)
    return AlertRate(requests=requests, rows=rows, alerts=alerts, rate=alerts / rows, rate_low=low, rate_high=high)
