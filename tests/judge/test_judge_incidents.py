"""What one incident may tell, on either arm, and what counts that are late may tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serinus.core.evidence import ArmCounts, Verdict
from serinus.core.rollout import Policy, Step, Tolerance
from serinus.judge import StepEvidence, assess
from serinus.judge.bounded import Bounded
from serinus.judge.levels import STANDING, Level
from serinus.judge.memory import MetricMemory
from serinus.judge.mixture import MULTIPLIERS
from serinus.judge.silences import Silences

ONES = (1.0,) * len(MULTIPLIERS)
STEPS = (Step(2500, 5_000, 20.0, 86_400.0),)


# --- a stall of the canary ------------------------------------------------------------------------------------


def test_a_window_tells_no_more_than_it_may_however_much_happens_in_it() -> None:
    bounded = Bounded()
    for look in range(1, 9):
        bounded = bounded.after(ONES, ONES, 1, 20.0 + look / 2, 0.5, 2.3)
    carried, logs = bounded.whole(2.3)
    assert carried == pytest.approx((2.3 + 1.0,) * len(ONES)), "the last look is in the next window"
    assert logs == pytest.approx(tuple(log + 3.3 for log in Bounded().restarting.logs))


def test_what_speaks_for_the_release_is_not_bounded() -> None:
    losses = tuple(-5.0 for _ in ONES)
    bounded = Bounded().after(losses, losses, 10, 1.0, 0.5, 2.3).after(ONES, ONES, 10, 1.5, 0.5, 2.3)
    assert bounded.whole(2.3)[0] == pytest.approx((-4.0,) * len(ONES))


@pytest.mark.parametrize(("seconds", "windows"), [(5.5, 1.1), (7.0, 1.4), (20.0, 1.4), (40.0, 4.0), (620.0, 120.0)])
def test_a_look_after_a_long_time_is_a_window_by_itself_and_tells_in_proportion(seconds: float, windows: float) -> None:
    """Of the time beyond that in which a stall of a few seconds may be all that was seen."""
    many = tuple(1_000.0 for _ in ONES)
    bounded = Bounded().after(many, many, 10, seconds, seconds, 2.0).after(many, many, 10, seconds + 0.5, 0.5, 2.0)
    assert bounded.whole(2.0)[0] == pytest.approx((2.0 * windows + 2.0,) * len(ONES))


def test_the_evidence_of_an_earlier_version_goes_on_without_its_worst_window() -> None:
    old = {
        "carried": [3.0] * len(ONES),
        "restarting": {"logs": [2.0] * len(ONES), "starts": 2, "events": 7},
        "better": [0.5] * (len(ONES) + 1),
        "bursts": {"windows": [[1, [1.0] * len(ONES)], [1, [1.0] * len(ONES)]], "worst": [1.0] * len(ONES)},
    }
    memory = MetricMemory.from_json(old)
    assert memory.carried == (3.0,) * len(ONES)
    assert memory.bounded.whole(memory.most) == ((2.0,) * len(ONES), (1.0,) * len(ONES))
    assert MetricMemory.from_json(json.loads(json.dumps(memory.as_json()))) == memory


def test_the_evidence_of_a_version_that_wrote_all_of_it_is_read() -> None:
    level = dict.fromkeys(("open_events", "open_trials", "high_events", "high_trials"), 0) | {
        "events": 4.0, "trials": 900.0, "seconds": 60.0, "open_seconds": 2.5, "high_seconds": 0.0, "sank": False,
    }  # fmt: skip
    start = {"logs": [0.25] * len(ONES), "starts": 3, "events": 4}
    zeros = [0.0] * len(ONES)
    bounded = {
        "carried": zeros, "restarting": start, "window": 7, "in_rollout": zeros, "in_step": list(ONES), "events": 1,
    }  # fmt: skip
    old = {
        "carried": [3.0] * len(ONES), "restarting": start, "better": [0.5] * (len(ONES) + 1), "bounded": bounded,
        "most": 2.25, "levels": [level, {**level, "sank": True}],
    }  # fmt: skip
    memory = MetricMemory.from_json(old)
    assert memory.bounded.whole(memory.most) == (tuple(zeros), (1.25,) * len(ONES))
    assert memory.levels == (
        Level(4.0, 900.0, 60.0, open_seconds=2.5),
        Level(4.0, 900.0, 60.0, open_seconds=2.5, sank=True),
    )
    assert MetricMemory.from_json(json.loads(json.dumps(memory.as_json()))) == memory


def test_what_has_not_happened_takes_no_room_in_a_memory() -> None:
    assert MetricMemory().as_json() == {"bounded": {"window": -1}}
    assert MetricMemory.from_json(MetricMemory().as_json()) == MetricMemory()


# --- an incident of one arm alone -----------------------------------------------------------------------------


def _level(rates: Iterator[float], seconds: float = 1.0, trials: int = 1_000) -> Iterator[Level]:
    rng, level = np.random.default_rng(1), Level()
    for rate in rates:
        level = level.after(int(rng.binomial(trials, rate)), trials, seconds)
        yield level


def test_an_arm_departs_from_its_level_while_it_has_an_incident_and_no_longer() -> None:
    rates = [0.01] * 60 + [0.05] * 120 + [0.01] * 60
    departs = [level.departs for level in _level(iter(rates))]
    assert not any(departs[:60])
    assert all(departs[61:180])
    assert not any(departs[190:])


@pytest.mark.parametrize("trials", [10, 100, 10_000])
def test_chance_alone_is_no_departure(trials: int) -> None:
    assert not any(level.departs for level in _level(iter([0.01] * 2_000), trials=trials))


def test_trouble_that_lasts_is_the_level() -> None:
    departs = [level.departs for level in _level(iter([0.01] * 60 + [0.05] * 400))]
    last = max(index for index, one in enumerate(departs) if one)
    assert STANDING - 10 <= last - 60 <= STANDING + 10


def test_a_level_that_was_an_incident_sinks() -> None:
    levels = list(_level(iter([0.6] * 60 + [0.01] * 60)))
    assert sum(level.sank for level in levels) == 1
    assert not levels[-1].departs
    assert levels[-1].events / levels[-1].trials == pytest.approx(0.01, rel=0.3)
    assert Level.from_json(json.loads(json.dumps(levels[-1].as_json()))) == levels[-1]


def _run(
    counts: Callable[..., ArmCounts], seconds: int, rates: Callable[[int], tuple[dict[str, float], dict[str, float]]]
) -> list[Verdict]:
    """1,000 requests a second at 25 %, looked at every second; `rates` of the champion and of the canary."""
    memory: Mapping[str, Any] = {}
    rng, verdicts = np.random.default_rng(2), []
    totals: dict[str, dict[str, int]] = {"v1": {}, "v2": {}}
    for second in range(1, seconds + 1):
        for release, requests, events in zip(totals, (750, 250), rates(second), strict=True):
            for event, rate in events.items():
                totals[release][event] = totals[release].get(event, 0) + int(rng.binomial(requests, rate))
        arms = counts("v1", 750 * second, **totals["v1"]), counts("v2", 250 * second, **totals["v2"])
        seen = assess(Policy(), STEPS, 0, (), StepEvidence(2500, *arms), memory, float(second))
        memory = json.loads(json.dumps(seen.memory))
        verdicts.append(seen.verdict)
        if verdicts[-1] in (Verdict.ABORT, Verdict.PROMOTE):
            break
    return verdicts


@pytest.mark.parametrize("seconds", [2, 20, 100])
def test_a_wave_of_alerts_on_the_champion_alone_does_not_make_the_canary_a_silent_one(counts, seconds: int) -> None:
    def rates(second: int) -> tuple[dict[str, float], dict[str, float]]:
        wave = 0.3 if 15 < second <= 15 + seconds else 0.005
        return {"slow": 0.01, "alerts": wave}, {"slow": 0.01, "alerts": 0.005}

    assert Verdict.ABORT not in _run(counts, 400, rates)


@pytest.mark.parametrize("seconds", [2, 20, 100])
def test_a_slow_champion_clears_no_slow_canary(counts, seconds: int) -> None:
    def rates(second: int) -> tuple[dict[str, float], dict[str, float]]:
        slow = 0.6 if 10 < second <= 10 + seconds else 0.01
        return {"slow": slow, "alerts": 0.005}, {"slow": 0.02, "alerts": 0.005}

    assert Verdict.PROMOTE not in _run(counts, 400, rates)


# --- counts that are late -------------------------------------------------------------------------------------


def _shown(counts: Callable[..., ArmCounts], champion: int, canary: int) -> StepEvidence:
    return StepEvidence(500, counts("v1", champion), counts("v2", canary))


def test_a_silence_is_what_cannot_be_chance_and_lasts_until_the_arm_is_heard_again(counts) -> None:
    silences = Silences()
    for second in range(1, 101):
        canary = 50 * second if second <= 40 else 2_000 if second < 60 else 50 * (second - 20)
        silences = silences.after(_shown(counts, 950 * second, canary), float(second))
        assert (silences.silent[1] > 0.0) is (41 <= second <= 60)
    assert silences.longest == 20.0
    assert silences.entities == (950 * 61, 50 * 41)
    assert Silences.from_json(json.loads(json.dumps(silences.as_json()))) == silences


def test_an_arm_with_few_requests_is_not_silent_between_them(counts) -> None:
    silences = Silences()
    for second in range(1, 101):
        silences = silences.after(_shown(counts, 2 * second, second // 10), float(second))
    assert silences.longest == 0.0


def test_the_split_is_judged_without_what_came_late(counts) -> None:
    """The canary's counts are half a minute late for ever: its share of all is too small, of the new ones it is not."""
    memory: Mapping[str, Any] = {}
    steps = (Step(500, 10**9, 20.0, 86_400.0),)
    for second in range(1, 201):
        late = max(0, second - 30)
        arms = counts("v1", 950 * second, slow=9 * second), replace(counts("v2", 50 * late, slow=late // 2))
        seen = assess(Policy(alerts=None), steps, 0, (), StepEvidence(500, *arms), memory, float(second))
        memory = seen.memory
    assert "entities" not in seen.reason


def _failing_late(counts, late: str, seconds: int) -> bool:
    """Whether traffic is taken away where both fail for so long, and one arm's counts are half a minute late."""
    memory: Mapping[str, Any] = {}
    steps = (Step(5000, 10**9, 20.0, 86_400.0),)
    policy = Policy(alerts=None, slow=Tolerance(1.5, 2.0))
    for second in range(1, 241):
        arms = []
        for release, name in (("v1", "champion"), ("v2", "canary")):
            seen_until = max(0, second - 30) if name == late else second
            failed = min(max(seen_until - 100, 0), seconds)
            arms.append(counts(release, 50 * seen_until, errors=50 * failed))
        seen = assess(policy, steps, 0, (), StepEvidence(5000, *arms), memory, float(second))
        memory = seen.memory
        if seen.suspend:
            return True
    return False


@pytest.mark.parametrize("late", ["champion", "canary"])
@pytest.mark.parametrize("seconds", [20, 29, 120])
def test_what_fails_both_arms_takes_no_traffic_away_where_one_is_seen_late(counts, late: str, seconds: int) -> None:
    assert not _failing_late(counts, late, seconds)
