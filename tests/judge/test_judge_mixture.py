"""The e-processes by themselves: against numbers worked out by hand, and against their promised error rates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serinus.judge.mixture import (
    BETS,
    BLOCK,
    MULTIPLIERS,
    Restarting,
    below,
    better,
    log_mismatch,
    ratio_interval,
    share,
    worse,
)


def test_the_share_of_events_follows_the_ratio_and_the_traffic() -> None:
    assert share(0.05, 1.0) == pytest.approx(0.05)
    assert share(0.05, 3.0) == pytest.approx(0.15 / 1.10)
    assert share(0.5, 1.5) == pytest.approx(0.6)


def test_event_share_is_the_mean_of_likelihood_ratios() -> None:
    # One alternative by hand: q = 1/2, tolerated 1.5 (share .6) against 3 (share .75), 4 canary and 2 champion events.
    gains = worse(0.5, 1.5).gains(4, 2)
    assert math.exp(gains[MULTIPLIERS.index(2.0)]) == pytest.approx((0.75 / 0.6) ** 4 * (0.25 / 0.4) ** 2)
    by_hand = np.mean([(share(0.5, 1.5 * m) / 0.6) ** 4 * ((1 - share(0.5, 1.5 * m)) / 0.4) ** 2 for m in MULTIPLIERS])
    assert math.exp(worse(0.5, 1.5).log_e(4, 2)) == pytest.approx(by_hand)


def test_half_of_what_speaks_for_a_release_is_staked_on_its_equality_with_the_champion() -> None:
    mixture = better(0.5, 2.0)
    assert sum(mixture.weights) == pytest.approx(1.0)
    assert mixture.weights[0] == 0.5
    assert math.exp(mixture.gains(3, 3)[0]) == pytest.approx((0.5 / (2 / 3)) ** 3 * (0.5 / (1 / 3)) ** 3)


def test_a_budget_of_one_in_a_thousand_is_cleared_by_about_five_thousand_clean_requests() -> None:
    mixture = below(0.001)
    needed = mixture.needed(mixture.gains(0, 0), 0.0, math.log(1 / 0.05))
    assert 4_500 < needed < 5_300
    assert mixture.log_e(0, math.ceil(needed)) >= math.log(20) > mixture.log_e(0, math.floor(needed) - 2)
    by_hand = np.mean([((1 - 0.001 * (1 - bet)) / 0.999) ** 3000 for bet in BETS])
    assert math.exp(mixture.log_e(0, 3000)) == pytest.approx(by_hand)


@pytest.mark.parametrize("mixture", [worse(0.05, 1.5), better(0.05, 2.0), below(0.001)])
def test_the_expected_value_after_one_event_at_the_null_is_one(mixture) -> None:
    hit, miss = math.exp(mixture.log_e(1, 0)), math.exp(mixture.log_e(0, 1))
    assert mixture.null * hit + (1 - mixture.null) * miss == pytest.approx(1.0)


@pytest.mark.parametrize("q", [0.05, 0.25, 0.5])
def test_looking_after_every_event_keeps_the_error_probability(q: float) -> None:
    """Ville: with the truth at the very edge of what is tolerated, 1/alpha is ever reached by at most alpha."""
    rng = np.random.default_rng(11)
    hits = np.cumsum(rng.random((600, 1500)) < share(q, 1.5), axis=1)
    misses = np.arange(1, 1501) - hits
    mixture = worse(q, 1.5)
    value = np.mean([np.exp(_gains(mixture.null, p, hits, misses)) for p in mixture.alternatives], axis=0)
    assert 0 < np.mean(value.max(axis=1) >= 10) <= 0.1


def _gains(null: float, p: float, hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    return hits * math.log(p / null) + misses * math.log((1 - p) / (1 - null))


def test_the_restarting_process_is_a_supermartingale_at_the_null() -> None:
    """One event leaves its mean where it was, a new start adds its stake; it seldom reaches its bound."""
    rng = np.random.default_rng(5)
    mixture, tops = worse(0.25, 1.5), []

    def mean_after_one_event(process: Restarting) -> float:
        hit, miss = (process.after(mixture.gains(x, 1 - x), 1).logs for x in (1, 0))
        by_hit, by_miss = math.exp(mixture.log_value(hit)), math.exp(mixture.log_value(miss))
        return mixture.null * by_hit + (1 - mixture.null) * by_miss

    assert mean_after_one_event(Restarting()) == pytest.approx(1 / 2)
    assert mean_after_one_event(Restarting(events=BLOCK - 1)) == pytest.approx(1 / 2 + 1 / 6)
    for events in rng.random((250, 400)) < mixture.null:
        process, top = Restarting(), 0.0
        for block in events.reshape(-1, 10):
            hits = int(block.sum())
            process = process.after(mixture.gains(hits, 10 - hits), 10)
            top = max(top, math.exp(mixture.log_value(process.logs)))
        tops.append(top)
    assert process.starts == 1 + 400 // BLOCK
    assert np.mean(np.array(tops) >= 10) <= 0.1


def test_the_restarting_process_forgets_good_history() -> None:
    mixture, process = worse(0.25, 1.5), Restarting()
    for _ in range(40):  # 1,000 events of a release as good as the champion
        process = process.after(mixture.gains(6, 19), 25)
    for _ in range(16):  # then 400 of one three times as bad
        process = process.after(mixture.gains(12, 12), 24)
    carried = mixture.log_e(40 * 6 + 16 * 12, 40 * 19 + 16 * 12)
    assert mixture.log_value(process.logs) > carried + math.log(100)


def test_the_ratio_is_estimated_with_an_interval_that_holds_it() -> None:
    estimate, low, high = ratio_interval(37, 3, 0.05)
    assert estimate == pytest.approx(37 / 3 * 19)
    assert low < estimate < high
    assert ratio_interval(0, 5, 0.05)[:2] == (0.0, 0.0)
    assert ratio_interval(5, 0, 0.05)[0] == ratio_interval(5, 0, 0.05)[2] == math.inf
    nothing = ratio_interval(0, 0, 0.05)
    assert math.isnan(nothing[0])
    assert nothing[1:] == (0.0, math.inf)


def test_the_interval_covers_the_truth_at_every_look_together() -> None:
    rng = np.random.default_rng(3)
    misses_truth = 0
    for events in rng.random((80, 300)) < share(0.25, 2.0):
        hits = np.cumsum(events)
        looks = [ratio_interval(int(hits[n - 1]), n - int(hits[n - 1]), 0.25) for n in range(20, 301, 20)]
        misses_truth += any(not low <= 2.0 <= high for _, low, high in looks)
    assert misses_truth / 80 <= 0.05


def test_a_mismatch_of_the_split_is_seen_and_the_right_split_is_not() -> None:
    assert log_mismatch(0, 0, 0.05) == pytest.approx(0.0)
    assert log_mismatch(100, 900, 0.05) > math.log(1000)
    assert log_mismatch(10, 990, 0.05) > math.log(1000)
    rng = np.random.default_rng(8)
    arrivals = np.cumsum(rng.random((200, 2000)) < 0.05, axis=1)[:, 99::100]
    worst = [max(log_mismatch(int(c), 100 * (i + 1) - int(c), 0.05) for i, c in enumerate(row)) for row in arrivals]
    assert np.mean(np.array(worst) >= math.log(100)) <= 0.01


def test_what_does_not_grow_is_never_reached() -> None:
    mixture = below(0.001)
    assert mixture.needed(mixture.gains(0, 0), 0.002, math.log(20)) == math.inf
