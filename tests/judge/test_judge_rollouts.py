"""Whole rollouts in virtual time: false alarms, faults, and how long they take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from serinus.core.evidence import ArmCounts, Verdict
from serinus.core.rollout import Policy, Step, Tolerance
from serinus.judge import StepEvidence, assess
from serinus.judge.against import Case, Look
from serinus.judge.memory import MetricMemory
from serinus.judge.metrics import METRICS
from serinus.judge.mixture import log_mean, share
from serinus.judge.weighing import weigh

SLOW = next(metric for metric in METRICS if metric.name == "slow")


def test_an_honest_release_passes_soon_after_its_minimums_without_one_error(stream) -> None:
    """3,000 requests a second, 5 %: the minimums take 13.3 s, the error budget 31 s; the later steps only minimums."""
    seconds = []
    for seed in range(16):
        rollout = stream(seed)
        assert rollout.run() is Verdict.PROMOTE
        seconds.append(rollout.looks)
    by_step = np.array(seconds)
    assert np.median(by_step[:, 0]) <= 36
    assert np.quantile(by_step[:, 0], 0.95) <= 60
    assert np.median(by_step[:, 1]) <= 12
    assert np.quantile(by_step[:, 1:], 0.95) <= 20


def test_a_burst_that_hits_both_arms_aborts_nothing(stream) -> None:
    for seed in range(6):
        rollout = stream(seed, factor=lambda look: 8.0 if 5 <= look % 15 < 10 else 1.0)
        assert rollout.run(most_looks=120) is not Verdict.ABORT


@pytest.mark.parametrize(
    ("fault", "looks"),
    [
        ({"errors": 0.01}, 15),
        ({"errors": 0.002}, 80),
        ({"alerts": 0.015}, 80),
        ({"slow": 0.05}, 20),
        ({"alerts": 0.0}, 80),
    ],
    ids=["1 % errors", "0.2 % errors", "alerts x 3", "p99 x 2", "silent"],
)
def test_a_harmful_release_is_aborted(stream, healthy, fault: Mapping[str, float], looks: int) -> None:
    """Of latencies with an exponential tail, p99 x 2 puts 10 % beyond the old p99, of heavier ones 2-5 %."""
    for seed in range(3):
        rollout = stream(seed, canary=lambda step, look: {**healthy, **fault})
        assert rollout.run() is Verdict.ABORT
        assert len(rollout.looks) == 1, "caught in the first step"
        assert rollout.looks[0] <= looks
        assert next(iter(fault)) in rollout.last.reason


def test_a_late_fault_is_not_hidden_by_good_history() -> None:
    """1,000 good events, then three times the rate: the restarting process takes much fewer events to see it."""
    with_restarts, carried_only = [], []
    for seed in range(9):
        rng = np.random.default_rng(seed)
        good = rng.random(1000) < share(0.05, 1.0)
        events = np.concatenate([good, rng.random(3000) < share(0.05, 3.0)])
        memory, before, restarting_at, carried_at = MetricMemory(), None, 0, 0
        for n in range(10, len(events) + 1, 10):
            now = _slow(int(events[:n].sum()), n)
            case = Case(SLOW, Tolerance(1.5, 2.0), Policy(), 1, (), now)
            evidence = weigh(case, memory, Look(now, before, n, 60.0))
            memory, before = evidence.memory, now
            if not restarting_at and evidence.log_bad >= math.log(1000):
                restarting_at = n - 1000
            if not carried_at and log_mean(memory.carried) >= math.log(1000):
                carried_at = n - 1000
        assert restarting_at > 0
        with_restarts.append(restarting_at)
        carried_only.append(carried_at or 3000)
    assert np.median(with_restarts) <= 900
    assert np.median(with_restarts) <= 0.75 * np.median(carried_only)


def _slow(canary: int, total: int) -> StepEvidence:
    def arm(release: str, events: int, requests: int) -> ArmCounts:
        first = {"slow": events}
        return ArmCounts(release, requests, requests, slow=events, first_in_step=first, first_in_rollout=first)

    return StepEvidence(500, arm("v1", total - canary, 95 * total), arm("v2", canary, 5 * total))


def test_at_the_edge_of_what_is_tolerated_false_aborts_stay_below_alpha() -> None:
    """One metric, bound 1/alpha = 20: both processes together, looked at every 20 events over two steps."""
    aborted = 0
    policy = Policy(alpha=0.05, metrics_for_alpha=1)
    for seed in range(150):
        rng = np.random.default_rng(1000 + seed)
        memory = MetricMemory()
        history: list[StepEvidence] = []
        for _ in range(2):
            hits, bad, before = np.cumsum(rng.random(800) < share(0.05, 1.5)), False, None
            for n in range(20, 801, 20):
                case = Case(SLOW, policy.slow, policy, 2, tuple(history), _slow(int(hits[n - 1]), n))
                evidence = weigh(case, memory, Look(case.now, before, n, 60.0))
                memory, bad, before = evidence.memory, bad or evidence.abort, case.now
            if bad:
                aborted += 1
                break
            history.append(case.now)
            memory = memory.for_next_step()
    assert aborted / 150 <= 0.05


def test_a_release_at_the_edge_of_the_unacceptable_is_seldom_cleared() -> None:
    policy, cleared = Policy(), 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        hits = np.cumsum(rng.random(1000) < share(0.05, 2.0))
        memory, before, passed = MetricMemory(), None, False
        for n in range(20, 1001, 20):
            case = Case(SLOW, policy.slow, policy, 1, (), _slow(int(hits[n - 1]), n))
            evidence = weigh(case, memory, Look(case.now, before, n, 60.0))
            memory, before, passed = evidence.memory, case.now, passed or evidence.cleared
        cleared += passed
    assert cleared / 200 <= 0.05


def _bursts(rng: np.random.Generator, cards: int, size: int, share_bad: float) -> tuple[int, int]:
    """Cards that are in trouble in this look, and their events: all of a card's requests fail one after the other."""
    troubled = int(rng.binomial(cards, share_bad))
    return troubled, int(rng.poisson(size, troubled).sum())


def test_bursts_of_single_entities_do_not_abort_where_entities_are_counted(counts) -> None:
    """Honest, one step at 5 %: a few cards each fail twenty times in a row. Counting requests would abort often."""
    by_entity, by_request = 0, 0
    steps = (Step(500, 10**9, 1.0, 600.0),)
    for seed in range(25):
        rng, verdicts = np.random.default_rng(seed), {True: Verdict.HOLD, False: Verdict.HOLD}
        memory: dict[bool, Mapping[str, object]] = {True: {}, False: {}}
        totals = {"v1": [0, 0, 0], "v2": [0, 0, 0]}
        for look in range(1, 21):
            for name, cards in (("v1", 950), ("v2", 50)):
                first, events = _bursts(rng, cards, 20, 0.002)
                totals[name] = [a + b for a, b in zip(totals[name], (cards * 20, first, events), strict=True)]
            for entities in verdicts:
                arms = [_troubled(counts, name, *totals[name], entities=entities) for name in ("v1", "v2")]
                now = StepEvidence(500, *arms)
                seen = assess(Policy(), steps, 0, (), now, memory[entities], look * 40.0)
                memory[entities] = seen.memory
                if seen.verdict is Verdict.ABORT:
                    verdicts[entities] = seen.verdict
        by_entity += verdicts[True] is Verdict.ABORT
        by_request += verdicts[False] is Verdict.ABORT
    assert by_entity == 0
    assert by_request >= 3


def _troubled(counts, name: str, requests: int, first: int, events: int, *, entities: bool) -> ArmCounts:
    by = {"errors": first if entities else events, "entities": requests // 20}
    return replace(counts(name, requests, errors=events), first_in_step=by, first_in_rollout=by)
