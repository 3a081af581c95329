"""The evidence for the canary in one metric, and how much of it is still missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from serinus.core.evidence import ArmCounts
from serinus.core.routing import Role
from serinus.judge.against import Case
from serinus.judge.evidence import first_in_rollout, first_in_step
from serinus.judge.memory import MetricMemory
from serinus.judge.metrics import arms
from serinus.judge.mixture import Mixture, below, better, log_sum_exp, seldom, share

BURST = 22
"""The number of events of one entity that is assumed before any was observed. An error may affect few cards, whose
requests fail one after the other."""
MOST_ALERTS = 0.5
"""The share of alerting rows from which on a threshold is meaningless."""

_Route = tuple[Mixture, tuple[float, ...]]
"""An e-process: its bets and their log gains so far."""


def log_good(case: Case, memory: MetricMemory) -> float:
    """Returns the logarithm of `E_good`.

    A frequent metric is unacceptable only where its ratio is, and its rate reaches the limit. Under that null
    hypothesis each route is an e-process, and so is their mean.
    """
    if blind(case):
        return -math.inf
    ratio, routes = _ratio_route(case, memory), _limit_routes(case)
    by_limit = min((mixture.log_value(gains) for mixture, gains in routes), default=-math.inf)
    if ratio is None:
        return by_limit
    by_ratio = ratio[0].log_value(ratio[1])
    return log_sum_exp((by_limit, by_ratio)) - math.log(2.0) if routes else by_ratio


def blind(case: Case) -> str:
    """Returns why no comparison can show anything, however long it lasts. Empty: it can."""
    if case.metric.event != "alerts":
        return ""
    rates = [arm.alerts / arm.answered for arm in (case.now.canary, case.now.champion) if arm and arm.answered]
    if any(rate >= MOST_ALERTS for rate in rates):
        return f"{max(rates):.0%} of the rows alert, so the alert rate cannot be compared"
    if case.metric.suspect is Role.CHAMPION and len(rates) == 2 and not any(rates):
        return "no release has alerted yet"
    return ""


def needs(case: Case, memory: MetricMemory) -> float:
    """Returns about how many more requests of the canary clear the metric, at the rates observed so far."""
    if blind(case):
        return math.inf
    routes = _limit_routes(case)
    target = math.log(1.0 / case.policy.beta) + (math.log(2.0) if routes and not case.metric.rare else 0.0)
    trials, rate = _pooled(case)
    q = case.now.q
    truths = (rate, rate / _burst(case))
    requests = max(
        (route.needed(gains, truth, target) for (route, gains), truth in zip(routes, truths, strict=False)),
        default=math.inf,
    )
    if case.metric.suspect is Role.CHAMPION:
        requests *= q / (1.0 - q)
    ratio = _ratio_route(case, memory)
    if ratio is not None and rate > 0.0:
        suspect_share = q if case.metric.suspect is Role.CANARY else 1.0 - q
        events = ratio[0].needed(ratio[1], share(suspect_share, 1.0), target)
        requests = min(requests, events * trials / _first_events(case) * q)
    return requests


def _ratio_route(case: Case, memory: MetricMemory) -> _Route | None:
    seen = arms(case.metric, case.now)
    if seen is None or case.metric.rare:
        return None
    return better(seen[2], case.tolerance.rho_bad), memory.better


def _limit_routes(case: Case) -> list[_Route]:
    """Returns the routes that must all show that the rate is below the limit. Empty: there is no limit.

    All events of the suspect arm in this step are counted, not only first ones, which makes it harder to clear. Before
    all traffic, bursts over the whole rollout are considered as well: the events of one entity count as one, and the
    number of requests without an event must be larger by the length of a burst.
    """
    limit = case.limit
    if limit is None:
        return []
    mixture = below(limit)
    arm = case.suspect(case.now)
    if arm is None:
        return [(mixture, mixture.gains(0, 0))]
    trials = case.metric.trials(arm)
    bad = min(getattr(arm, case.metric.event), trials)
    routes = [(mixture, mixture.gains(bad, trials - bad))]
    if case.last and case.stages > 0:
        routes.append(_by_bursts(case, limit))
    return routes


def _by_bursts(case: Case, limit: float) -> _Route:
    arms = [arm for step in (*case.history, case.now) if (arm := case.suspect(step)) is not None]
    trials = sum(case.metric.trials(arm) for arm in arms)
    bursts = min(sum(first_in_rollout(arm, case.metric.event) for arm in arms), trials)
    unacceptable = limit * (case.tolerance.rho_bad if case.metric.rare else 1.0)
    mixture = seldom(unacceptable / _burst(case))
    return mixture, mixture.gains(bursts, trials - bursts)


def _burst(case: Case) -> float:
    """Returns the number of events of one entity, as observed in the rollout, with one burst of `BURST` as a prior.

    The champion may have shown longer ones.
    """
    steps = (*case.history, case.now)
    own = [arm for step in steps if (arm := case.suspect(step)) is not None]
    others = [arm for step in steps if (arm := step.champion) is not None]
    return max(1.0, _burst_of(case, own), _burst_of(case, [*own, *others]))


def _burst_of(case: Case, arms: Sequence[ArmCounts]) -> float:
    events = sum(getattr(arm, case.metric.event) for arm in arms)
    bursts = sum(first_in_rollout(arm, case.metric.event) for arm in arms)
    unfinished = BURST if bursts else 0  # The last burst may not have ended.
    return float(BURST + events + unfinished) / (1 + bursts)


def _pooled(case: Case) -> tuple[int, float]:
    """Returns the requests of both arms in this step and the rate of the event among them."""
    arms = [arm for arm in (case.now.canary, case.now.champion) if arm is not None]
    trials = sum(case.metric.trials(arm) for arm in arms)
    events = sum(getattr(arm, case.metric.event) for arm in arms)
    return trials, min(events / trials, 0.999) if trials else 0.0


def _first_events(case: Case) -> int:
    arms = (case.now.canary, case.now.champion)
    return max(sum(first_in_step(arm, case.metric.event) for arm in arms if arm is not None), 1)
