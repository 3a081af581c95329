"""The metrics by which a release is judged."""

from __future__ import annotations

from dataclasses import dataclass

from serinus.core.evidence import ArmCounts
from serinus.core.rollout import Policy, Tolerance
from serinus.core.routing import Role
from serinus.judge.evidence import StepEvidence, refused


@dataclass(frozen=True, slots=True)
class Metric:
    """An event that must not happen more often on one arm than on the other."""

    name: str
    event: str
    """The name of the count in `ArmCounts`."""
    needs_answer: bool
    """Whether only answered requests can have the event. Otherwise all requests can that were not refused."""
    rare: bool
    """Whether it is cleared by the absolute limit alone. Otherwise by the ratio to the other arm or by the limit."""
    limit: float | None
    """The share of requests below which the rate does not matter, where the tolerance sets no budget. None: it always
    matters."""
    suspect: Role = Role.CANARY
    """The arm whose rate must not be the larger one."""
    warms_up: bool = False
    """Whether a new worker has more of these events, so that the beginning of a step is no evidence."""

    def trials(self, arm: ArmCounts) -> int:
        """Returns the requests that can have the event."""
        return arm.answered if self.needs_answer else arm.requests - refused(arm)


FEWER_ALERTS = Tolerance(rho_ok=2.0, rho_bad=4.0)
"""The ratio of the champion's alert rate to the canary's. A release that no longer alerts would pass every other
metric."""

METRICS = (
    Metric("errors", "errors", needs_answer=False, rare=True, limit=0.001),
    Metric("fallbacks", "fallbacks", needs_answer=False, rare=True, limit=0.001),
    Metric("missing", "missing", needs_answer=True, rare=True, limit=0.001),
    # `slow_ms` is the champion's p99, so a rate under 1% means that the canary's p99 is no worse.
    Metric("slow", "slow", needs_answer=False, rare=False, limit=0.01, warms_up=True),
    Metric("alerts", "alerts", needs_answer=True, rare=False, limit=0.001),
    # It has no limit: where the champion seldom alerts, a canary without alerts would be within it.
    Metric("fewer-alerts", "alerts", needs_answer=True, rare=False, limit=None, suspect=Role.CHAMPION),
)


def tolerance_of(metric: Metric, policy: Policy) -> Tolerance | None:
    """Returns the tolerance of the metric. None: the policy does not judge it."""
    if metric.name == "fewer-alerts":
        return None if policy.alerts is None else FEWER_ALERTS
    tolerance: Tolerance | None = getattr(policy, metric.name)
    return tolerance


def arms(metric: Metric, step: StepEvidence) -> tuple[ArmCounts, ArmCounts, float] | None:
    """Returns the suspect arm, the other arm and the suspect's share of the traffic. None: there is nothing to
    compare."""
    champion, canary = step.champion, step.canary
    if champion is None or canary is None or not 0.0 < step.q < 1.0:
        return None
    return (canary, champion, step.q) if metric.suspect is Role.CANARY else (champion, canary, 1.0 - step.q)
