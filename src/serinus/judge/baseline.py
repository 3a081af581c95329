"""What a live release is compared with after its promotion: the rates that are tolerated, by the hour of the day.

The rates are those of the champions before it, in the weeks before, and of its own canary. Pure.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from serinus.core.evidence import ArmCounts, HourCounts
from serinus.core.rollout import Policy, Tolerance
from serinus.core.routing import Role
from serinus.judge.evidence import first_in_step
from serinus.judge.metrics import METRICS, Metric, tolerance_of

HOURS = 24
STRENGTH, STRENGTH_OF_HOUR = 20.0, 5.0
"""Events by which what one hour showed is drawn towards that hour on all days, and that towards all hours: few events
say little."""
KNOWN, ONCE, UNKNOWN = 1.0, 1.25, 2.0
"""Times by which an hour of the day may differ from what was seen of it: on several days, on one, on none."""
LEAST_EVENTS, LEAST_HOURS = 10, 3
"""Events of an hour, and such hours, that tell whether events come in bursts."""
LARGEST_BURST, MINUTES = 100.0, 60
HIGHEST = 0.9
"""A rate that is tolerated is at most this: beyond it nothing could be shown."""

NOTHING_BEFORE = "there was no former champion to compare with"
TOO_FEW = "the former champion had too few of them to compare with"
NO_ALERTS = "alerts are not compared, because the spec says so or no alert threshold is known"

Rates = tuple[float, ...]
"""One an hour of the day, UTC."""


@dataclass(frozen=True, slots=True)
class Baseline:
    tolerated: Mapping[str, Rates]
    """Metric -> the highest tolerated rate; of fewer alerts the lowest one. Rates are of requests, or of answers."""
    not_watched: Mapping[str, str]
    """Metric -> why not."""
    bursts: Mapping[str, float] = field(default_factory=dict)
    """Metric -> events that come together: so many count for one."""


def events_of(arm: ArmCounts, event: str) -> int:
    """One of each entity a minute, so that what happens to one card is one event."""
    return int(arm.first_in_window.get(event, first_in_step(arm, event)))


def trials_of(metric: Metric, arm: ArmCounts) -> int:
    """Requests, or answers, of those to whom the event had not happened yet in the same minute: so that a few callers
    who always fail look like what they are."""
    return max(int(arm.at_risk_in_window.get(metric.event, metric.trials(arm))), 0)


def together(arms: Sequence[ArmCounts]) -> ArmCounts | None:
    """The sum of the totals and of the events a minute; None of none."""
    if not arms:
        return None
    names = [one.name for one in fields(ArmCounts) if one.type == "int"]
    totals = {name: sum(getattr(arm, name) for arm in arms) for name in names}
    events = {metric.event for metric in METRICS}
    windows = {event: sum(events_of(arm, event) for arm in arms) for event in events}
    at_risk = {metric.event: sum(trials_of(metric, arm) for arm in arms) for metric in METRICS}
    return ArmCounts(arms[0].release, **totals, first_in_window=windows, at_risk_in_window=at_risk)


def baseline(
    policy: Policy,
    hours: Sequence[HourCounts],
    champion: ArmCounts | None,
    canary: ArmCounts | None,
    *,
    slow_hours: bool = True,
) -> Baseline:
    """`hours`: of the champions before. `champion`, `canary`: of the rollout's steps, counted side by side; None: there
    was no canary. `slow_hours`: whether the hours were counted by the limit that the release is watched by."""
    tolerated: dict[str, Rates] = {}
    not_watched: dict[str, str] = {}
    bursts: dict[str, float] = {}
    for metric in METRICS:
        tolerance = tolerance_of(metric, policy)
        if tolerance is None:
            not_watched[metric.name] = NO_ALERTS
            continue
        known = hours if slow_hours or metric.event != "slow" else ()
        rates = _tolerated(metric, tolerance, known, champion, canary)
        if isinstance(rates, str):
            not_watched[metric.name] = rates
        else:
            tolerated[metric.name] = rates
            bursts[metric.name] = _burst(metric.event, known)
    return Baseline(tolerated, not_watched, bursts)


def _burst(event: str, hours: Sequence[HourCounts]) -> float:
    """Variance to mean of the events of a minute, which is 1 where they come one by one: the median of the hours, which
    a stall once in a while does not change."""
    found = []
    for one in hours:
        events = events_of(one.counts, event)
        if event in one.squares and events >= LEAST_EVENTS:
            found.append((one.squares[event] - events * events / MINUTES) / events)
    return min(max(statistics.median(found), 1.0), LARGEST_BURST) if len(found) >= LEAST_HOURS else 1.0


def _tolerated(
    metric: Metric,
    tolerance: Tolerance,
    hours: Sequence[HourCounts],
    champion: ArmCounts | None,
    canary: ArmCounts | None,
) -> Rates | str:
    """The rates, or why the metric is not watched."""
    limit = tolerance.budget if tolerance.budget is not None else metric.limit
    spread = _spread(metric, hours, champion)
    if spread is None:
        return (limit or 0.0,) * HOURS if metric.rare else NOTHING_BEFORE
    moved = _moved_by(metric, champion, canary)
    if metric.suspect is Role.CHAMPION:  # fewer of them
        lowest = tuple(low * min(moved, 1.0) / tolerance.rho_ok for low in spread.low)
        return lowest if all(lowest) else TOO_FEW
    if metric.event == "alerts":  # without a limit: what many alerts cost is the reader's work
        if spread.events == 0:
            return TOO_FEW
        limit = 0.0
    return tuple(min(max(tolerance.rho_ok * high * max(moved, 1.0), limit or 0.0), HIGHEST) for high in spread.high)


@dataclass(frozen=True, slots=True)
class _Spread:
    events: int
    low: Rates
    high: Rates


def _spread(metric: Metric, hours: Sequence[HourCounts], champion: ArmCounts | None) -> _Spread | None:
    """Between which rates each hour of the day was, on one day or another; None: nothing was counted."""
    cells: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for day in _by_hour(metric, hours):
        cells[day[0] % HOURS].append(day[1:])
    counted = [cell for of_hour in cells.values() for cell in of_hour]
    if not counted and champion is not None and trials_of(metric, champion) > 0:
        counted = [(events_of(champion, metric.event), trials_of(metric, champion))]
    events, trials = sum(k for k, _ in counted), sum(n for _, n in counted)
    if trials == 0:
        return None
    # 95 % of a Poisson count: what is known of the mean itself.
    above = (events + 2.0 * math.sqrt(events) + 3.0) / trials
    below = max(events - 2.0 * math.sqrt(events), 0.0) / trials
    if events == 0:
        return _Spread(0, (0.0,) * HOURS, (above,) * HOURS)
    mean = events / trials
    ratios = {hour: _ratios(of_hour, mean) for hour, of_hour in cells.items()}
    every = [ratio for of_hour in ratios.values() for ratio in of_hour] or [1.0]
    low, high = [], []
    for hour in range(HOURS):
        around = [ratios.get((hour + shift) % HOURS, []) for shift in (-1, 0, 1)]
        days = max(map(len, around))
        near = [ratio for of_hour in around for ratio in of_hour] or every
        wide = (UNKNOWN, ONCE, KNOWN)[min(days, 2)]
        low.append(below * min(near) / wide)
        high.append(above * max(near) * wide)
    return _Spread(events, tuple(low), tuple(high))


def _by_hour(metric: Metric, hours: Sequence[HourCounts]) -> list[tuple[int, int, int]]:
    """Hour, events and trials of all releases together, where there were trials."""
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for one in hours:
        trials = trials_of(metric, one.counts)
        sums[one.hour][0] += min(events_of(one.counts, metric.event), trials)
        sums[one.hour][1] += trials
    return [(hour, events, trials) for hour, (events, trials) in sorted(sums.items()) if trials]


def _ratios(days: Sequence[tuple[int, int]], mean: float) -> list[float]:
    """Of one hour of the day: its rate on each day to the mean of all hours."""
    of_hour = _drawn(sum(k for k, _ in days), sum(n for _, n in days) * mean, STRENGTH_OF_HOUR)
    return [of_hour * _drawn(k, n * mean * of_hour, STRENGTH) for k, n in days]


def _drawn(events: float, expected: float, strength: float) -> float:
    """Of what was seen to what was expected, drawn towards 1."""
    return (events + strength) / (expected + strength)


def _moved_by(metric: Metric, champion: ArmCounts | None, canary: ArmCounts | None) -> float:
    """Times by which the canary had more than the champion beside it: what was let through then is tolerated later."""
    if champion is None or canary is None or trials_of(metric, champion) <= 0 or trials_of(metric, canary) <= 0:
        return 1.0
    expected = events_of(champion, metric.event) * trials_of(metric, canary) / trials_of(metric, champion)
    return _drawn(events_of(canary, metric.event), expected, STRENGTH)
