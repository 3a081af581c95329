"""One metric at one look: what speaks against the canary, what for it, and what is still missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from serinus.core.rollout import Policy, Tolerance
from serinus.core.values import ArmCounts, Role
from serinus.judge.bursts import Bursts
from serinus.judge.evidence import (
    IN_ROLLOUT,
    IN_STEP,
    IN_WINDOW,
    StepEvidence,
    first_in_rollout,
    first_in_step,
    firsts,
    refused,
    run_out,
)
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

NOTHING = (0.0,) * len(MULTIPLIERS)
NOTHING_FOR = (0.0,) * (len(MULTIPLIERS) + 1)
BURST = 20
"""Events of one entity that clearing allows for before any was seen: an error may sit on few cards, which fail one
request after the other."""
MOST_ALERTS = 0.5
"""Share of the rows that alert, from which on a threshold tells nothing."""


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
    limit: float | None
    """Share of requests from which on a rate matters at all, where the tolerance sets no budget; None: always."""
    suspect: Role = Role.CANARY
    """The arm whose rate must not be the larger one."""
    warms_up: bool = False
    """A new worker has more of them: those at the beginning of a step are no evidence."""

    def trials(self, arm: ArmCounts) -> int:
        return arm.answered if self.needs_answer else arm.requests - refused(arm)


FEWER_ALERTS = Tolerance(rho_ok=2.0, rho_bad=4.0)
"""Of the champion's alert rate to the canary's. A release that has fallen silent would pass every other test."""

METRICS = (
    Metric("errors", "errors", needs_answer=False, rare=True, limit=0.001),
    Metric("fallbacks", "fallbacks", needs_answer=False, rare=True, limit=0.001),
    Metric("missing", "missing", needs_answer=True, rare=True, limit=0.001),
    # slow_ms is the champion's p99: a rate under 1 % means that the canary's own p99 is no worse.
    Metric("slow", "slow", needs_answer=False, rare=False, limit=0.01, warms_up=True),
    Metric("alerts", "alerts", needs_answer=True, rare=False, limit=0.001),
    # Never by a limit: where the champion seldom alerts, silence would be within it.
    Metric("fewer-alerts", "alerts", needs_answer=True, rare=False, limit=None, suspect=Role.CHAMPION),
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
class Look:
    """What is new: the counts now, those that the last look took, and the time between."""

    now: StepEvidence
    taken: StepEvidence | None
    """None: it is the first look of the step."""
    elapsed: float
    seconds: float
    warm_up: float = 0.0
    """Seconds at the beginning of the step in which an arm is not judged by how fast it is."""


@dataclass(frozen=True, slots=True)
class MetricMemory:
    """What cannot be had from the totals: the order in which the events came, and who could have one then."""

    carried: tuple[float, ...] = NOTHING
    """Per alternative: log gains of `E_bad` over all steps, by an entity's first event of the rollout."""
    restarting: Restarting = field(default_factory=Restarting)
    better: tuple[float, ...] = NOTHING_FOR
    """Per alternative: log gains of `E_good` in this step, by the ratio to the other arm."""
    bursts: Bursts = field(default_factory=Bursts)

    def as_json(self) -> dict[str, Any]:
        restarting = {
            "logs": list(self.restarting.logs),
            "starts": self.restarting.starts,
            "events": self.restarting.events,
        }
        return {
            "carried": list(self.carried),
            "restarting": restarting,
            "better": list(self.better),
            "bursts": self.bursts.as_json(),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> MetricMemory:
        was = value["restarting"]
        return MetricMemory(
            tuple(value["carried"]),
            Restarting(tuple(was["logs"]), was["starts"], was["events"]),
            tuple(value["better"]),
            Bursts.from_json(value["bursts"]),
        )

    def for_next_step(self) -> MetricMemory:
        return MetricMemory(carried=self.carried, bursts=self.bursts.for_next_step())


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
    def limit(self) -> float | None:
        return self.metric.limit if self.tolerance.budget is None else self.tolerance.budget

    @property
    def last(self) -> bool:
        """Whether the next verdict is on all traffic."""
        return len(self.history) + 1 >= self.stages

    def remember(self, before: MetricMemory, look: Look) -> MetricMemory:
        """The memory after `look`, whose counts are those of this case.

        Against it by first events alone, which an entity's nature cannot repeat. For it, where these have run out on
        few entities, by the first events of each minute, so that a verdict stays possible.
        """
        if self.metric.warms_up and look.elapsed < look.warm_up:
            return before
        arms = self._arms(look)
        if arms is None:
            return before
        event, trials = self.metric.event, self.metric.trials
        step, rollout = (firsts(scope, event, arms[0], arms[1], trials) for scope in (IN_STEP, IN_ROLLOUT))
        again = firsts(IN_WINDOW, event, arms[0], arms[1], trials) if run_out(event, arms, trials) else step
        memory = before
        if rollout.tells:
            gains = self.against(rollout.share).gains(rollout.hits, rollout.misses)
            memory = replace(memory, carried=_sum(memory.carried, gains))
        if step.tells:
            gains = self.against(step.share).gains(step.hits, step.misses)
            restarting = memory.restarting.after(gains, step.hits + step.misses)
            bursts = memory.bursts.after(gains, look.elapsed, look.seconds)
            memory = replace(memory, restarting=restarting, bursts=bursts)
        if again.tells:
            good = better(again.share, self.tolerance.rho_bad).gains(again.hits, again.misses)
            memory = replace(memory, better=_sum(memory.better, good))
        return memory

    def _arms(self, look: Look) -> tuple[tuple[ArmCounts, ArmCounts | None], tuple[ArmCounts, ArmCounts | None]] | None:
        """Suspect and other, each now and at the last look that was taken."""
        now = arms(self.metric, look.now)
        if now is None:
            return None
        before = None if look.taken is None else arms(self.metric, look.taken)
        return (now[0], before and before[0]), (now[1], before and before[1])

    # --- against it -----------------------------------------------------------------------------------------

    def log_bad(self, memory: MetricMemory) -> float:
        """Log of `E_bad`: the mean of the process carried over all steps and of the restarting one."""
        mixture = self.against(0.5)  # only its weights matter here, and they are the same for every share
        restarting = mixture.log_value(memory.restarting.logs) - math.log(self.stages)
        return log_sum_exp((mixture.log_value(memory.carried), restarting)) - math.log(2.0)

    def log_bad_without_burst(self, memory: MetricMemory) -> float:
        worst = memory.bursts.worst
        starved = replace(memory.restarting, logs=_less(memory.restarting.logs, worst))
        return self.log_bad(replace(memory, carried=_less(memory.carried, worst), restarting=starved))

    def against(self, q: float) -> Mixture:
        return worse(q, self.tolerance.rho_ok)

    # --- for it ---------------------------------------------------------------------------------------------

    @property
    def blind(self) -> str:
        """Why no comparison can show anything, however long it goes on; empty: it can."""
        if self.metric.event != "alerts":
            return ""
        rates = [arm.alerts / arm.answered for arm in (self.now.canary, self.now.champion) if arm and arm.answered]
        if any(rate >= MOST_ALERTS for rate in rates):
            return f"{max(rates):.0%} of the rows alert, so the threshold tells nothing"
        if self.metric.suspect is Role.CHAMPION and len(rates) == 2 and not any(rates):
            return "neither release has alerted once"
        return ""

    def ratio_route(self, memory: MetricMemory) -> tuple[Mixture, tuple[float, ...]] | None:
        seen = arms(self.metric, self.now)
        if seen is None or self.metric.rare:
            return None
        return better(seen[2], self.tolerance.rho_bad), memory.better

    def limit_routes(self) -> list[tuple[Mixture, tuple[float, ...]]]:
        """Each must show that the rate is below the limit; empty: there is none.

        By all events of the suspect arm in this step, not by first ones: more of them make it only harder to clear.
        Before all traffic also by bursts, over the whole rollout: events of one entity count as one, and as many times
        more requests must have been without as a burst is long.
        """
        limit = self.limit
        if limit is None:
            return []
        mixture = below(limit)
        arm = self._suspect(self.now)
        if arm is None:
            return [(mixture, mixture.gains(0, 0))]
        trials = self.metric.trials(arm)
        bad = min(getattr(arm, self.metric.event), trials)
        routes = [(mixture, mixture.gains(bad, trials - bad))]
        if self.last and self.stages > 0:
            routes.append(self._by_bursts(limit))
        return routes

    def _by_bursts(self, limit: float) -> tuple[Mixture, tuple[float, ...]]:
        arms = [arm for step in (*self.history, self.now) if (arm := self._suspect(step)) is not None]
        trials = sum(self.metric.trials(arm) for arm in arms)
        bursts = min(sum(first_in_rollout(arm, self.metric.event) for arm in arms), trials)
        unacceptable = limit * (self.tolerance.rho_bad if self.metric.rare else 1.0)
        mixture = below(unacceptable / self._burst())
        return mixture, mixture.gains(bursts, trials - bursts)

    def _burst(self) -> float:
        """Events of one entity, as seen in the rollout so far, with one burst of `BURST` for what was not seen yet."""
        arms = [arm for step in (*self.history, self.now) if (arm := self._suspect(step)) is not None]
        events = sum(getattr(arm, self.metric.event) for arm in arms)
        bursts = sum(first_in_rollout(arm, self.metric.event) for arm in arms)
        return max(1.0, float(BURST + events) / (1 + bursts))

    def _suspect(self, step: StepEvidence) -> ArmCounts | None:
        return step.canary if self.metric.suspect is Role.CANARY else step.champion

    def log_good(self, memory: MetricMemory) -> float:
        """Log of `E_good`. A frequent metric is unacceptable only where its ratio is *and* its rate reaches the
        limit; under that null each route is an e-process, and so is their mean."""
        if self.blind:
            return -math.inf
        ratio = self.ratio_route(memory)
        routes = self.limit_routes()
        by_limit = min((mixture.log_value(gains) for mixture, gains in routes), default=-math.inf)
        if ratio is None:
            return by_limit
        by_ratio = ratio[0].log_value(ratio[1])
        return log_sum_exp((by_limit, by_ratio)) - math.log(2.0) if routes else by_ratio

    def needs(self, memory: MetricMemory) -> float:
        """About how many more requests of the canary until it is cleared, if both arms go on at the rate seen."""
        if self.blind:
            return math.inf
        routes = self.limit_routes()
        target = math.log(1.0 / self.policy.beta) + (math.log(2.0) if routes and not self.metric.rare else 0.0)
        trials, rate = self._pooled()
        q = self.now.q
        truths = (rate, rate / self._burst())
        requests = max(
            (route.needed(gains, truth, target) for (route, gains), truth in zip(routes, truths, strict=False)),
            default=math.inf,
        )
        if self.metric.suspect is Role.CHAMPION:
            requests *= q / (1.0 - q)
        ratio = self.ratio_route(memory)
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


def _sum(one: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _less(one: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
    return tuple(a - b for a, b in zip(one, other, strict=True))


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
        holds at once, which is one event, not twenty."""
        return self.reaches_bound and self.log_bad_without_burst >= math.log(self.bound_bad)

    @property
    def held_back(self) -> bool:
        """`E_bad` reaches its bound, but by one burst alone."""
        return self.reaches_bound and not self.abort

    @property
    def reaches_bound(self) -> bool:
        return self.log_bad >= math.log(self.bound_bad)

    @property
    def cleared(self) -> bool:
        return self.log_good >= math.log(1.0 / self.case.policy.beta)

    @property
    def state(self) -> str:
        if self.abort:
            return "aborted"
        if not self.judged:
            return "not judged"
        return "cleared" if self.cleared else "open"

    def needs(self) -> float:
        return self.case.needs(self.memory) if self.state == "open" else 0.0


def weigh(case: Case, before: MetricMemory, look: Look | None) -> Evidence:
    """`look`: None where what is new cannot be taken yet."""
    memory = before if look is None else case.remember(before, look)
    return Evidence(
        case=case,
        memory=memory,
        log_bad=case.log_bad(memory),
        log_bad_without_burst=case.log_bad_without_burst(memory),
        log_good=case.log_good(memory),
        judged=case.metric.rare or arms(case.metric, case.now) is not None,
    )


def ratio_of(case: Case) -> tuple[float, float, float]:
    """Of the canary's rate to the champion's in this step, by first events: estimate, low, high."""
    canary, champion = case.now.canary, case.now.champion
    if canary is None or champion is None or not 0.0 < case.now.q < 1.0:
        return math.nan, 0.0, math.inf
    event = case.metric.event
    return ratio_interval(first_in_step(canary, event), first_in_step(champion, event), case.now.q)
