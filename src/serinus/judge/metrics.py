"""One metric at one look: what speaks against the canary, what for it, and what is still missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serinus.core.rollout import Policy, Tolerance
from serinus.core.values import ArmCounts, Role
from serinus.judge.evidence import StepEvidence, first_in_rollout, first_in_step, refused
from serinus.judge.mixture import (
    MULTIPLIERS,
    Mixture,
    Restarting,
    below,
    better,
    log_sum_exp,
    ratio_interval,
    share,
    worse,
)

NO_BURST = (0.0,) * len(MULTIPLIERS)


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that must not happen more often on one arm than on the other."""

    name: str
    event: str
    """Name of the count in `ArmCounts`."""
    needs_answer: bool
    """Only answered requests can have such an event; else all but those that were turned away."""
    rare: bool
    """Cleared by the absolute limit alone. Else: by the ratio to the other arm, or by the limit."""
    limit: float
    """Share of requests from which on a rate matters at all, where the tolerance sets no budget."""
    suspect: Role = Role.CANARY
    """The arm whose rate must not be the larger one."""

    def trials(self, arm: ArmCounts) -> int:
        return arm.answered if self.needs_answer else arm.requests - refused(arm)


FEWER_ALERTS = Tolerance(rho_ok=2.0, rho_bad=4.0)
"""Of the champion's alert rate to the canary's. A release that has fallen silent would pass every other test."""

METRICS = (
    Metric("errors", "errors", needs_answer=False, rare=True, limit=0.001),
    Metric("fallbacks", "fallbacks", needs_answer=False, rare=True, limit=0.001),
    Metric("missing", "missing", needs_answer=True, rare=True, limit=0.001),
    # slow_ms is the champion's p99: a rate under 1 % means that the canary's own p99 is no worse.
    Metric("slow", "slow", needs_answer=False, rare=False, limit=0.01),
    Metric("alerts", "alerts", needs_answer=True, rare=False, limit=0.001),
    Metric("fewer-alerts", "alerts", needs_answer=True, rare=False, limit=0.001, suspect=Role.CHAMPION),
)


def tolerance_of(metric: Metric, policy: Policy) -> Tolerance | None:
    if metric.name == "fewer-alerts":
        return None if policy.alerts is None else FEWER_ALERTS
    tolerance: Tolerance | None = getattr(policy, metric.name)
    return tolerance


def arms(metric: Metric, step: StepEvidence) -> tuple[ArmCounts, ArmCounts, float] | None:
    """Suspect, other, the suspect's share of traffic; None where there is nothing to compare."""
    champion, canary = step.champion, step.canary
    if champion is None or canary is None or not 0.0 < step.q < 1.0:
        return None
    return (canary, champion, step.q) if metric.suspect is Role.CANARY else (champion, canary, 1.0 - step.q)


@dataclass(frozen=True, slots=True)
class MetricMemory:
    """What cannot be had from the totals: the order in which the events came."""

    seen: tuple[int, int] = (0, 0)
    """First events in this step at the last look: of the suspect arm, of the other one."""
    restarting: Restarting = field(default_factory=Restarting)
    burst: tuple[float, ...] = NO_BURST
    """Per alternative, the most that one short look has ever gained. See `Evidence.abort`."""

    def as_json(self) -> dict[str, Any]:
        restarting = {
            "logs": list(self.restarting.logs),
            "starts": self.restarting.starts,
            "events": self.restarting.events,
        }
        return {"seen": list(self.seen), "restarting": restarting, "burst": list(self.burst)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> MetricMemory:
        was = value["restarting"]
        restarting = Restarting(tuple(was["logs"]), was["starts"], was["events"])
        return MetricMemory((value["seen"][0], value["seen"][1]), restarting, tuple(value["burst"]))

    def for_next_step(self) -> MetricMemory:
        return MetricMemory(burst=self.burst)


@dataclass(frozen=True, slots=True)
class Case:
    """One metric with all its evidence, seen from the suspect arm."""

    metric: Metric
    tolerance: Tolerance
    policy: Policy
    stages: int
    """Steps of the rollout: the restarting process' capital is divided over them."""
    history: Sequence[StepEvidence]
    now: StepEvidence

    @property
    def limit(self) -> float:
        return self.metric.limit if self.tolerance.budget is None else self.tolerance.budget

    # --- against it -----------------------------------------------------------------------------------------

    def carried(self) -> tuple[float, ...]:
        """Log gains of `E_bad` over all steps, each with the share that was in force."""
        total = NO_BURST
        for step in (*self.history, self.now):
            if seen := arms(self.metric, step):
                suspect, other, q = seen
                event = self.metric.event
                gains = self.against(q).gains(first_in_rollout(suspect, event), first_in_rollout(other, event))
                total = tuple(a + b for a, b in zip(total, gains, strict=True))
        return total

    def remember(self, before: MetricMemory, *, short_look: bool) -> MetricMemory:
        """The memory after this look. `short_look`: it spans so little time that its events may have one cause."""
        seen = arms(self.metric, self.now)
        if seen is None:
            return before
        suspect, other, q = seen
        hits, misses = first_in_step(suspect, self.metric.event), first_in_step(other, self.metric.event)
        new = hits - before.seen[0], misses - before.seen[1]
        gains = self.against(q).gains(*new)
        burst = tuple(max(a, b) for a, b in zip(before.burst, gains, strict=True)) if short_look else before.burst
        return MetricMemory((hits, misses), before.restarting.after(gains, sum(new)), burst)

    def log_bad(self, carried: Sequence[float], memory: MetricMemory) -> float:
        """Log of `E_bad`: the mean of the process carried over all steps and of the restarting one."""
        mixture = self.against(0.5)  # only its weights matter here, and they are the same for every share
        restarting = mixture.log_value(memory.restarting.logs) - math.log(self.stages)
        return log_sum_exp((mixture.log_value(carried), restarting)) - math.log(2.0)

    def log_bad_without_burst(self, carried: Sequence[float], memory: MetricMemory) -> float:
        def less(gains: Sequence[float]) -> tuple[float, ...]:
            return tuple(gain - burst for gain, burst in zip(gains, memory.burst, strict=True))

        starved = Restarting(less(memory.restarting.logs), memory.restarting.starts, memory.restarting.events)
        return self.log_bad(less(carried), MetricMemory(memory.seen, starved, memory.burst))

    # --- for it ---------------------------------------------------------------------------------------------

    def ratio_route(self) -> tuple[Mixture, tuple[float, ...]] | None:
        seen = arms(self.metric, self.now)
        if seen is None or self.metric.rare:
            return None
        suspect, other, q = seen
        mixture = better(q, self.tolerance.rho_bad)
        event = self.metric.event
        return mixture, mixture.gains(first_in_step(suspect, event), first_in_step(other, event))

    def limit_route(self) -> tuple[Mixture, tuple[float, ...]]:
        """By all events of the suspect arm, not by first ones: more of them make it only harder to clear."""
        mixture = below(self.limit)
        arm = self.now.canary if self.metric.suspect is Role.CANARY else self.now.champion
        if arm is None:
            return mixture, mixture.gains(0, 0)
        trials = self.metric.trials(arm)
        bad = min(getattr(arm, self.metric.event), trials)
        return mixture, mixture.gains(bad, trials - bad)

    def log_good(self) -> float:
        """Log of `E_good`. A frequent metric is unacceptable only where its ratio is *and* its rate reaches the
        limit; under that null each route is an e-process, and so is their mean."""
        mixture, gains = self.limit_route()
        by_limit = mixture.log_value(gains)
        ratio = self.ratio_route()
        if ratio is None:
            return by_limit
        return log_sum_exp((by_limit, ratio[0].log_value(ratio[1]))) - math.log(2.0)

    def needs(self) -> float:
        """About how many more requests of the canary until it is cleared, if both arms go on at the rate seen."""
        target = math.log(1.0 / self.policy.beta) + (0.0 if self.metric.rare else math.log(2.0))
        trials, rate = self._pooled()
        mixture, gains = self.limit_route()
        requests = mixture.needed(gains, rate, target)
        q = self.now.q
        if self.metric.suspect is Role.CHAMPION:
            requests *= q / (1.0 - q)
        ratio = self.ratio_route()
        if ratio is not None and rate > 0.0:
            suspect_share = q if self.metric.suspect is Role.CANARY else 1.0 - q
            events = ratio[0].needed(ratio[1], share(suspect_share, 1.0), target)
            requests = min(requests, events * trials / self._first_events() * q)
        return requests

    def _pooled(self) -> tuple[int, float]:
        """Requests of both arms in this step, and the rate at which they have the event."""
        arms = [arm for arm in (self.now.canary, self.now.champion) if arm is not None]
        trials = sum(self.metric.trials(arm) for arm in arms)
        events = sum(getattr(arm, self.metric.event) for arm in arms)
        return trials, min(events / trials, 0.999) if trials else 0.0

    def _first_events(self) -> int:
        arms = (self.now.canary, self.now.champion)
        return max(sum(first_in_step(arm, self.metric.event) for arm in arms if arm is not None), 1)

    def against(self, q: float) -> Mixture:
        return worse(q, self.tolerance.rho_ok)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one look says of one metric."""

    case: Case
    memory: MetricMemory
    log_bad: float
    log_bad_without_burst: float
    log_good: float
    judged: bool
    """False: a comparison is needed but the champion has no traffic beside the canary."""

    @property
    def name(self) -> str:
        return self.case.metric.name

    @property
    def bound_bad(self) -> float:
        return self.case.policy.metrics_for_alpha / self.case.policy.alpha

    @property
    def abort(self) -> bool:
        """`E_bad` reaches its bound, and not by one burst alone: a worker that stalls for a moment fails all that it
        holds at once, which is one event, not twenty. An arm that fails most of its requests gets no such grace."""
        arm = self.case.now.canary
        dead = arm is not None and 2 * arm.answered < arm.requests - refused(arm)
        log_bad = self.log_bad if dead else min(self.log_bad, self.log_bad_without_burst)
        return log_bad >= math.log(self.bound_bad)

    @property
    def cleared(self) -> bool:
        return self.log_good >= math.log(1.0 / self.case.policy.beta)

    @property
    def state(self) -> str:
        if self.abort:
            return "bad"
        if not self.judged:
            return "not judged"
        return "cleared" if self.cleared else "open"


def weigh(case: Case, before: MetricMemory, *, short_look: bool) -> Evidence:
    memory = case.remember(before, short_look=short_look)
    carried = case.carried()
    return Evidence(
        case=case,
        memory=memory,
        log_bad=case.log_bad(carried, memory),
        log_bad_without_burst=case.log_bad_without_burst(carried, memory),
        log_good=case.log_good(),
        judged=case.metric.rare or arms(case.metric, case.now) is not None,
    )


def ratio_of(case: Case) -> tuple[float, float, float]:
    """Of the canary's rate to the champion's in this step, by first events: estimate, low, high."""
    canary, champion = case.now.canary, case.now.champion
    if canary is None or champion is None or not 0.0 < case.now.q < 1.0:
        return math.nan, 0.0, math.inf
    event = case.metric.event
    return ratio_interval(first_in_step(canary, event), first_in_step(champion, event), case.now.q)
