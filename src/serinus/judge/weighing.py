"""The evidence for and against the canary in one metric, together."""

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
    """The evidence of one look in one metric."""

    case: Case
    memory: MetricMemory
    log_bad: float
    log_bad_without_burst: float
    log_good: float
    judged: bool
    """False: the metric needs a comparison, but the champion has no traffic beside the canary."""

    @property
    def name(self) -> str:
        """The name of the metric."""
        return self.case.metric.name

    @property
    def bound_bad(self) -> float:
        """The e-value against the canary from which on the rollout is aborted."""
        return self.case.policy.metrics_for_alpha / self.case.policy.alpha

    @property
    def abort(self) -> bool:
        """Whether `E_bad` reaches its bound, and not by one burst alone.

        A worker that stalls fails all requests that it holds at once, which is one event and not twenty.
        """
        return self.reaches_bound and self.log_bad_without_burst >= math.log(self.bound_bad)

    @property
    def held_back(self) -> bool:
        """Whether `E_bad` reaches its bound by one burst alone."""
        return self.reaches_bound and not self.abort

    @property
    def reaches_bound(self) -> bool:
        """Whether `E_bad` reaches its bound, by a burst or not."""
        return self.log_bad >= math.log(self.bound_bad)

    @property
    def cleared(self) -> bool:
        """Whether the metric is shown to be better than unacceptable."""
        return self.log_good >= math.log(1.0 / self.case.policy.beta)

    @property
    def state(self) -> str:
        """The state for people: `cleared`, `open`, `held back`, `aborted` or `not judged`."""
        if self.abort:
            return "aborted"
        if not self.judged:
            return "not judged"
        return "cleared" if self.cleared else "open"

    def needs(self) -> float:
        """About how many more requests of the canary clear the metric."""
        return needs(self.case, self.memory) if self.state == "open" else 0.0


def weigh(case: Case, before: MetricMemory, look: Look | None) -> Evidence:
    """Returns the evidence after a look. None: the news cannot be taken yet."""
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
    """Returns the ratio of the canary's rate to the champion's in this step, by first events: estimate, low and
    high."""
    canary, champion = case.now.canary, case.now.champion
    if canary is None or champion is None or not 0.0 < case.now.q < 1.0:
        return math.nan, 0.0, math.inf
    event = case.metric.event
    return ratio_interval(first_in_step(canary, event), first_in_step(champion, event), case.now.q)
