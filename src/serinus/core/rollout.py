"""The rollout as a value: the request, the plan, the status and the observations. It is stored whole, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from serinus.core.evidence import Verdict
from serinus.core.examination import GateResult
from serinus.core.people import Actor
from serinus.core.release import USUAL, Artifact, Release, Scale, ServingSettings


class Phase(StrEnum):
    """The phase of a rollout."""

    RESOLVE = "resolve"
    BUILD = "build"
    PLACE = "place"
    GATES = "gates"
    APPROVAL = "approval"
    CANARY = "canary"
    PROMOTING = "promoting"
    PROMOTED = "promoted"
    ABORTING = "aborting"
    ABORTED = "aborted"
    RETIRING = "retiring"
    RETIRED = "retired"
    SCALING = "scaling"
    SCALED = "scaled"

    @property
    def ended(self) -> bool:
        """Whether the rollout has ended."""
        return self in (Phase.PROMOTED, Phase.ABORTED, Phase.RETIRED, Phase.SCALED)


class Cause(StrEnum):
    """Why a rollout ended, or is ending, without a promotion."""

    NONE = ""
    ARTIFACT = "artifact"
    ENVIRONMENT = "environment"
    LOAD = "load"
    GATE = "gate"
    JUDGE = "judge"
    PATIENCE = "patience"
    """There was no verdict within the time limit of the step."""
    CRASHES = "crashes"
    """The candidate's workers ended by themselves, one after the other."""
    OPERATOR = "operator"
    SUPERSEDED = "superseded"


WHY_ABORTED: Mapping[Cause, str] = {
    Cause.ARTIFACT: "its files cannot be used",
    Cause.ENVIRONMENT: "its environment cannot be built",
    Cause.LOAD: "it does not load",
    Cause.GATE: "it did not pass the gates",
    Cause.JUDGE: "the judge found it worse than the champion",
    Cause.PATIENCE: "the canary reached no verdict in time",
    Cause.CRASHES: "its workers crash again and again",
}
"""Causes in words, for rollouts that Serinus itself aborts. Other reasons name the person."""


def aborted_text(cause: Cause, reason: str) -> str:
    """Returns `aborted, because ...: REASON`, or `aborted by ...`."""
    if cause in WHY_ABORTED:
        return f"aborted, because {WHY_ABORTED[cause]}: {reason}"
    return reason if reason.startswith("aborted") else f"aborted: {reason or 'no reason is known'}"


class Kind(StrEnum):
    """The kind of a rollout."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    RETIRE = "retire"
    """The model is taken out of service. There is no candidate."""
    SCALE = "scale"
    """The live release gets another scale. There is no candidate."""


# --- the plan ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The tolerance of one metric. Ratios are the canary's rate divided by the champion's.

    A ratio up to `rho_ok` is tolerated, and `E_bad` tests against it. A ratio from `rho_bad` on is unacceptable, and
    `E_good` tests against it where the metric is frequent. `budget` is an absolute share of requests. Where it is set,
    the metric is rare and is cleared by a Bernoulli e-process against the budget instead, so that a release without a
    single error can be promoted.
    """

    rho_ok: float
    rho_bad: float
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """The tolerances and error rates of the judge."""

    errors: Tolerance = Tolerance(1.5, 3.0, budget=0.001)
    fallbacks: Tolerance = Tolerance(1.5, 3.0, budget=0.001)
    missing: Tolerance = Tolerance(1.5, 3.0, budget=0.001)
    slow: Tolerance = Tolerance(1.5, 2.0)
    alerts: Tolerance | None = Tolerance(1.5, 2.0)
    """None: no threshold is known. Alerts are not judged, and the verdict says so."""
    alpha: float = 0.01
    """The probability of a false abort, over the whole rollout."""
    beta: float = 0.05
    """The probability of a false promotion of a step, for each metric."""
    metrics_for_alpha: int = 10


@dataclass(frozen=True, slots=True)
class Step:
    """A planned step of the canary."""

    weight: int
    """The candidate's share of the traffic, out of `WHOLE`."""
    minimum_requests: int
    """Requests that the candidate must have answered in the step before it may pass."""
    minimum_seconds: float
    maximum_seconds: float
    """The time limit. Without a verdict the step is extended once by the same time, and then the rollout is aborted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a rollout."""

    champion: str | None
    """The id of the live release. None: this is the model's first deployment, which goes from the gates to full
    traffic."""
    champion_version: str | None
    steps: tuple[Step, ...]
    policy: Policy
    approval_required: bool
    settings: ServingSettings
    slow_ms: float | None = None
    """The latency in milliseconds above which an answer is slow. It is fixed when the canary starts: the champion's p99
    at that time, or the value in the spec."""
    accepts: frozenset[str] = frozenset()
    """Results that the spec accepts although a gate would refuse them, such as `one-at-a-time` or
    `inconclusive-quality`."""
    scale: Scale = USUAL
    """The scale of the candidate. It becomes the model's with the promotion."""
    carried: float | None = None
    """The requests a second that one worker of the champion carried before the traffic was divided. None: unknown."""


# --- where it stands --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a rollout."""

    phase: Phase
    since: datetime
    step: int = 0
    """An index into `plan.steps`, in the phase `canary` only."""
    extended: bool = False
    reason: str = ""
    """The reason of the present phase, in words and with figures."""
    cause: Cause = Cause.NONE
    hold: str = ""
    """What the canary is waiting for. Empty: nothing."""
    suspended: bool = False
    """The canary's traffic was taken away. The rollout waits for a person, or for the time limit of the step."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The judge's verdict on one look at a step, with all figures that it was computed from."""

    verdict: Verdict
    reason: str
    metrics: tuple[Mapping[str, Any], ...] = ()
    """One JSON value for each metric: name, counts of canary and champion, e_bad, e_good, bounds, state, summary and
    evidence.

    The states are `cleared`, `open`, `held back`, `aborted` and `not judged`. An earlier version stored `bad` for
    `aborted`.
    """
    memory: Mapping[str, Any] = field(default_factory=dict)
    """The state of the judge that it needs at the next look (restarting e-CUSUM, counts seen), as JSON values."""
    needs: str = ""
    """What is still missing, in words, with the number of requests."""
    suspend: bool = False
    """The canary's traffic must be taken away at once, while the rollout holds."""


AWAY_SECONDS = 60.0
"""The engine looks at a step twice a second. After a longer interval than this it is taken to have been stopped."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A canary step that has begun."""

    index: int
    weight: int
    split: str
    started_at: datetime
    assessment: Assessment | None = None
    ended_at: datetime | None = None
    looked_at: datetime | None = None
    """The time at which the engine last looked at the step. None: it has not yet, or an earlier version has."""
    away: float = 0.0
    """The seconds, up to `looked_at`, in which Serinus was stopped."""

    def away_by(self, now: datetime) -> float:
        """Returns the seconds, up to `now`, in which Serinus was stopped. They do not count as time of the step."""
        gap = 0.0 if self.looked_at is None else (now - self.looked_at).total_seconds()
        return self.away + (gap if gap >= AWAY_SECONDS else 0.0)

    def elapsed(self, now: datetime) -> float:
        """Returns the seconds since the beginning of the step in which Serinus was running."""
        return (now - self.started_at).total_seconds() - self.away_by(now)


@dataclass(frozen=True, slots=True)
class Order:
    """An order of a person to a rollout in flight."""

    kind: str
    """`promote`, `abort`, `approve` or `supersede`."""
    actor: Actor
    why: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout."""

    id: str
    """`<model>-r<number>`"""
    model: str
    kind: Kind
    version: str
    asked_as: str
    """The request as it was written, such as `card-fraud@challenger`."""
    actor: Actor
    why: str
    created_at: datetime
    spec: str
    """The ModelDeployment of the rollout, as YAML text."""
    salt: str
    plan: Plan | None
    """None: it is not resolved yet."""
    status: Status
    artifact: Artifact | None = None
    candidate: Release | None = None
    threshold: float | None = None
    """The candidate's alert threshold, which the gates determine."""
    champion_threshold: float | None = None
    gates: tuple[GateResult, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    approved_by: str = ""
    """The name of the approver's token."""
    approver: Actor | None = None
    """The approver. None: there is none, or an earlier version stored the rollout."""
    spec_waits: bool = False
    """The spec becomes the model's once the rollout is approved."""
    notes: tuple[str, ...] = ()
    """Warnings of the artifact, attempts to build the environment, and other notes for people."""


@dataclass(frozen=True, slots=True)
class Retired:
    """A record that a model was taken out of service."""

    release: Release
    """The last champion."""
    since: datetime
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class ModelState:
    """The state of a model between rollouts. Routing, aliases and the fleet repository follow `champion`."""

    model: str
    champion: Release | None = None
    champion_threshold: float | None = None
    previous: Release | None = None
    """The champion before. It is kept warm for a rollback."""
    since: datetime | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    """The aliases `champion` and `challenger` as Serinus last read or set them. Only a difference from these is a
    command."""
    aborted: Mapping[str, str] = field(default_factory=dict)
    """The rollout that was aborted, by version. An alias does not deploy these versions again."""
    who: str = ""
    why: str = ""
    """The reason of the last promotion, rollback or retirement."""
    notes: tuple[str, ...] = ()
    retired: Retired | None = None
    """None: the model is served, or never was."""
    lost: Mapping[str, str] = field(default_factory=dict)
    """The version that each alias should name, where the registry does not have it."""
    scale: Scale = USUAL
    """The scale of the champion and of the champion before."""
    scale_before: Scale | None = None
    """The scale before the change that is in progress, which an abort restores. None: no change is in progress."""
