"""What is judged of a release, one metric by one."""

from __future__ import annotations

from dataclasses import dataclass

from serinus.core.evidence import ArmCounts
from serinus.core.rollout import Policy, Tolerance
from serinus.core.routing import Role
from serinus.judge.evidence import StepEvidence, refused


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
