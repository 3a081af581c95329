"""E-processes for events that are one of two things: the canary's or the champion's, bad or good.

One form serves all tests. Under the null an event is a hit with probability at most (or at least) `null`. For every
alternative the product of likelihood ratios is a supermartingale under that null, because the likelihood ratio is
monotone in the hit; so is their weighted mean, which by Ville's inequality exceeds 1/a with probability at most a,
whenever one looks. Sources are named in docs/judge.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

MULTIPLIERS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""Alternatives to a ratio, multiplicative: an additive grid is blind to rare events with a large ratio."""
BETS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Shares of the capital that are bet on a rate below a budget; an alternative is budget * (1 - bet)."""
NONE = 0.98
"""The bet on no event at all."""
BLOCK = 50
"""Events after which the restarting process starts once more."""


PRECISION = 1e-4
"""Of the number of events that are still needed."""


def log_sum_exp(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def short(logs: Sequence[float]) -> list[float]:
    """As they are remembered: to nine decimals, and empty where all are zero."""
    return [round(log, 9) for log in logs] if any(logs) else []


def log_mean(logs: Sequence[float]) -> float:
    """Log of the mean of what these are the logarithms of."""
    return log_sum_exp(logs) - math.log(len(logs))


@lru_cache(maxsize=16)
def _logs(weights: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(math.log(weight) for weight in weights)


def share(q: float, ratio: float) -> float:
    """The canary's share of all events when its rate is `ratio` times the champion's and its traffic share is `q`."""
    return q * ratio / (q * ratio + 1.0 - q)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Weighted likelihood-ratio bets against one null. `weights` sum up to 1."""

    null: float
    alternatives: tuple[float, ...]
    weights: tuple[float, ...]

    def gains(self, hits: float, misses: float) -> tuple[float, ...]:
        """Log of each alternative's product of likelihood ratios."""
        return tuple(
            hits * math.log(p / self.null) + misses * math.log1p((self.null - p) / (1.0 - self.null))
            for p in self.alternatives
        )

    def log_value(self, gains: Sequence[float]) -> float:
        """Log of the mixture's e-value."""
        return log_sum_exp([w + gain for w, gain in zip(_logs(self.weights), gains, strict=True)])

    def log_e(self, hits: float, misses: float) -> float:
        return self.log_value(self.gains(hits, misses))

    def needed(self, gains: Sequence[float], truth: float, target: float) -> float:
        """About how many more events until the log e-value reaches `target`, when a share `truth` of them are hits.

        Infinite where the process does not grow. The logarithm is taken to grow by its expectation.
        """
        growth = self.gains(truth, 1.0 - truth)
        logs = [w + gain for w, gain in zip(_logs(self.weights), gains, strict=True)]
        if log_sum_exp(logs) >= target:
            return 0.0
        # The log of a sum of exponentials is convex. So Newton's steps from above stay above, where one of the terms
        # reaches the target by itself.
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
    """Against H0: ratio <= `tolerated`. Hits are the canary's events, misses the champion's."""
    return _even(share(q, tolerated), [share(q, tolerated * m) for m in MULTIPLIERS])


def better(q: float, unacceptable: float) -> Mixture:
    """Against H0: ratio >= `unacceptable`. Half of the capital is on a release equal to the champion, the one that is
    to be promoted soon; the other half is spread over the grid."""
    rest = [share(q, unacceptable / m) for m in MULTIPLIERS]
    return Mixture(share(q, unacceptable), (share(q, 1.0), *rest), (0.5, *(0.5 / len(rest),) * len(rest)))


def seldom(limit: float) -> Mixture:
    """Against H0: rate >= `limit`, where the hits are so rare that there should be none. A quarter of the capital is
    on that; the rest is spread as in `below`."""
    rest = [limit * (1.0 - bet) for bet in BETS]
    return Mixture(limit, (limit * (1.0 - NONE), *rest), (0.25, *(0.75 / len(rest),) * len(rest)))


def below(budget: float) -> Mixture:
    """Against H0: rate >= `budget`. Hits are bad requests, misses the others."""
    return _even(budget, [budget * (1.0 - bet) for bet in BETS])


@dataclass(frozen=True, slots=True)
class Restarting:
    """An e-process that starts again and again, so that good history does not hide a late fault.

    The k-th start, one after every `BLOCK` events, gets the share 1/(k(k+1)) of the capital. Unlike a plain e-CUSUM,
    whose false alarms are bounded per event, the sum stays a supermartingale and keeps its alpha for ever.
    """

    logs: tuple[float, ...] = field(default=(math.log(0.5),) * len(MULTIPLIERS))
    """Per alternative: log of the capital in play, over all starts."""
    starts: int = 1
    events: int = 0
    """Since the last start."""

    def after(self, gains: Sequence[float], events: int) -> Restarting:
        logs = tuple(log + gain for log, gain in zip(self.logs, gains, strict=True))
        if self.events + events < BLOCK:
            return Restarting(logs, self.starts, self.events + events)
        start = self.starts + 1
        stake = -math.log(start * (start + 1))
        return Restarting(tuple(log_sum_exp((log, stake)) for log in logs), start, 0)

    def as_json(self) -> dict[str, Any]:
        """Empty where nothing has happened."""
        if self == Restarting():
            return {}
        return {"logs": short(self.logs), "starts": self.starts, "events": self.events}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Restarting:
        return Restarting(tuple(value["logs"]), value["starts"], value["events"]) if value else Restarting()


@lru_cache(maxsize=64)
def ratio_interval(hits: int, misses: int, q: float, level: float = 0.05) -> tuple[float, float, float]:
    """Ratio of the canary's rate to the champion's: estimate, lower and upper end of a confidence sequence.

    The ends hold at every look at once, with probability 1 - `level`: they are the shares of events that a mixture
    with a uniform prior does not reject. The upper end is infinite where the champion has no event to tell.
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
    """The lower end: the smaller share p at which -hits log(p) - misses log(1 - p), which is convex, is `bound`."""
    p = math.exp(-bound / hits)  # below it, and Newton's steps from there stay below
    for _ in range(60):
        above = -hits * math.log(p) - misses * math.log1p(-p) - bound
        step = above / (hits / p - misses / (1.0 - p))
        p += step
        if step <= 1e-12 * p:
            break
    return p


def log_mismatch(canary: int, champion: int, q: float, strength: float = 100.0) -> float:
    """Log e-value against H0: an entity is the canary's with probability `q`. Two-sided.

    The sequential multinomial test with a Dirichlet prior around the split, worth `strength` entities.
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
