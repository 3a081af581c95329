"""One metric at one look: what speaks against the canary, what for it, and what is still missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from serinus.core.evidence import ArmCounts
from serinus.core.rollout import Policy, Tolerance
from serinus.core.routing import Role
from serinus.judge.bounded import NOTHING, WINDOWS
from serinus.judge.bounded import SECONDS as WINDOW
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
from serinus.judge.memory import MetricMemory, added, no_more
from serinus.judge.mixture import (
    Mixture,
    below,
    better,
    log_sum_exp,
    ratio_interval,
    seldom,
    share,
    worse,
)

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
    silence: float = 0.0
    """Seconds that one arm's counts may be late."""


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
        arms = self._arms(look)
        if arms is None:
            return before
        memory = self._with_levels(before, look)
        if self.metric.warms_up and look.elapsed < look.warm_up:
            return memory
        event, trials = self.metric.event, self.metric.trials
        step, rollout = (firsts(scope, event, arms[0], arms[1], trials) for scope in (IN_STEP, IN_ROLLOUT))
        again = firsts(IN_WINDOW, event, arms[0], arms[1], trials) if run_out(event, arms, trials) else step
        in_rollout, in_step, events = NOTHING, NOTHING, 0
        if rollout.tells:
            in_rollout = self.against(rollout.share).gains(rollout.hits, rollout.misses)
        if step.tells:
            in_step = self.against(step.share).gains(step.hits, step.misses)
            events = step.hits + step.misses
        memory = replace(
            memory,
            carried=added(memory.carried, in_rollout),
            restarting=memory.restarting.after(in_step, events),
        )
        if self.metric.suspect is Role.CHAMPION and memory.levels[0].departs:
            in_rollout, in_step = no_more(in_rollout), no_more(in_step)
        most, seconds = self._most(look), look.seconds - 2.0 * look.silence  # what was waited for says nothing more
        bounded = memory.bounded.after(in_rollout, in_step, events, look.elapsed, seconds, most)
        memory = replace(memory, bounded=bounded, most=most)
        if again.tells:
            good = better(again.share, self.tolerance.rho_bad).gains(again.hits, again.misses)
            departs = memory.levels[0 if self.metric.suspect is Role.CANARY else 1].departs
            memory = replace(memory, better=added(memory.better, no_more(good) if departs else good))
        return memory

    def _most(self, look: Look) -> float:
        """The log by which one window may grow: `WINDOWS` of them, and as many more as one arm's counts may be late,
        stay below the bound."""
        return math.log(self.policy.metrics_for_alpha / self.policy.alpha) / (WINDOWS + look.silence / WINDOW)

    def _with_levels(self, before: MetricMemory, look: Look) -> MetricMemory:
        """What was shown for the release by a level that was none is void."""
        if self.metric.rare:
            return before
        levels = []
        for role, level in zip((Role.CHAMPION, Role.CANARY), before.levels, strict=True):
            now, was = (None if step is None else _arm(step, role) for step in (look.now, look.taken))
            events, trials = self._counted(now), self._counted(was)
            levels.append(level.after(events[0] - trials[0], events[1] - trials[1], look.seconds))
        champion, canary = levels
        good = champion if self.metric.suspect is Role.CANARY else canary
        return replace(before, levels=(champion, canary), better=no_more(before.better) if good.sank else before.better)

    def _counted(self, arm: ArmCounts | None) -> tuple[int, int]:
        return (0, 0) if arm is None else (getattr(arm, self.metric.event), self.metric.trials(arm))

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
        """The same, with no more of each window than a stall may tell."""
        carried, logs = memory.bounded.whole(memory.most)
        restarting = replace(memory.restarting, logs=logs)
        return self.log_bad(replace(memory, carried=carried, restarting=restarting))

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
        mixture = seldom(unacceptable / self._burst())
        return mixture, mixture.gains(bursts, trials - bursts)

    def _burst(self) -> float:
        """Events of one entity, as seen in the rollout so far, with one burst of `BURST` for what was not seen yet. The
        champion may have shown longer ones."""
        steps = (*self.history, self.now)
        own = [arm for step in steps if (arm := self._suspect(step)) is not None]
        others = [arm for step in steps if (arm := step.champion) is not None]
        return max(1.0, self._burst_of(own), self._burst_of([*own, *others]))

    def _burst_of(self, arms: Sequence[ArmCounts]) -> float:
        events = sum(getattr(arm, self.metric.event) for arm in arms)
        bursts = sum(first_in_rollout(arm, self.metric.event) for arm in arms)
        unfinished = BURST if bursts else 0  # the last one may go on
        return float(BURST + events + unfinished) / (1 + bursts)

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


def _arm(step: StepEvidence, role: Role) -> ArmCounts | None:
    return step.canary if role is Role.CANARY else step.champion


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
