"""How many requests a step will take, told beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from serinus.core.rollout import Policy, Tolerance
from serinus.core.values import WHOLE, Role
from serinus.judge.metrics import METRICS, Metric, tolerance_of
from serinus.judge.mixture import below, better, share, worse

BASE_RATES: Mapping[str, float] = {
    "errors": 0.0,
    "fallbacks": 0.0,
    "missing": 0.0,
    "slow": 0.01,
    "alerts": 0.005,
}
"""Of a healthy release, where nothing better is known."""
HARM = 3.0
"""A harmful release has this many times the champion's rate; of fewer alerts: it has fallen silent."""
_RARE_HARM = 0.01
"""... and this rate of what should not happen at all."""


@dataclass(frozen=True, slots=True)
class Required:
    """Of one metric in one step, by expectation, in requests that the canary answers. Infinite: never."""

    metric: str
    to_clear: float
    """For a release as good as the champion."""
    to_abort: float
    """For a harmful one."""


def required(policy: Policy, weight: int, rates: Mapping[str, float] = BASE_RATES) -> tuple[Required, ...]:
    """For a step at `weight` out of `WHOLE`. `rates`: share of the champion's requests with such an event.

    Divide by `weight / WHOLE` for the requests of both arms together.
    """
    q = weight / WHOLE
    needs = []
    for metric in METRICS:
        tolerance, rate = tolerance_of(metric, policy), rates.get(metric.event, 0.0)
        if tolerance is not None:
            case = _Case(policy, metric, tolerance, q, rate)
            needs.append(Required(metric.name, case.to_clear(), case.to_abort()))
    return tuple(needs)


@dataclass(frozen=True, slots=True)
class _Case:
    policy: Policy
    metric: Metric
    tolerance: Tolerance
    q: float
    rate: float

    @property
    def own(self) -> float:
        """The suspect arm's share of traffic."""
        return self.q if self.metric.suspect is Role.CANARY else 1.0 - self.q

    def to_clear(self) -> float:
        share_of = self.metric.limit if self.tolerance.budget is None else self.tolerance.budget
        halves = not self.metric.rare and share_of is not None
        target = math.log(1.0 / self.policy.beta) + (math.log(2.0) if halves else 0.0)
        by_limit = math.inf
        if share_of is not None and self.own:
            limit = below(share_of)
            by_limit = limit.needed(limit.gains(0, 0), self.rate, target) * self.q / self.own
        if self.metric.rare or self.rate == 0.0 or not 0.0 < self.q < 1.0:
            return by_limit
        ratio = better(self.own, self.tolerance.rho_bad)
        events = ratio.needed(ratio.gains(0, 0), share(self.own, 1.0), target)
        return min(by_limit, events / self.rate * self.q)

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
        # `E_bad` is the mean of two processes: the one that is carried along needs twice the bound by itself.
        target = math.log(2.0 * self.policy.metrics_for_alpha / self.policy.alpha)
        hits = from_canary if self.metric.suspect is Role.CANARY else from_champion
        against = worse(self.own, self.tolerance.rho_ok)
        return against.needed(against.gains(0, 0), hits / events, target) / events * self.q
