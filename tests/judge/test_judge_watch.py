"""The watch after promotion: how seldom it is wrong, and how soon it is right. Everything is seeded."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from serinus.core.evidence import ArmCounts, HourCounts
from serinus.core.rollout import Policy, Tolerance
from serinus.judge import Baseline, Finding, Watching, baseline, decide, everywhere, look, since, troubles, watch
from serinus.judge.baseline import HOURS, NO_ALERTS, NOTHING_BEFORE, TOO_FEW
from serinus.judge.mixture import MULTIPLIERS
from serinus.judge.watch import Cusum

pytestmark = pytest.mark.long

EVENTS = ("errors", "slow", "fallbacks", "alerts", "missing")
HEALTHY: Mapping[str, float] = {"errors": 1e-4, "slow": 0.01, "alerts": 0.005}
DAY, LOOK = 86_400, 10

Curve = Callable[[float], float]


def flat(_: float) -> float:
    return 1.0


def day(hour: float) -> float:
    """From 0.4 to 1.6 times the mean."""
    return 1.0 + 0.6 * math.sin(2.0 * math.pi * hour / 24.0)


def counted(requests: int, events: Mapping[str, int] = {}) -> ArmCounts:
    errors = events.get("errors", 0)
    windows = {event: events.get(event, 0) for event in EVENTS}
    return ArmCounts("r", requests, requests - errors, requests, errors, first_in_window=windows)


@dataclass
class Live:
    """A model's live traffic: weeks of its champion, then a release that is watched from midnight on."""

    seed: int
    per_second: float = 50.0
    rates: Mapping[str, float] = field(default_factory=lambda: dict(HEALTHY))
    of_events: Curve = flat
    """By which the rates change with the hour."""
    of_traffic: Curve = flat
    days_before: float = 14.0
    noise: float = 0.0
    """Standard deviation of the log of the rates, from one hour to the next."""
    burst: int = 1
    """Events that come at once."""

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def before(self) -> list[HourCounts]:
        found = []
        for hour in range(int(24 * self.days_before)):
            requests = int(self.rng.poisson(3600 * self.per_second * self.of_traffic(hour)))
            factor = self.of_events(hour) * math.exp(self.noise * self.rng.normal())
            minutes = {
                kind: self.burst * self.rng.poisson(requests * rate * factor / self.burst / 60, 60)
                for kind, rate in self.rates.items()
            }
            events = {kind: int(each.sum()) for kind, each in minutes.items()}
            squares = {kind: int((each * each).sum()) for kind, each in minutes.items()}
            found.append(HourCounts(hour, counted(requests, events), squares))
        return found

    def watched(self, seconds: float, worse: Mapping[str, float] = {}) -> list[tuple[Finding, float, int]]:
        """Findings until `seconds` have passed, or the first where it is `worse`: each with its time and the events of
        its kind until then."""
        start = int(24 * self.days_before) * 3600.0
        now = watching(baseline(Policy(), self.before(), None, None), start)
        totals: dict[str, int] = {}
        requests, found = 0, []
        rates = {**self.rates, **worse}
        factor = 1.0
        for n in range(1, int(seconds / LOOK) + 1):
            hour = (start + n * LOOK) / 3600
            if n % 360 == 1:
                factor = math.exp(self.noise * self.rng.normal())
            new = int(self.rng.poisson(LOOK * self.per_second * self.of_traffic(hour)))
            requests += new
            for kind, rate in rates.items():
                mean = new * rate * self.of_events(hour) * factor
                totals[kind] = totals.get(kind, 0) + min(new, self.burst * int(self.rng.poisson(mean / self.burst)))
            now, findings = look(now, counted(requests, totals), start + n * LOOK)
            found += [(one, float(n * LOOK), totals.get(_event(one.metric), 0)) for one in findings]
            if found and worse:
                break
        return found


def _event(metric: str) -> str:
    return "alerts" if metric == "fewer-alerts" else metric


def watching(of: Baseline, at: float = 0.0, **changes: Any) -> Watching:
    made = Watching("r", "m-r1", at, at + DAY, True, "", 50.0, of, at, taken=counted(0))
    return replace(made, **changes)


# --- false alarms -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_look", [0.05, 2.0, 200.0], ids=["low traffic", "some", "high traffic"])
@pytest.mark.parametrize("fewer", [False, True], ids=["more", "fewer"])
def test_at_the_tolerated_rate_false_alarms_are_bounded_by_the_year(
    monkeypatch: pytest.MonkeyPatch, per_look: float, fewer: bool
) -> None:
    """A hundred times as many are allowed here, so that some are seen; the bound is by time, whatever the traffic."""
    allowed, rate, seconds = 1000.0, 0.005, 600.0
    monkeypatch.setattr(watch, "FALSE_ALARMS", allowed)
    rng = np.random.default_rng(int(per_look * 100) + fewer)
    looks = int(watch.YEAR / seconds)
    trials = rng.poisson(per_look / rate, looks)
    events = rng.binomial(trials, rate)
    fresh = Cusum(logs=(watch._stake(seconds),) * len(MULTIPLIERS))
    cusum, alarms = fresh, 0
    for k, n in zip(events.tolist(), trials.tolist(), strict=True):
        cusum = cusum.after(rate, fewer, k, n, seconds)
        if cusum.log_value >= 0.0:
            alarms, cusum = alarms + 1, fresh
    assert 0 < alarms <= allowed


@pytest.mark.parametrize(
    "live",
    [
        Live(1),
        Live(2, per_second=1.0),
        Live(3, per_second=0.1),
        Live(4, of_events=day, of_traffic=day),
        Live(5, of_events=day, of_traffic=day, noise=0.2),
        Live(6, per_second=1.0, of_events=day, of_traffic=day),
        Live(7, per_second=500.0, of_events=day, of_traffic=day, noise=0.2, days_before=7.0),
        Live(8, burst=3),
        Live(9, burst=20),
        Live(10, burst=100),
        Live(11, of_events=day, of_traffic=day, days_before=2.0),
        Live(12, of_events=day, of_traffic=day, days_before=0.5),
        Live(13, of_events=day, of_traffic=day, days_before=0.125),
        Live(14, rates={"errors": 5e-4, "slow": 0.005, "alerts": 1e-4}),
        Live(15, rates={"alerts": 0.3}),
    ],
    ids=lambda live: f"{live.seed}",
)
def test_an_honest_release_raises_no_alarm_within_days(live: Live) -> None:
    assert live.watched(2 * DAY) == []


# --- power ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("worse", "metric", "events", "seconds"),
    [
        ({"errors": 0.01}, "errors", 60, 180),
        ({"errors": 1.0}, "errors", 2_500, 60),
        ({"slow": 0.03}, "slow", 400, 400),
        ({"alerts": 0.015}, "alerts", 400, 900),
        ({"alerts": 0.0}, "fewer-alerts", 0, 400),
        ({"missing": 0.01}, "missing", 60, 180),
        ({"fallbacks": 0.01}, "fallbacks", 60, 180),
    ],
    ids=["1 % errors", "all fail", "slow x3", "alerts x3", "silent", "missing", "fallbacks"],
)
@pytest.mark.parametrize("curve", [flat, day], ids=["flat", "day curve"])
def test_a_degraded_release_is_found_within_so_many_events(
    worse: Mapping[str, float], metric: str, events: int, seconds: float, curve: Curve
) -> None:
    for seed in range(5):
        (first, *_) = Live(seed, of_events=curve, of_traffic=curve).watched(DAY, worse)
        assert first[0].metric == metric
        assert first[1] <= seconds
        assert first[2] <= events


@pytest.mark.parametrize(
    ("worse", "seconds"),
    [({"errors": 0.01}, 3_600), ({"slow": 0.03}, 6 * 3_600), ({"alerts": 0.0}, 4 * 3_600)],
    ids=["errors", "slow", "silent"],
)
def test_at_one_request_a_second_it_takes_hours(worse: Mapping[str, float], seconds: float) -> None:
    for seed in range(3):
        assert Live(seed, per_second=1.0).watched(DAY, worse)[0][1] <= seconds


@pytest.mark.parametrize("entities", [1, 20, 400])
def test_callers_who_always_fail_are_found_however_few_they_are(entities: int) -> None:
    """Each has one event a minute, and who has had it is not at risk until the next one."""
    now, requests, failed, at_risk = watching(baseline(Policy(), [], None, None)), 0, 0, 0
    found: tuple[Finding, ...] = ()
    for n in range(1, 60):
        requests += 500
        if n % 6 == 1:
            failed, at_risk = failed + entities, at_risk + entities
        counts = replace(counted(requests, {"errors": failed}), answered=0, at_risk_in_window={"errors": at_risk})
        now, found = look(now, counts, 10.0 * n)
        if found:
            break
    assert [one.metric for one in found] == ["errors"]
    assert n <= 36


def test_a_stall_of_seconds_is_no_degradation_however_many_requests_it_hits() -> None:
    now, requests, errors = watching(baseline(Policy(), [], None, None)), 0, 0
    for n in range(1, 400):
        requests += 10_000
        errors += 10_000 if n % 40 in (0, 1) else 0  # 20 s of every 400
        now, findings = look(now, counted(requests, {"errors": errors}), 10.0 * n)
        assert findings == ()


# --- the baseline -----------------------------------------------------------------------------------------


def test_the_tolerated_rate_follows_the_day() -> None:
    tolerated = baseline(Policy(), Live(1, of_events=day, of_traffic=day).before(), None, None).tolerated["alerts"]
    assert tolerated[6] / tolerated[18] > 2.0
    for hour in range(HOURS):
        assert 1.5 * 0.005 * day(hour) <= tolerated[hour] <= 2.2 * 0.005 * max(day(hour - 1), day(hour), day(hour + 1))


def test_without_a_champion_before_only_absolute_limits_hold() -> None:
    found = baseline(replace(Policy(), errors=Tolerance(1.5, 3.0, budget=0.02)), [], None, None)
    assert {name: rates[0] for name, rates in found.tolerated.items()} == {
        "errors": 0.02,
        "fallbacks": 0.001,
        "missing": 0.001,
    }
    assert found.not_watched == dict.fromkeys(("slow", "alerts", "fewer-alerts"), NOTHING_BEFORE)


def test_what_its_canary_was_let_through_with_is_tolerated() -> None:
    hours = Live(1).before()
    champion, canary = counted(100_000, {"alerts": 500}), counted(100_000, {"alerts": 1_000})
    usual, moved = (baseline(Policy(), hours, champion, arm).tolerated for arm in (champion, canary))
    assert moved["alerts"][0] == pytest.approx(2.0 * usual["alerts"][0], rel=0.1)
    assert moved["fewer-alerts"] == usual["fewer-alerts"]


def test_the_canarys_champion_stands_in_where_no_hours_were_counted() -> None:
    champion = counted(100_000, {"alerts": 500, "slow": 1_000})
    found = baseline(Policy(), [], champion, champion)
    assert found.tolerated["alerts"][0] == pytest.approx(2.0 * 1.5 * 0.005, rel=0.15)
    assert found.tolerated["slow"][0] == pytest.approx(2.0 * 1.5 * 0.01, rel=0.15)
    assert baseline(Policy(), Live(1).before(), None, None, slow_hours=False).not_watched["slow"] == NOTHING_BEFORE


def test_alerts_that_cannot_be_compared_are_not_watched() -> None:
    hours = Live(1, rates={"slow": 0.01}).before()
    assert baseline(Policy(), hours, None, None).not_watched == {"alerts": TOO_FEW, "fewer-alerts": TOO_FEW}
    assert baseline(replace(Policy(), alerts=None), hours, None, None).not_watched["alerts"] == NO_ALERTS


# --- what is decided --------------------------------------------------------------------------------------

BAD, EVERYWHERE = Finding("errors", False, "errors: bad"), Finding("errors", True, "errors: everywhere")


def test_it_is_rolled_back_once() -> None:
    now, told, against = decide(watching(Baseline({}, {})), [BAD], 1.0)
    assert (told, against, now.decided) == ((), BAD, "errors: bad")
    assert decide(now, [BAD], 2.0)[2] is None


def test_what_is_only_told_is_told_once_a_metric() -> None:
    now, told, against = decide(watching(Baseline({}, {}), acts=False), [BAD], 1.0)
    assert (told, against, now.decided) == ((BAD,), None, "")
    assert decide(now, [BAD], 2.0)[1] == ()
    assert decide(now, [replace(BAD, metric="slow")], 2.0)[1] == (replace(BAD, metric="slow"),)


def test_trouble_of_all_is_told_once_an_hour_and_rolls_back_nothing() -> None:
    now, told, against = decide(watching(Baseline({}, {})), [EVERYWHERE], 10_000.0)
    assert (told, against) == ((EVERYWHERE,), None)
    assert decide(now, [EVERYWHERE], 13_000.0)[1] == ()
    assert decide(now, [EVERYWHERE], 14_000.0)[1] == (EVERYWHERE,)


def test_other_models_are_in_trouble_only_where_they_have_clearly_more_than_usual() -> None:
    usual = counted(100_000, {"errors": 10, "slow": 1_000, "alerts": 500})
    well, ill = counted(1_000, {"slow": 10, "alerts": 5}), counted(1_000, {"errors": 500, "slow": 500, "alerts": 5})
    sick, healthy = troubles(ill, usual), troubles(well, usual)
    assert everywhere([sick, healthy]) == {"errors", "slow"}
    assert everywhere([sick, healthy, healthy]) == frozenset()
    assert troubles(counted(2, {"errors": 2}), usual) == {}  # too few to tell
    assert everywhere([troubles(ill, None)]) == {"errors", "slow"}
    assert everywhere([troubles(counted(10_000), usual)]) == {"fewer-alerts"}
    assert everywhere([]) == frozenset()


def test_looks_of_common_trouble_speak_against_no_release() -> None:
    now = watching(baseline(Policy(), [], None, None))
    for n in range(1, 30):
        now, findings = look(now, counted(1_000 * n, {"errors": 500 * n}), 10.0 * n, {"errors"})
        assert all(one.everywhere for one in findings)
    assert "errors: " in str(look(now, counted(30_000, {"errors": 15_000}), 300.0, {"errors"}))
    assert now.metrics["errors"].own == Cusum()


# --- what is stored ---------------------------------------------------------------------------------------


def test_it_is_read_back_from_json_as_it_was_and_a_look_takes_less_than_a_millisecond() -> None:
    stored = TypeAdapter(Watching)
    now, slowest = watching(baseline(Policy(), Live(1).before(), None, None)), []
    for n in range(1, 300):
        counts = counted(500 * n, {"errors": n // 50, "slow": 5 * n, "alerts": 2 * n})
        began = time.process_time()
        now, _ = look(now, counts, 10.0 * n)
        slowest.append(time.process_time() - began)
        text = stored.dump_json(now).decode()
        assert stored.validate_json(text) == now
        assert len(json.dumps(json.loads(text))) < 12_000
    assert sorted(slowest)[len(slowest) // 2] < 0.001


def test_counts_that_went_back_begin_anew() -> None:
    assert since(counted(5), counted(10)) is None
    now, _ = look(watching(baseline(Policy(), [], None, None), taken=counted(1_000)), counted(10, {"errors": 10}), 10.0)
    assert (now.taken, now.at, now.metrics) == (counted(10, {"errors": 10}), 10.0, {})
