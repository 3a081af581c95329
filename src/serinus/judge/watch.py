"""The watch after promotion: whether a live release does worse than is tolerated. Pure.

Each metric has an e-CUSUM (Shin, Ramdas, Rinaldo, *E-detectors: a nonparametric framework for sequential change
detection*, arXiv 2203.03532): M = L max(M, w), where L is the likelihood ratio of the news and w the stake of a new
start. In the paper every start has the stake 1, and an alarm at M >= c comes after c starts or later, on average. Here
a start has the stake that the time since the one before has earned, `FALSE_ALARMS` a year, and an alarm is at M >= 1.
The sum over all starts is an e-detector whose compensator is the sum of the stakes. By Lenglart's inequality the
probability of a false alarm within some time is therefore at most `FALSE_ALARMS` times that time in years, whatever the
number of requests.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from serinus.core.evidence import ArmCounts
from serinus.core.routing import Role
from serinus.judge.baseline import HOURS, Baseline, events_of, trials_of
from serinus.judge.metrics import METRICS, Metric
from serinus.judge.mixture import MULTIPLIERS, log_sum_exp
from serinus.judge.wording import duration

FALSE_ALARMS = 0.01
"""The false alarms per year and metric, at the highest rate that is tolerated."""
LOOK_SECONDS = 10.0
"""The time between two looks."""
MOST_A_LOOK = math.log(100.0)
"""The largest gain of one look. An incident that is over within half a minute is not a degradation."""
START_SECONDS, START_EVENTS = 60.0, 1.0
"""The time after which there is another start, and the expected events that are needed for it at the tolerated rate."""
FIRST_STAKE_SECONDS = 3_600.0
"""The time of watching that the first start gets as its stake."""
YEAR = 365.0 * 86_400.0
TOLD_AGAIN_SECONDS = 3_600.0
"""The time after which trouble of all models is reported again."""

LEAST_EVENTS, LEAST_TRIALS = 3, 3
"""The least number of events within a minute by which another model is in trouble or could be."""
MUCH = 3.0
"""The factor over its usual rate from which on a model is in trouble."""
_LOG_WEIGHT = -math.log(len(MULTIPLIERS))
_WATCHED: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}


def _stake(seconds: float) -> float:
    return math.log(FALSE_ALARMS * seconds / YEAR)


@dataclass(frozen=True, slots=True)
class Cusum:
    """An e-CUSUM of one metric."""

    logs: tuple[float, ...] = (_stake(FIRST_STAKE_SECONDS),) * len(MULTIPLIERS)
    """The logarithm of the largest capital over all starts, for each alternative."""
    waited: float = 0.0
    """Seconds since the last start."""
    expected: float = 0.0
    """Expected events since the last start, at the tolerated rate."""
    events: int = 0
    trials: int = 0
    seconds: float = 0.0
    """Events, trials and seconds since there was last no evidence of a degradation. An alarm reports them."""

    @property
    def log_value(self) -> float:
        """The logarithm of the evidence."""
        return log_sum_exp(self.logs) + _LOG_WEIGHT

    def after(self, null: float, fewer: bool, events: int, trials: int, seconds: float, burst: float = 1.0) -> Cusum:
        """Returns the state after a look.

        `null` is the rate that is tolerated. The `seconds` since the last look determine the stake of a new start, so
        that it is fixed before the news. `burst` is the number of events that count as one.
        """
        logs, waited, expected = self.logs, self.waited, self.expected
        stake = -math.inf
        if waited >= START_SECONDS and expected >= START_EVENTS:
            stake = _stake(waited)
            waited = expected = 0.0
        began = max(logs) <= max(stake, _stake(FIRST_STAKE_SECONDS))
        gains = _gains(null, fewer, events / burst, trials / burst)
        logs = tuple(max(log, stake) + min(gain, MOST_A_LOOK) for log, gain in zip(logs, gains, strict=True))
        return Cusum(
            logs,
            waited + seconds,
            expected + trials * null / burst,
            events if began else self.events + events,
            trials if began else self.trials + trials,
            seconds if began else self.seconds + seconds,
        )


def _gains(null: float, fewer: bool, events: float, trials: float) -> tuple[float, ...]:
    alternatives = (null / m if fewer else min(null * m, 0.999) for m in MULTIPLIERS)
    return tuple(
        events * math.log(p / null) + (trials - events) * math.log1p((null - p) / (1.0 - null)) for p in alternatives
    )


@dataclass(frozen=True, slots=True)
class Memory:
    """The state of one metric."""

    own: Cusum = field(default_factory=Cusum)
    everywhere: Cusum = field(default_factory=Cusum)
    """The state by the looks at which the other models had the same trouble."""


@dataclass(frozen=True, slots=True)
class Watching:
    """The watch of one release. It is stored whole, as JSON, and its size is bounded."""

    release: str
    rollout: str
    """The rollout by which it became the champion."""
    began: float
    """Unix seconds, like all times in this class."""
    until: float
    acts: bool
    """Whether the release is rolled back if it degrades. Otherwise that is reported."""
    why_told: str
    """Why it is only reported. Empty: it is rolled back."""
    slow_ms: float
    baseline: Baseline
    at: float
    """The time of the last look that was taken."""
    taken: ArmCounts | None = None
    """The counts of that look."""
    metrics: Mapping[str, Memory] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    """What was reported, by metric."""
    told_everywhere_at: float = 0.0
    decided: str = ""
    """Why the release is to be rolled back. It is stored before the rollback begins."""
    outcome: str = ""
    """The result of the rollback, in words."""

    @property
    def over(self) -> bool:
        """Whether the watch has ended."""
        return bool(self.outcome)


@dataclass(frozen=True, slots=True)
class Finding:
    """A degradation in one metric."""

    metric: str
    everywhere: bool
    text: str


def look(
    watching: Watching, now: ArmCounts, at: float, everywhere: Collection[str] = ()
) -> tuple[Watching, tuple[Finding, ...]]:
    """Returns the watch after a look, and what was found.

    `now` are the counts of the release since it was first followed. `at` is in Unix seconds. `everywhere` are the
    metrics in which the other models are in trouble at the same time.
    """
    new = None if watching.taken is None else since(now, watching.taken)
    if new is None or new.requests == 0:
        return (watching if new is not None else replace(watching, taken=now, at=at)), ()
    seconds = max(at - watching.at, 0.0)
    hour = int(at // 3600) % HOURS
    metrics, findings = dict(watching.metrics), []
    for name, rates in watching.baseline.tolerated.items():
        metric = _WATCHED.get(name)
        if metric is None or (trials := trials_of(metric, new)) == 0:
            continue
        events = min(events_of(new, metric.event), trials)
        memory = metrics.get(name, Memory())
        common = name in everywhere
        cusum = memory.everywhere if common else memory.own
        fewer = metric.suspect is Role.CHAMPION
        cusum = cusum.after(rates[hour], fewer, events, trials, seconds, watching.baseline.bursts.get(name, 1.0))
        if cusum.log_value >= 0.0:
            findings.append(Finding(name, common, _words(name, cusum, rates[hour], fewer)))
            cusum = Cusum()
        metrics[name] = replace(memory, everywhere=cusum) if common else replace(memory, own=cusum)
    return replace(watching, taken=now, at=at, metrics=metrics), tuple(findings)


def since(now: ArmCounts, before: ArmCounts) -> ArmCounts | None:
    """Returns the counts between two looks. None: counts have decreased, as after a restore."""
    changes = {
        one.name: getattr(now, one.name) - getattr(before, one.name) for one in fields(ArmCounts) if one.type == "int"
    }
    windows, at_risk = (
        {name: count - then.get(name, 0) for name, count in those.items()}
        for those, then in (
            (now.first_in_window, before.first_in_window),
            (now.at_risk_in_window, before.at_risk_in_window),
        )
    )
    if min((*changes.values(), *windows.values(), *at_risk.values())) < 0:
        return None
    return ArmCounts(now.release, **changes, first_in_window=windows, at_risk_in_window=at_risk)


def decide(
    watching: Watching, findings: Collection[Finding], at: float
) -> tuple[Watching, tuple[Finding, ...], Finding | None]:
    """Returns the watch with the decision, the findings to report, and the reason for a rollback, if there is one.

    Trouble of every model is reported once an hour. Each metric is reported once.
    """
    told: list[Finding] = []
    bad = [one for one in findings if not one.everywhere and one.metric not in watching.told]
    common = [one for one in findings if one.everywhere]
    if common and at - watching.told_everywhere_at >= TOLD_AGAIN_SECONDS:
        watching = replace(watching, told_everywhere_at=at)
        told.extend(common)
    if bad and watching.acts and not watching.decided:
        return replace(watching, decided=bad[0].text), tuple(told), bad[0]
    told.extend(bad)
    return replace(watching, told={**watching.told, **{one.metric: one.text for one in bad}}), tuple(told), None


def in_trouble(metric: Metric, minute: ArmCounts, usual: ArmCounts | None) -> bool | None:
    """Whether a model has clearly more events within a minute than usual, or fewer for `fewer alerts`.

    `usual` are the counts of some hours before. None as the result: there are too few requests, or the usual rate is
    unknown.
    """
    trials = trials_of(metric, minute)
    if trials < LEAST_TRIALS:
        return None
    events = events_of(minute, metric.event)
    known = usual is not None and trials_of(metric, usual) > 0
    rate = events_of(usual, metric.event) / trials_of(metric, usual) if usual is not None and known else 0.0
    if metric.suspect is Role.CHAMPION:
        return trials * rate >= MUCH * LEAST_EVENTS and events <= trials * rate / MUCH if known else None
    if metric.event == "alerts" and not known:
        return None
    limit = metric.limit if metric.event != "alerts" else 0.0
    return events >= LEAST_EVENTS and events > MUCH * trials * max(rate, limit or 0.0)


def troubles(minute: ArmCounts, usual: ArmCounts | None) -> Mapping[str, bool]:
    """Returns whether a model is in trouble, for each metric where that can be said."""
    found = {metric.name: in_trouble(metric, minute, usual) for metric in METRICS}
    return {name: answer for name, answer in found.items() if answer is not None}


def everywhere(others: Collection[Mapping[str, bool]]) -> frozenset[str]:
    """Returns the metrics in which at least half of the other models are in trouble, of those for which that can be
    said.

    `others` are the `troubles` of each of them in the last minute.
    """
    found = set()
    for metric in METRICS:
        told = [each[metric.name] for each in others if metric.name in each]
        if told and 2 * sum(told) >= len(told):
            found.add(metric.name)
    return frozenset(found)


def seen(watching: Watching, name: str, at: float) -> Mapping[str, Any]:
    """Returns one metric for people, as JSON. An alarm is at an `evidence` of 1."""
    own = watching.metrics.get(name, Memory()).own
    null = watching.baseline.tolerated[name][int(at // 3600) % HOURS]
    fewer = _WATCHED[name].suspect is Role.CHAMPION
    summary = _words(name, own, null, fewer) if own.trials else f"{name}: nothing has been counted yet"
    return {
        "name": name,
        "events": own.events,
        "of": own.trials,
        "seconds": own.seconds,
        "tolerated": null,
        "evidence": math.exp(min(own.log_value, 0.0)),
        "summary": summary,
    }


def _words(name: str, cusum: Cusum, null: float, fewer: bool) -> str:
    """Returns a text such as `errors: 312 of 15,000 requests in 2 minutes (2.1%), where up to 0.1% is tolerated`."""
    of = "answers" if _WATCHED[name].needs_answer else "requests"
    share = f"{100 * cusum.events / cusum.trials:.3g}%"
    bound = f"at least {100 * null:.3g}% is expected" if fewer else f"up to {100 * null:.3g}% is tolerated"
    called = "alerts" if fewer else name
    return f"{called}: {cusum.events:,} of {cusum.trials:,} {of} in {duration(cusum.seconds)} ({share}), where {bound}"
