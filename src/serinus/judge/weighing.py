"""Both sides of one metric together."""

from __future__ import annotations

import math
from dataclasses import dataclass

from serinus.judge.against import Case, Look
from serinus.judge.clearing import log_good, needs
from serinus.judge.evidence import first_in_step
from serinus.judge.memory import MetricMemory
from serinus.judge.metrics import arms
from serinus.judge.mixture import ratio_interval


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
        return needs(self.case, self.memory) if self.state == "open" else 0.0


def weigh(case: Case, before: MetricMemory, look: Look | None) -> Evidence:
    """`look`: None where what is new cannot be taken yet."""
    memory = before if look is None else case.remember(before, look)
    return Evidence(
        case=case,
        memory=memory,
        log_bad=case.log_bad(memory),
        log_bad_without_burst=case.log_bad_without_burst(memory),
        log_good=log_good(case, memory),
        judged=case.metric.rare or arms(case.metric, case.now) is not None,
    )


def ratio_of(case: Case) -> tuple[float, float, float]:
    """Of the canary's rate to the champion's in this step, by first events: estimate, low, high."""
    canary, champion = case.now.canary, case.now.champion
    if canary is None or champion is None or not 0.0 < case.now.q < 1.0:
        return math.nan, 0.0, math.inf
    event = case.metric.event
    return ratio_interval(first_in_step(canary, event), first_in_step(champion, event), case.now.q)
