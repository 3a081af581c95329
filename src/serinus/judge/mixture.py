"""E-processes for events with two outcomes: the canary's or the champion's, bad or good.

All tests have one form. Under the null hypothesis an event is a hit with probability at most (or at least) `null`. For
every alternative, the product of likelihood ratios is a supermartingale under the null hypothesis, because the
likelihood ratio is monotone in the hit. So is their weighted mean, which by Ville's inequality exceeds 1/a with
probability at most a, whenever one looks. docs/judge.md names the sources.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

MULTIPLIERS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""The alternatives of a ratio, as factors. An additive grid would miss rare events with a large ratio."""
BETS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
"""The shares of the capital that are bet on a rate below a budget. An alternative is budget * (1 - bet)."""
NONE = 0.98
"""The bet on no event at all."""
BLOCK = 50
"""The number of events after which the restarting process starts again."""


PRECISION = 1e-4
"""The relative precision of the number of events that are still needed."""


def log_sum_exp(values: Sequence[float]) -> float:
    """Returns the logarithm of the sum of the exponentials of `values`."""
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def short(logs: Sequence[float]) -> list[float]:
    """Returns logarithms as they are stored: to nine decimals, and empty where all are zero."""
    return [round(log, 9) for log in logs] if any(logs) else []


def log_mean(logs: Sequence[float]) -> float:
    """Returns the logarithm of the mean of the values whose logarithms are given."""
    return log_sum_exp(logs) - math.log(len(logs))


@lru_cache(maxsize=16)
def _logs(weights: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(math.log(weight) for weight in weights)


def share(q: float, ratio: float) -> float:
    """Returns the canary's share of all events where its rate is `ratio` times the champion's and its traffic share is
    `q`."""
    return q * ratio / (q * ratio + 1.0 - q)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Weighted likelihood-ratio bets against one null hypothesis. `weights` sum up to 1."""

    null: float
    alternatives: tuple[float, ...]
    weights: tuple[float, ...]

    def gains(self, hits: float, misses: float) -> tuple[float, ...]:
        """Returns the logarithm of the product of likelihood ratios, for each alternative."""
        return tuple(
            hits * math.log(p / self.null) + misses * math.log1p((self.null - p) / (1.0 - self.null))
            for p in self.alternatives
        )

    def log_value(self, gains: Sequence[float]) -> float:
        """Returns the logarithm of the mixture's e-value."""
        return log_sum_exp([w + gain for w, gain in zip(_logs(self.weights), gains, strict=True)])

    def log_e(self, hits: float, misses: float) -> float:
        """Returns the logarithm of the e-value of these events."""
        return self.log_value(self.gains(hits, misses))

    def needed(self, gains: Sequence[float], truth: float, target: float) -> float:
        """Returns about how many more events bring the log e-value to `target`, where a share `truth` of them are hits.

        Infinite where the process does not grow. The logarithm is assumed to grow by its expectation.
        """
        growth = self.gains(truth, 1.0 - truth)
        logs = [w + gain for w, gain in zip(_logs(self.weights), gains, strict=True)]
        if log_sum_exp(logs) >= target:
            return 0.0

        # The log of a sum of exponentials is convex, so Newton's steps from above stay above. They start where one of
        # the terms reaches the target by itself.
        events = min(
            ((target - log) / rate for log, rate in zip(logs, growth, strict=True) if rate > 0.0), default=math.inf
        )
        while math.isfinite(events):
            present = [log + events * rate for log, rate in zip(logs, growth, strict=True)]
            value = log_sum_exp(present)
            slope = sum(rate * math.exp(one - value) for one, rate in zip(present, growth, strict=True))
            step = (value - target) / slope
            events -= step
            if step <= PRECISION * events:
                break
        return events


def _even(null: float, alternatives: Sequence[float]) -> Mixture:
    return Mixture(null, tuple(alternatives), (1.0 / len(alternatives),) * len(alternatives))


def worse(q: float, tolerated: float) -> Mixture:
    """Returns a test of H0: ratio <= `tolerated`. Hits are the canary's events, misses the champion's."""
    return _even(share(q, tolerated), [share(q, tolerated * m) for m in MULTIPLIERS])


def better(q: float, unacceptable: float) -> Mixture:
    """Returns a test of H0: ratio >= `unacceptable`.

    Half of the capital is bet on a release that equals the champion, which is to be promoted soon. The other half is
    spread over the grid.
    """
    rest = [share(q, unacceptable / m) for m in MULTIPLIERS]
    return Mixture(share(q, unacceptable), (share(q, 1.0), *rest), (0.5, *(0.5 / len(rest),) * len(rest)))


def seldom(limit: float) -> Mixture:
    """Returns a test of H0: rate >= `limit`, for hits that should not happen at all.

    A quarter of the capital is bet on no hit. The rest is spread as in `below`.
    """
    rest = [limit * (1.0 - bet) for bet in BETS]
    return Mixture(limit, (limit * (1.0 - NONE), *rest), (0.25, *(0.75 / len(rest),) * len(rest)))


def below(budget: float) -> Mixture:
    """Returns a test of H0: rate >= `budget`. Hits are bad requests, misses the others."""
    return _even(budget, [budget * (1.0 - bet) for bet in BETS])


@dataclass(frozen=True, slots=True)
class Restarting:
    """An e-process that starts again and again, so that a good history does not hide a late fault.

    The k-th start, one after every `BLOCK` events, gets the share 1/(k(k+1)) of the capital. A plain e-CUSUM bounds its
    false alarms per event. The sum of these starts is a supermartingale and keeps its alpha forever.
    """

    logs: tuple[float, ...] = field(default=(math.log(0.5),) * len(MULTIPLIERS))
    """The logarithm of the capital in play over all starts, for each alternative."""
    starts: int = 1
    events: int = 0
    """Events since the last start."""

    def after(self, gains: Sequence[float], events: int) -> Restarting:
        """Returns the process after `events` events with these log gains."""
        logs = tuple(log + gain for log, gain in zip(self.logs, gains, strict=True))
        if self.events + events < BLOCK:
            return Restarting(logs, self.starts, self.events + events)
        start = self.starts + 1
        stake = -math.log(start * (start + 1))
        return Restarting(tuple(log_sum_exp((log, stake)) for log in logs), start, 0)

    def as_json(self) -> dict[str, Any]:
        """Returns the state as JSON. Empty where nothing has happened."""
        if self == Restarting():
            return {}
        return {"logs": short(self.logs), "starts": self.starts, "events": self.events}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Restarting:
        """Reads the result of `as_json`."""
        return Restarting(tuple(value["logs"]), value["starts"], value["events"]) if value else Restarting()


@lru_cache(maxsize=64)
def ratio_interval(hits: int, misses: int, q: float, level: float = 0.05) -> tuple[float, float, float]:
    """Returns the ratio of the canary's rate to the champion's: the estimate and both ends of a confidence sequence.

    The ends hold at all looks together with probability 1 - `level`. They bound the shares of events that a mixture
    with a uniform prior does not reject. The upper end is infinite where the champion has no event.
    """
    if hits + misses == 0:
        return math.nan, 0.0, math.inf
    odds = (1.0 - q) / q
    estimate = hits / misses * odds if misses else math.inf
    prior = math.lgamma(hits + 1) + math.lgamma(misses + 1) - math.lgamma(hits + misses + 2)
    bound = math.log(1.0 / level)

    low = _edge(hits, misses, bound - prior) if hits else 0.0
    high = 1.0 - _edge(misses, hits, bound - prior) if misses else 1.0
    return estimate, low / (1.0 - low) * odds, high / (1.0 - high) * odds if misses else math.inf


def _edge(hits: int, misses: int, bound: float) -> float:
    """Returns the lower end: the smaller share p at which -hits log(p) - misses log(1 - p), which is convex, is
    `bound`."""
    p = math.exp(-bound / hits)  # The start is below the root, and Newton's steps from there stay below it.
    for _ in range(60):
        above = -hits * math.log(p) - misses * math.log1p(-p) - bound
        step = above / (hits / p - misses / (1.0 - p))
        p += step
        if step <= 1e-12 * p:
            break
    return p


def log_mismatch(canary: int, champion: int, q: float, strength: float = 100.0) -> float:
    """Returns the log e-value against H0: an entity is the canary's with probability `q`. Two-sided.

    It is the sequential multinomial test with a Dirichlet prior around the split, which has the weight of `strength`
    entities.
    """
    a, b = strength * q, strength * (1.0 - q)
    return (
        math.lgamma(a + canary)
        - math.lgamma(a)
        + math.lgamma(b + champion)
        - math.lgamma(b)
        - math.lgamma(strength + canary + champion)
        + math.lgamma(strength)
        - canary * math.log(q)
        - champion * math.log1p(-q)
    )
