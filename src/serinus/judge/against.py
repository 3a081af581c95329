"""The evidence against the canary in one metric, and the memory that it needs from look to look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from serinus.core.evidence import ArmCounts
from serinus.core.rollout import Policy, Tolerance
from serinus.core.routing import Role
from serinus.judge.bounded import NOTHING, WINDOWS
from serinus.judge.bounded import SECONDS as WINDOW
from serinus.judge.evidence import IN_ROLLOUT, IN_STEP, IN_WINDOW, Firsts, StepEvidence, firsts, run_out
from serinus.judge.levels import Level
from serinus.judge.memory import MetricMemory, added, no_more
from serinus.judge.metrics import Metric, arms
from serinus.judge.mixture import better, log_mean, log_sum_exp, worse


@dataclass(frozen=True, slots=True)
class Look:
    """The news of a look: the present counts, the counts of the last look that was taken, and the time between them."""

    now: StepEvidence
    taken: StepEvidence | None
    """None: this is the first look of the step."""
    elapsed: float
    seconds: float
    warm_up: float = 0.0
    """Seconds at the beginning of the step in which the latency of an arm is not judged."""
    silence: float = 0.0
    """Seconds by which the counts of one arm may be late."""


@dataclass(frozen=True, slots=True)
class Case:
    """One metric with all its evidence. The suspect is the arm whose rate must not be the larger one."""

    metric: Metric
    tolerance: Tolerance
    policy: Policy
    stages: int
    """The number of steps of the rollout. The capital of the restarting process is divided by it."""
    history: Sequence[StepEvidence]
    now: StepEvidence

    @property
    def limit(self) -> float | None:
        """The share of requests below which the metric does not matter. None: it always matters."""
        return self.metric.limit if self.tolerance.budget is None else self.tolerance.budget

    @property
    def last(self) -> bool:
        """Whether the next verdict is on all traffic."""
        return len(self.history) + 1 >= self.stages

    def suspect(self, step: StepEvidence) -> ArmCounts | None:
        """Returns the counts of the suspect arm. None: unknown."""
        return _arm(step, self.metric.suspect)

    def remember(self, before: MetricMemory, look: Look) -> MetricMemory:
        """Returns the memory after `look`, whose counts are those of this case.

        The evidence against the canary counts first events only, so that the nature of one entity cannot repeat itself.
        The evidence for it counts the first events of each minute where few entities have used up their first events,
        so that a verdict stays possible.
        """
        arms = self._arms(look)
        if arms is None:
            return before
        levels, void = self._levels(before, look)
        for_it = no_more(before.better) if void else before.better
        if self.metric.warms_up and look.elapsed < look.warm_up:
            return replace(before, levels=levels, better=for_it)
        event, trials = self.metric.event, self.metric.trials
        step, rollout = (firsts(scope, event, arms[0], arms[1], trials) for scope in (IN_STEP, IN_ROLLOUT))
        in_rollout, in_step = self._gains(rollout), self._gains(step)
        events = step.hits + step.misses if step.tells else 0
        carried = before.carried if in_rollout is NOTHING else added(before.carried, in_rollout)
        restarting = before.restarting.after(in_step, events) if events else before.restarting
        if self.metric.suspect is Role.CHAMPION and levels[0].departs:
            in_rollout, in_step = no_more(in_rollout), no_more(in_step)
        # The time that a look has waited for late counts does not allow for more evidence.
        most, seconds = self._most(look), look.seconds - 2.0 * look.silence
        bounded = before.bounded.after(in_rollout, in_step, events, look.elapsed, seconds, most)
        if not self.metric.rare:
            again = firsts(IN_WINDOW, event, arms[0], arms[1], trials) if run_out(event, arms, trials) else step
            if again.tells and again.hits + again.misses:
                gains = better(again.share, self.tolerance.rho_bad).gains(again.hits, again.misses)
                departs = levels[0 if self.metric.suspect is Role.CANARY else 1].departs
                for_it = added(for_it, no_more(gains) if departs else gains)
        return MetricMemory(carried, restarting, for_it, bounded, most, levels)

    def _gains(self, seen: Firsts) -> tuple[float, ...]:
        if not seen.tells or not seen.hits + seen.misses:
            return NOTHING
        return worse(seen.share, self.tolerance.rho_ok).gains(seen.hits, seen.misses)

    def _most(self, look: Look) -> float:
        """Returns the largest log gain of one window. `WINDOWS` windows stay below the bound, and as many more as the
        counts of one arm may be late."""
        return math.log(self.policy.metrics_for_alpha / self.policy.alpha) / (WINDOWS + look.silence / WINDOW)

    def _levels(self, before: MetricMemory, look: Look) -> tuple[tuple[Level, Level], bool]:
        """Returns the levels after `look`, and whether the evidence for the release is void, because a level turned out
        wrong."""
        if self.metric.rare:
            return before.levels, False
        levels = []
        for role, level in zip((Role.CHAMPION, Role.CANARY), before.levels, strict=True):
            now, was = (None if step is None else _arm(step, role) for step in (look.now, look.taken))
            events, trials = self._counted(now), self._counted(was)
            levels.append(level.after(events[0] - trials[0], events[1] - trials[1], look.seconds))
        champion, canary = levels
        return (champion, canary), (champion if self.metric.suspect is Role.CANARY else canary).sank

    def _counted(self, arm: ArmCounts | None) -> tuple[int, int]:
        return (0, 0) if arm is None else (getattr(arm, self.metric.event), self.metric.trials(arm))

    def _arms(self, look: Look) -> tuple[tuple[ArmCounts, ArmCounts | None], tuple[ArmCounts, ArmCounts | None]] | None:
        """Returns the suspect and the other arm, each now and at the last look that was taken. None: there is nothing
        to compare."""
        now = arms(self.metric, look.now)
        if now is None:
            return None
        before = None if look.taken is None else arms(self.metric, look.taken)
        return (now[0], before and before[0]), (now[1], before and before[1])

    def log_bad(self, memory: MetricMemory) -> float:
        """Returns the logarithm of `E_bad`: the mean of the process that runs over all steps and of the restarting
        one."""
        return self._log_bad(memory.carried, memory.restarting.logs)

    def log_bad_without_burst(self, memory: MetricMemory) -> float:
        """Returns the same with bounded gains of each window, so that one stall cannot reach the bound."""
        return self._log_bad(*memory.bounded.whole(memory.most))

    def _log_bad(self, carried: Sequence[float], restarting: Sequence[float]) -> float:
        both = (log_mean(carried), log_mean(restarting) - math.log(self.stages))
        return log_sum_exp(both) - math.log(2.0)


def _arm(step: StepEvidence, role: Role) -> ArmCounts | None:
    return step.canary if role is Role.CANARY else step.champion
