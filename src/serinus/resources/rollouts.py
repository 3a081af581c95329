"""Rollouts, whole and in short, and the watch after promotion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from pydantic import ConfigDict

from serinus.core.rollout import Rollout
from serinus.resources.base import Answer, Moment


class Arm(Answer):
    """The counts of one of the two releases in a canary step."""

    events: int
    first: int = 0
    """Events that are the first ones of their entity."""
    of: int
    """The requests that could have such an event."""


class Metric(Answer):
    """The judge's view of one metric. A metric that is not judged has a name, a state and a summary only."""

    name: str
    state: str
    """`cleared`, `open`, `held back`, `aborted` or `not judged`. An earlier version stored `bad` for `aborted`."""
    summary: str
    """What was observed, in words."""
    evidence: str | None = None
    """The same for statisticians. null: it is not judged, or an earlier version stored it."""
    rare: bool | None = None
    weight: int | None = None
    """The canary's share of the traffic, in ten thousandths."""
    canary: Arm | None = None
    champion: Arm | None = None
    ratio: float | None = None
    """The canary's rate divided by the champion's, with the bounds of its 95% interval. null: it is not finite."""
    ratio_low: float | None = None
    ratio_high: float | None = None
    rho_ok: float | None = None
    """The largest ratio that is tolerated."""
    rho_bad: float | None = None
    """The ratio from which on the metric is unacceptable."""
    budget: float | None = None
    """For a rare metric: the share of requests that is tolerated."""
    e_bad: float | None = None
    """The evidence against the canary. The rollout is aborted from `bound_bad` on."""
    e_bad_without_burst: float | None = None
    e_good: float | None = None
    """The evidence for the canary. The metric is cleared from `bound_good` on."""
    bound_bad: float | None = None
    bound_good: float | None = None
    needs: int | None = None
    """Requests of the canary until it is cleared. null: that cannot be estimated, or it is cleared."""

    @property
    def judged(self) -> bool:
        """Whether the metric is judged."""
        return self.e_bad is not None


class MetricProgress(Answer):
    """The progress of one metric."""

    requests_left: int | None
    """Requests of the canary until it is cleared. null: that cannot be estimated yet."""
    clear_at: Moment | None
    """The time at which it is cleared. null: that cannot be estimated."""


class Progress(Answer):
    """The progress of a canary step."""

    answered: int
    """Requests that the canary has answered, out of `minimum_requests`."""
    minimum_requests: int
    seconds: float
    minimum_seconds: float
    per_second: float
    """Requests per second to the canary that count, at present."""
    requests_left: int | None
    """Requests of the canary until the step can pass. null: that cannot be estimated yet."""
    seconds_left: float | None
    ready_at: Moment | None
    """The time at which the step can pass. null: that cannot be estimated."""
    set_aside: Mapping[str, int]
    """Requests of the step that do not count, by cause, because the platform decided how they were answered."""
    not_counted: str
    """The same in words. May be empty."""
    metrics: Mapping[str, MetricProgress]
    """The open metrics."""
    text: str
    """The progress in words. May be empty."""


class Gate(Answer):
    """The result of a gate."""

    gate: str
    outcome: str
    """`pass`, `fail` or `inconclusive`."""
    summary: str


class RolloutSummary(Answer):
    """A rollout in short."""

    id: str
    model: str
    kind: str
    """`deploy`, `rollback`, `retire` or `scale`."""
    version: str
    release: str | None
    """The candidate. null: its environment is not built yet."""
    phase: str
    since: Moment
    """The beginning of the phase."""
    created_at: Moment
    asked_by: str
    approved_by: str
    """May be empty."""
    why: str
    step: int
    """An index into `steps`, in the phase `canary` only."""
    steps: Sequence[float]
    """The canary's share of the traffic in each step, from 0 to 1."""
    reason: str
    """The reason of the phase, in words. May be empty."""
    cause: str
    """Why it has ended, or is ending, without a promotion. May be empty."""
    hold: str
    """What the canary is waiting for. May be empty."""
    suspended: bool
    """The canary's traffic was taken away."""
    needs: str
    """What the judge still needs, in words. May be empty."""
    metrics: Sequence[Metric]
    """The metrics of the last step."""
    gates: Sequence[Gate]
    notes: Sequence[str]
    progress: Progress | None = None
    """The progress of the canary step. null: it is not in the canary phase."""


class Rechecked(Answer):
    """The comparison of a release's answers with the model's own `predict`."""

    model: str
    at: Moment
    """The time of the last comparison."""
    compared: int
    differing: int
    """Answers that the faster way gave wrong."""
    nondeterministic: int
    """Requests to which the model itself gives different answers."""
    unrepeated: int
    """Answers that differed once, and not when they were requested again."""
    failures: int
    """Comparisons for which the model's own `predict` gave no answer."""


class WatchedMetric(Answer):
    """One metric of a watch."""

    name: str
    events: int
    of: int
    """The requests that could have such an event."""
    seconds: float
    tolerated: float
    """The share of requests that is tolerated."""
    evidence: float
    """The evidence of a degradation, which is shown at 1."""
    summary: str
    """The same in words."""


class WatchOfChampion(Answer):
    """The watch of a champion after its promotion."""

    release: str
    rollout: str
    """The rollout that promoted it. Empty: unknown."""
    until: Moment
    rolls_back: bool
    """Whether it is rolled back if it degrades. Otherwise that is only reported."""
    summary: str
    degraded: Sequence[str]
    """What has degraded, in words. Empty: nothing."""
    metrics: Sequence[WatchedMetric]
    not_watched: Mapping[str, str]
    """Why a metric is not watched, by metric."""


class EventLine(Answer):
    """An event in short."""

    at: Moment
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRollout(Rollout):
    """A whole rollout and its progress."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    progress: Progress | None = None
    """The progress of the canary step. null: it is not in the canary phase."""

    @classmethod
    def of(cls, rollout: Rollout, **more: Any) -> Self:
        """Returns the rollout with further fields."""
        return cls(**{one.name: getattr(rollout, one.name) for one in fields(Rollout)}, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(ShownRollout):
    """A whole rollout, with its events and what was found out about its release since."""

    events: Sequence[EventLine]
    summary: RolloutSummary
    confinement: str
    """How models are confined, in words."""
    rechecked: Rechecked | None
    """null: nothing was compared."""
    distrust: str
    """Why the release is served by the model's own `predict`. May be empty."""
    watch: WatchOfChampion | None
    """null: it is not watched."""
