"""The baseline of a live release after its promotion: the rates that are tolerated, by the hour of the day.

The rates are derived from the champions of the weeks before and from the release's own canary. Pure.
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
"""Prior strengths in events. Few events of an hour are drawn towards that hour on all days, and those towards all
hours."""
KNOWN, ONCE, UNKNOWN = 1.0, 1.25, 2.0
"""The factors by which an hour of the day may deviate from what was observed, if it was observed on several days, on
one or on none."""
LEAST_EVENTS, LEAST_HOURS = 10, 3
"""The least number of events of an hour, and of such hours, that show whether events come in bursts."""
LARGEST_BURST, MINUTES = 100.0, 60
HIGHEST = 0.9
"""The highest rate that is ever tolerated. Beyond it nothing could be shown."""

NOTHING_BEFORE = "there was no former champion to compare with"
TOO_FEW = "the former champion had too few of them to compare with"
NO_ALERTS = "alerts are not compared, because the spec says so or no alert threshold is known"

Rates = tuple[float, ...]
"""One rate for each hour of the day, in UTC."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The rates that are tolerated of one release."""

    tolerated: Mapping[str, Rates]
    """The highest tolerated rate by metric, or the lowest for `fewer alerts`. Rates are per request or per answer."""
    not_watched: Mapping[str, str]
    """Why a metric is not watched, by metric."""
    bursts: Mapping[str, float] = field(default_factory=dict)
    """The number of events that count as one, because they come together, by metric."""


def events_of(arm: ArmCounts, event: str) -> int:
    """Returns the events, at most one of each entity in a minute."""
    return int(arm.first_in_window.get(event, first_in_step(arm, event)))


def trials_of(metric: Metric, arm: ArmCounts) -> int:
    """Returns the requests, or answers, of entities that had no such event before in the same minute.

    A few callers whose requests always fail therefore have little weight.
    """
    return max(int(arm.at_risk_in_window.get(metric.event, metric.trials(arm))), 0)


def together(arms: Sequence[ArmCounts]) -> ArmCounts | None:
    """Returns the sum of the totals and of the events by minute. None: there are no arms."""
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
    """Returns the baseline of a release.

    - `hours`: the counts of the champions before.
    - `champion`, `canary`: the counts of the rollout's steps, counted side by side. None: there was no canary.
    - `slow_hours`: whether the hours were counted with the latency limit by which the release is watched.
    """
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
    """Returns the ratio of variance to mean of the events in a minute, which is 1 for independent events.

    It is the median over the hours, which an occasional stall does not change.
    """
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
    """Returns the rates, or the reason why the metric is not watched."""
    limit = tolerance.budget if tolerance.budget is not None else metric.limit
    spread = _spread(metric, hours, champion)
    if spread is None:
        return (limit or 0.0,) * HOURS if metric.rare else NOTHING_BEFORE
    moved = _moved_by(metric, champion, canary)
    if metric.suspect is Role.CHAMPION:  # The metric is `fewer alerts`, whose rate must not fall.
        lowest = tuple(low * min(moved, 1.0) / tolerance.rho_ok for low in spread.low)
        return lowest if all(lowest) else TOO_FEW
    if metric.event == "alerts":  # Alerts have no limit: too many of them cost the analysts' time.
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
    """Returns the range of the rates that each hour of the day had on different days. None: nothing was counted."""
    cells: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for day in _by_hour(metric, hours):
        cells[day[0] % HOURS].append(day[1:])
    counted = [cell for of_hour in cells.values() for cell in of_hour]
    if not counted and champion is not None and trials_of(metric, champion) > 0:
        counted = [(events_of(champion, metric.event), trials_of(metric, champion))]
    events, trials = sum(k for k, _ in counted), sum(n for _, n in counted)
    if trials == 0:
        return None
    # The 95% interval of a Poisson count, for the uncertainty of the mean itself.
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
    """Returns hour, events and trials of all releases together, for hours with trials."""
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for one in hours:
        trials = trials_of(metric, one.counts)
        sums[one.hour][0] += min(events_of(one.counts, metric.event), trials)
        sums[one.hour][1] += trials
    return [(hour, events, trials) for hour, (events, trials) in sorted(sums.items()) if trials]


def _ratios(days: Sequence[tuple[int, int]], mean: float) -> list[float]:
    """Returns the rate of one hour of the day on each day, divided by the mean of all hours."""
    of_hour = _drawn(sum(k for k, _ in days), sum(n for _, n in days) * mean, STRENGTH_OF_HOUR)
    return [of_hour * _drawn(k, n * mean * of_hour, STRENGTH) for k, n in days]


def _drawn(events: float, expected: float, strength: float) -> float:
    """Returns the ratio of observed to expected events, drawn towards 1."""
    return (events + strength) / (expected + strength)


def _moved_by(metric: Metric, champion: ArmCounts | None, canary: ArmCounts | None) -> float:
    """Returns by which factor the canary had more events than the champion beside it. The judge accepted that, so it is
    tolerated later."""
    if champion is None or canary is None or trials_of(metric, champion) <= 0 or trials_of(metric, canary) <= 0:
        return 1.0
    expected = events_of(champion, metric.event) * trials_of(metric, canary) / trials_of(metric, champion)
    return _drawn(events_of(canary, metric.event), expected, STRENGTH)
