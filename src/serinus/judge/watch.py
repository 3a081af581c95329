"""The watch after promotion: whether a live release does worse than is tolerated. Pure.

An e-CUSUM for each metric (Shin, Ramdas, Rinaldo, *E-detectors: a nonparametric framework for sequential change
detection*, arXiv 2203.03532): M = L max(M, w), where L is the likelihood ratio of what is new and w the stake of a new
start. There every start has the stake 1, and an alarm at M >= c comes after c starts or later, on average. Here a start
has as much as the time since the one before has bought, `FALSE_ALARMS` a year, and an alarm is at M >= 1: the sum over
all starts is an e-detector whose compensator is the sum of the stakes, so by Lenglart's inequality the probability of a
false alarm within some time is at most `FALSE_ALARMS` x that time in years, whatever the number of requests.
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
"""A year of watching and metric, at the highest rate that is tolerated."""
LOOK_SECONDS = 10.0
"""Between two looks."""
MOST_A_LOOK = math.log(100.0)
"""That one look may speak against a release: what is over within half a minute is no degradation."""
START_SECONDS, START_EVENTS = 60.0, 1.0
"""Since the last start, before there is another one; events as they would be at the rate that is tolerated."""
FIRST_STAKE_SECONDS = 3_600.0
"""Of watching, that the first start has for its stake."""
YEAR = 365.0 * 86_400.0
TOLD_AGAIN_SECONDS = 3_600.0
"""After which trouble of all models is told again."""

LEAST_EVENTS, LEAST_TRIALS = 3, 3
"""Of another model within a minute, so that it is in trouble, or could be."""
MUCH = 3.0
"""Times its usual rate: a model is in trouble."""
_LOG_WEIGHT = -math.log(len(MULTIPLIERS))
_WATCHED: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}


def _stake(seconds: float) -> float:
    return math.log(FALSE_ALARMS * seconds / YEAR)


@dataclass(frozen=True, slots=True)
class Cusum:
    logs: tuple[float, ...] = (_stake(FIRST_STAKE_SECONDS),) * len(MULTIPLIERS)
    """Per alternative: log of the largest capital over all starts."""
    waited: float = 0.0
    """Seconds since the last start."""
    expected: float = 0.0
    """Events since the last start, at the rate that is tolerated."""
    events: int = 0
    trials: int = 0
    seconds: float = 0.0
    """Since it last spoke against nothing: what an alarm is told by."""

    @property
    def log_value(self) -> float:
        return log_sum_exp(self.logs) + _LOG_WEIGHT

    def after(self, null: float, fewer: bool, events: int, trials: int, seconds: float, burst: float = 1.0) -> Cusum:
        """`null`: the rate that is tolerated. `seconds`: since the last look, before which everything else was known
        already, the stake of a start included. `burst`: events that count for one."""
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
    own: Cusum = field(default_factory=Cusum)
    everywhere: Cusum = field(default_factory=Cusum)
    """Of the looks at which the other models were in the same trouble."""


@dataclass(frozen=True, slots=True)
class Watching:
    """The watch of one release. Stored whole, as JSON; its size does not grow."""

    release: str
    rollout: str
    """By which it became champion."""
    began: float
    """Unix seconds, as all times here."""
    until: float
    acts: bool
    """Whether it is rolled back where it does worse; else that is told."""
    why_told: str
    """Why it is only told; empty: it is not."""
    slow_ms: float
    baseline: Baseline
    at: float
    """Of the last look that was taken."""
    taken: ArmCounts | None = None
    """What it had counted."""
    metrics: Mapping[str, Memory] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    """Metric -> what was told of it."""
    told_everywhere_at: float = 0.0
    decided: str = ""
    """Why it is to be rolled back; stored before that is begun."""
    outcome: str = ""
    """What became of it."""

    @property
    def over(self) -> bool:
        return bool(self.outcome)


@dataclass(frozen=True, slots=True)
class Finding:
    metric: str
    everywhere: bool
    text: str


def look(
    watching: Watching, now: ArmCounts, at: float, everywhere: Collection[str] = ()
) -> tuple[Watching, tuple[Finding, ...]]:
    """`now`: what is counted of the release, since it was first followed. `at`: unix seconds. `everywhere`: metrics in
    which the other models are in trouble at the same time."""
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
    """What was counted in between; None where counts went back, as after a restore."""
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
    """The watch with what is decided, what is to be told, and why it is to be rolled back, if it is.

    Trouble of every model is told, once an hour. Each metric is told of once.
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
    """Whether a model has clearly more of them (or, of fewer alerts, less) within a minute than it usually has; None:
    it has too few requests to tell. `usual`: over some hours before; None: not known."""
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
    """Metric -> whether a model is in trouble, of those that it can tell of."""
    found = {metric.name: in_trouble(metric, minute, usual) for metric in METRICS}
    return {name: answer for name, answer in found.items() if answer is not None}


def everywhere(others: Collection[Mapping[str, bool]]) -> frozenset[str]:
    """Metrics in which at least half of the other models that can tell are in trouble. `others`: of each, `troubles`
    of the last minute."""
    found = set()
    for metric in METRICS:
        told = [each[metric.name] for each in others if metric.name in each]
        if told and 2 * sum(told) >= len(told):
            found.add(metric.name)
    return frozenset(found)


def seen(watching: Watching, name: str, at: float) -> Mapping[str, Any]:
    """One metric for people, as JSON. `evidence`: of an alarm, which is at 1."""
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
    """`errors: 312 of 15,000 requests in 2 minutes (2.1%), where up to 0.1% is tolerated`"""
    of = "answers" if _WATCHED[name].needs_answer else "requests"
    share = f"{100 * cusum.events / cusum.trials:.3g}%"
    bound = f"at least {100 * null:.3g}% is expected" if fewer else f"up to {100 * null:.3g}% is tolerated"
    called = "alerts" if fewer else name
    return f"{called}: {cusum.events:,} of {cusum.trials:,} {of} in {duration(cusum.seconds)} ({share}), where {bound}"
