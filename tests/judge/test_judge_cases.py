"""Streams by which an independent check has shown the judge wrong, each with the outcome that is right.

Kinds of streams in general are in `simulation`; these go by other ways: seldom looks, counts without the requests at
risk, and one merchant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from serinus.core.evidence import ArmCounts, Verdict
from serinus.core.rollout import Assessment, Policy, Step
from serinus.judge import StepEvidence, assess

STEPS = tuple(Step(weight, 5_000, 600.0, 86_400.0) for weight in (500, 2_500, 5_000))
ENDED = (Verdict.ABORT, Verdict.PROMOTE)


def _arm(release: str, requests: int, *, entities: int = 0, first: Mapping[str, int] | None = None, **events: int):
    named = {**events, **(first or {}), "entities": entities or requests}
    answered = requests - events.get("errors", 0)
    return ArmCounts(release, requests, answered, answered, first_in_step=named, first_in_rollout=named, **events)


def _judged(
    looks: Iterator[tuple[float, ArmCounts, ArmCounts]], steps: tuple[Step, ...] = STEPS[:1]
) -> tuple[float, Assessment]:
    """When the step ended and by what; the last look where it did not."""
    memory: Mapping[str, Any] = {}
    for elapsed, champion, canary in looks:
        now = StepEvidence(steps[0].weight, champion, canary)
        seen = assess(Policy(), steps, 0, (), now, memory, elapsed)
        memory = seen.memory
        if seen.verdict in ENDED or seen.suspend:
            break
    return elapsed, seen


@pytest.mark.parametrize(("weight", "merchants"), [(500, 1), (2_500, 5), (5_000, 10)])
@pytest.mark.parametrize("interval", [0.5, 5.0, 20.0])
def test_few_merchants_whose_requests_all_fail_lose_the_canary_its_traffic_within_a_minute(
    weight: int, merchants: int, interval: float
) -> None:
    def looks() -> Iterator[tuple[float, ArmCounts, ArmCounts]]:
        for number in range(1, 400):
            requests = round(50 * number * interval)
            canary = requests * weight // 10_000
            champion = requests - canary
            slow = {"slow": min(champion // 100, 20 - merchants)}
            yield (
                number * interval,
                _arm("v1", champion, entities=20 - merchants, slow=champion // 100, first=slow),
                _arm("v2", canary, entities=merchants, errors=canary, first={"errors": merchants}),
            )

    elapsed, seen = _judged(looks(), (Step(weight, 5_000, 600.0, 86_400.0),))
    assert seen.suspend or seen.verdict is Verdict.ABORT
    assert elapsed <= 60.0


def _cards(seed: int, cards: int, champion: Callable[[float], float], canary: Callable[[float], float], until: float):
    """50 requests a second of so many cards of unlike traffic, at 5 %, counted without the requests at risk."""
    rng = np.random.default_rng(seed)
    traffic = np.arange(1, cards + 1) ** -0.6
    of_canary = rng.random(cards) < 0.05
    had, seen = np.zeros(cards, bool), np.zeros(cards, bool)
    requests, slow, first = np.zeros(2, int), np.zeros(2, int), np.zeros(2, int)
    for elapsed in np.arange(10.0, until + 1.0, 10.0):
        card = rng.choice(cards, 500, p=traffic / traffic.sum())
        seen[card] = True
        arm = of_canary[card].astype(int)
        happened = rng.random(500) < np.where(arm == 1, canary(elapsed), champion(elapsed))
        requests += np.bincount(arm, minlength=2)
        slow += np.bincount(arm[happened], minlength=2)
        new = np.unique(card[happened])
        new = new[~had[new]]
        had[new] = True
        first += np.bincount(of_canary[new].astype(int), minlength=2)
        entities = (seen & ~of_canary).sum(), (seen & of_canary).sum()
        arms = [
            _arm(name, int(requests[k]), entities=int(entities[k]), slow=int(slow[k]), first={"slow": int(first[k])})
            for k, name in enumerate(("v1", "v2"))
        ]
        yield float(elapsed), *arms


def test_two_slow_minutes_of_the_champion_abort_no_honest_canary_where_cards_run_out() -> None:
    steps, aborted = (Step(500, 10**9, 600.0, 86_400.0),), 0
    for seed in range(3):
        looks = _cards(seed, 500, lambda at: 0.6 if 600 <= at < 720 else 0.01, lambda at: 0.01, 1_000.0)
        aborted += _judged(looks, steps)[1].verdict is Verdict.ABORT
    assert aborted == 0


def test_a_canary_that_is_slow_three_times_as_often_is_found_among_many_cards() -> None:
    steps, aborted = (Step(500, 10**9, 600.0, 86_400.0),), 0
    for seed in range(1):
        looks = _cards(seed, 20_000, lambda at: 0.01, lambda at: 0.03 if at > 600 else 0.01, 5_400.0)
        aborted += _judged(looks, steps)[1].verdict is Verdict.ABORT
    assert aborted == 1


def test_errors_in_bursts_of_one_card_at_three_times_the_budget_are_seldom_passed() -> None:
    def looks(seed: int) -> Iterator[tuple[float, ArmCounts, ArmCounts]]:
        rng = np.random.default_rng(seed)
        requests = errors = bursts = 0
        for number in range(1, 40):
            new = int(rng.poisson(1_000))
            begun = int(rng.poisson(new * 0.003 / 20))
            requests, bursts = requests + new, bursts + begun
            errors = min(requests, errors + int((1 + rng.poisson(19, begun)).sum()))
            slow, alerts = 19 * requests // 100, 19 * requests // 200
            yield (
                400.0 * number,
                _arm("v1", 19 * requests, slow=slow, alerts=alerts),
                _arm("v2", requests, slow=slow // 19, alerts=alerts // 19, errors=errors, first={"errors": bursts}),
            )

    passed = sum(_judged(looks(seed))[1].verdict is Verdict.PROMOTE for seed in range(20))
    assert passed <= 3, "beta is 5 %: more than 3 of 20 have a probability of 2 %"


def test_an_abort_by_what_all_steps_have_shown_says_their_counts_and_not_those_of_the_step() -> None:
    """The first step shows nearly enough that the canary is silent, and the second one has hardly begun."""
    first = StepEvidence(500, _arm("v1", 3_610_000, alerts=331), _arm("v2", 190_000))
    before = assess(Policy(), STEPS, 0, (), first, {}, 40_000.0)
    assert before.verdict is not Verdict.ABORT
    memory = before.memory
    for number in range(1, 9):
        champion, canary = _arm("v1", 900 * number, alerts=number), _arm("v2", 300 * number)
        seen = assess(Policy(), STEPS, 1, (first,), StepEvidence(2_500, champion, canary), memory, 60.0 * number)
        memory = seen.memory
        if seen.verdict is Verdict.ABORT:
            break
    assert seen.verdict is Verdict.ABORT
    canary, champion = 190_000 + 300 * number, 3_610_000 + 900 * number
    assert seen.reason.startswith(
        f"fewer-alerts: 0 of {canary:,} canary requests (0%) against {331 + number} of {champion:,} of the champion "
        "(0.00932%) in all steps, tolerated down to 0.5 times"
    )


@pytest.mark.parametrize("one_in", [2_000, 10_000, 50_000])
def test_a_silent_canary_is_passed_by_no_step_however_seldom_the_champion_alerts(one_in: int) -> None:
    for step in STEPS:

        def looks(share: float = step.weight / 10_000) -> Iterator[tuple[float, ArmCounts, ArmCounts]]:
            for number in range(1, 40):
                canary, champion = round(25_000 * share * number), round(25_000 * (1 - share) * number)
                alerts = champion // one_in
                yield (
                    500.0 * number,
                    _arm("v1", champion, slow=champion // 100, alerts=alerts),
                    _arm("v2", canary, slow=canary // 100),
                )

        assert _judged(looks(), (step,))[1].verdict is not Verdict.PROMOTE


@pytest.mark.parametrize("parts", [(20,), (10, 10), (7, 7, 6), (1,) * 20])
def test_twenty_requests_of_one_stall_abort_nothing_in_however_many_looks(parts: tuple[int, ...]) -> None:
    """Twenty cards, each with its first error."""

    def looks() -> Iterator[tuple[float, ArmCounts, ArmCounts]]:
        errors = 0
        for number in range(180, 230):
            canary, champion = 5 * number + 1, 95 * number
            if 0 <= number - 200 < len(parts):
                errors += parts[number - 200]
            yield (
                number / 2,
                _arm("v1", champion, slow=champion // 100, alerts=champion // 200),
                _arm("v2", canary, slow=canary // 100, alerts=canary // 200, errors=min(errors, canary)),
            )

    assert _judged(looks())[1].verdict is not Verdict.ABORT
