"""Estimates of how many requests a step will take, for independent requests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serinus.core.rollout import Policy, Step, Tolerance
from serinus.core.routing import WHOLE, Role
from serinus.judge.clearing import BURST
from serinus.judge.metrics import METRICS, Metric, tolerance_of
from serinus.judge.mixture import below, better, seldom, share, worse

BASE_RATES: Mapping[str, float] = {
    "errors": 0.0,
    "fallbacks": 0.0,
    "missing": 0.0,
    "slow": 0.01,
    "alerts": 0.005,
}
"""The rates of a healthy release, where nothing better is known."""
HARM = 3.0
"""The rate of a harmful release, as a multiple of the champion's. For `fewer alerts` it has none."""
ALL_CLEARED = 1.4
"""The factor over its expectation within which a frequent metric clears in 79% of the streams, so that all three clear
in half of them.

The logarithm of an e-value grows with a variance of about twice its drift, so its time to a bound of 40 has an inverse
Gaussian distribution.
"""
_RARE_HARM = 0.01
"""The rate of a harmful release for events that should not happen at all."""


@dataclass(frozen=True, slots=True)
class Required:
    """The expected number of requests that the canary answers until one metric is decided in one step. Infinite:
    never."""

    metric: str
    to_clear: float
    """For a release as good as the champion."""
    to_abort: float
    """For a harmful release."""


def required(
    policy: Policy, weight: int, rates: Mapping[str, float] = BASE_RATES, *, before: float | None = None
) -> tuple[Required, ...]:
    """Returns the expected requests for a step at `weight` out of `WHOLE`.

    `rates` are the shares of the champion's requests with such an event. `before`, for the last step, are the requests
    that the canary has answered in the steps before it: what is cleared before all traffic is also cleared by bursts,
    over the whole rollout. Divide by `weight / WHOLE` for the requests of both arms together.
    """
    q = weight / WHOLE
    needs = []
    for metric in METRICS:
        tolerance, rate = tolerance_of(metric, policy), rates.get(metric.event, 0.0)
        if tolerance is not None:
            case = _Case(policy, metric, tolerance, q, rate, before)
            needs.append(Required(metric.name, case.to_clear(), case.to_abort()))
    return tuple(needs)


def clean(policy: Policy, steps: Sequence[Step], rates: Mapping[str, float] = BASE_RATES) -> tuple[float, ...]:
    """Returns the median number of requests in each step that a canary as good as the champion answers until it
    passes."""
    needed: list[float] = []
    for index, step in enumerate(steps):
        before = sum(needed) if index == len(steps) - 1 else None
        metrics = required(policy, step.weight, rates, before=before)
        times = {metric.name: 1.0 if metric.rare else ALL_CLEARED for metric in METRICS}
        needed.append(max(float(step.minimum_requests), *(one.to_clear * times[one.metric] for one in metrics)))
    return tuple(needed)


@dataclass(frozen=True, slots=True)
class _Case:
    policy: Policy
    metric: Metric
    tolerance: Tolerance
    q: float
    rate: float
    before: float | None

    @property
    def own(self) -> float:
        """The suspect arm's share of the traffic."""
        return self.q if self.metric.suspect is Role.CANARY else 1.0 - self.q

    def to_clear(self) -> float:
        share_of = self.metric.limit if self.tolerance.budget is None else self.tolerance.budget
        halves = not self.metric.rare and share_of is not None
        target = math.log(1.0 / self.policy.beta) + (math.log(2.0) if halves else 0.0)
        by_limit = math.inf
        if share_of is not None and self.own:
            limit = below(share_of)
            by_limit = max(limit.needed(limit.gains(0, 0), self.rate, target), self._by_bursts(share_of, target))
            by_limit *= self.q / self.own
        if self.metric.rare or self.rate == 0.0 or not 0.0 < self.q < 1.0:
            return by_limit
        ratio = better(self.own, self.tolerance.rho_bad)
        events = ratio.needed(ratio.gains(0, 0), share(self.own, 1.0), target)
        return min(by_limit, events / self.rate * self.q)

    def _by_bursts(self, limit: float, target: float) -> float:
        """Returns the requests needed where each entity has one event, and the suspect's first burst is still to
        come."""
        if self.before is None:
            return 0.0
        unacceptable = limit * (self.tolerance.rho_bad if self.metric.rare else 1.0)
        size = BURST if self.rate == 0.0 else 1.0
        bursts = seldom(unacceptable / size)
        return bursts.needed(bursts.gains(self.rate * self.before, (1.0 - self.rate) * self.before), self.rate, target)

    def to_abort(self) -> float:
        if not 0.0 < self.q < 1.0:
            return math.inf
        if self.metric.suspect is Role.CHAMPION:
            canary, champion = 0.0, self.rate
        else:
            canary, champion = max(HARM * self.rate, _RARE_HARM if self.metric.rare else 0.0), self.rate
        from_canary, from_champion = self.q * canary, (1.0 - self.q) * champion
        events = from_canary + from_champion
        if events == 0.0:
            return math.inf
        # `E_bad` is the mean of two processes, so the one that runs over all steps needs twice the bound by itself.
        target = math.log(2.0 * self.policy.metrics_for_alpha / self.policy.alpha)
        hits = from_canary if self.metric.suspect is Role.CANARY else from_champion
        against = worse(self.own, self.tolerance.rho_ok)
        return against.needed(against.gains(0, 0), hits / events, target) / events * self.q
