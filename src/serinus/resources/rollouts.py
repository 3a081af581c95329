"""Rollouts, whole and in short, and the watch that follows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from pydantic import ConfigDict

from serinus.core.rollout import Rollout
from serinus.resources.base import Answer, Moment


class Arm(Answer):
    """What one of the two releases did in a canary step."""

    events: int
    first: int = 0
    """Events that are the first of their entity."""
    of: int
    """Requests among which they are counted."""


class Metric(Answer):
    """What the judge sees of one metric. Of one that is not judged there are a name, a state and a summary."""

    name: str
    state: str
    """`cleared`, `open`, `held back`, `aborted` or `not judged`; an earlier version stored `bad` for `aborted`."""
    summary: str
    """What was observed, in words."""
    evidence: str | None = None
    """The same for a statistician; null: it is not judged, or was stored by an earlier version."""
    rare: bool | None = None
    weight: int | None = None
    """Of the canary, in ten thousandths of the traffic."""
    canary: Arm | None = None
    champion: Arm | None = None
    ratio: float | None = None
    """Of the canary's rate to the champion's, with the bounds of its 95 % interval; null: it is not finite."""
    ratio_low: float | None = None
    ratio_high: float | None = None
    rho_ok: float | None = None
    """The ratio up to which is tolerated."""
    rho_bad: float | None = None
    """The ratio from which on is unacceptable."""
    budget: float | None = None
    """Of a rare metric: the share of requests that is tolerated."""
    e_bad: float | None = None
    """Evidence against the canary, which is aborted from `bound_bad` on."""
    e_bad_without_burst: float | None = None
    e_good: float | None = None
    """Evidence for the canary, which is cleared from `bound_good` on."""
    bound_bad: float | None = None
    bound_good: float | None = None
    needs: int | None = None
    """Requests of the canary until it is cleared; null: that cannot be estimated, or it is cleared."""

    @property
    def judged(self) -> bool:
        return self.e_bad is not None


class MetricProgress(Answer):
    requests_left: int | None
    """Of the canary, until it is cleared; null: that cannot be estimated yet."""
    clear_at: Moment | None
    """null: that cannot be estimated."""


class Progress(Answer):
    """How far a canary step is."""

    answered: int
    """By the canary, of `minimum_requests`."""
    minimum_requests: int
    seconds: float
    minimum_seconds: float
    per_second: float
    """Requests that reach the canary and count, now."""
    requests_left: int | None
    """Of the canary, until the step can be passed; null: that cannot be estimated yet."""
    seconds_left: float | None
    ready_at: Moment | None
    """When the step can be passed; null: that cannot be estimated."""
    set_aside: Mapping[str, int]
    """Cause -> requests of the step that do not count, because the platform decided how they were answered."""
    not_counted: str
    """The same in words; may be empty."""
    metrics: Mapping[str, MetricProgress]
    """Of each metric that is open."""
    text: str
    """In words; may be empty."""


class Gate(Answer):
    gate: str
    outcome: str
    """`pass`, `fail` or `inconclusive`."""
    summary: str


class RolloutSummary(Answer):
    """A rollout in a few words and numbers."""

    id: str
    model: str
    kind: str
    """`deploy`, `rollback`, `retire` or `scale`."""
    version: str
    release: str | None
    """The candidate; null: its environment is not built yet."""
    phase: str
    since: Moment
    """Of the phase."""
    created_at: Moment
    asked_by: str
    approved_by: str
    """May be empty."""
    why: str
    step: int
    """Index into `steps`; in the phase `canary` only."""
    steps: Sequence[float]
    """The canary's share of the traffic in each step, from 0 to 1."""
    reason: str
    """Of the phase, in words; may be empty."""
    cause: str
    """Why it ended or is ending otherwise than by promotion; may be empty."""
    hold: str
    """What a canary is waiting for; may be empty."""
    suspended: bool
    """The canary's traffic was taken away."""
    needs: str
    """What the judge still needs, in words; may be empty."""
    metrics: Sequence[Metric]
    """Of the last step."""
    gates: Sequence[Gate]
    notes: Sequence[str]
    progress: Progress | None = None
    """Of a canary step; null: it is in none."""


class Rechecked(Answer):
    """Answers of a release that were compared with the model's own `predict`."""

    model: str
    at: Moment
    """Of the last comparison."""
    compared: int
    differing: int
    """By the fault of the shorter way."""
    nondeterministic: int
    """To which the model itself gives different answers."""
    unrepeated: int
    """That differed once and not when they were asked for again."""
    failures: int
    """Comparisons for which the model's own `predict` gave no answer."""


class WatchedMetric(Answer):
    name: str
    events: int
    of: int
    """Requests among which they are counted."""
    seconds: float
    tolerated: float
    """Share of the requests."""
    evidence: float
    """Of a degradation, which is shown at 1."""
    summary: str
    """In words."""


class WatchOfChampion(Answer):
    """Of a release that is watched after its promotion."""

    release: str
    rollout: str
    """By which it was promoted; empty: it is not known."""
    until: Moment
    rolls_back: bool
    """Whether it is rolled back if it degrades; otherwise it is only reported."""
    summary: str
    degraded: Sequence[str]
    """What has become worse, in words; empty: nothing."""
    metrics: Sequence[WatchedMetric]
    not_watched: Mapping[str, str]
    """Metric -> why it is not watched."""


class EventLine(Answer):
    at: Moment
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRollout(Rollout):
    """A rollout, whole, and how far it is."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    progress: Progress | None = None
    """Of a canary step; null: it is in none."""

    @classmethod
    def of(cls, rollout: Rollout, **more: Any) -> Self:
        return cls(**{one.name: getattr(rollout, one.name) for one in fields(Rollout)}, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(ShownRollout):
    """A rollout, whole, with what has happened and what was found of its release since."""

    events: Sequence[EventLine]
    summary: RolloutSummary
    confinement: str
    """Of models, in words."""
    rechecked: Rechecked | None
    """null: nothing was compared."""
    distrust: str
    """Why the release is served the long way; may be empty."""
    watch: WatchOfChampion | None
    """null: it is not watched."""
