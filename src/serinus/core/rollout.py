"""The rollout as a value: what was asked, the plan, where it stands, what was seen. Stored whole, as JSON."""

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
        return self in (Phase.PROMOTED, Phase.ABORTED, Phase.RETIRED, Phase.SCALED)


class Cause(StrEnum):
    """Why a rollout ended or is ending otherwise than by promotion."""

    NONE = ""
    ARTIFACT = "artifact"
    ENVIRONMENT = "environment"
    LOAD = "load"
    GATE = "gate"
    JUDGE = "judge"
    PATIENCE = "patience"
    """Held for so long that the plan's patience ran out."""
    OPERATOR = "operator"
    SUPERSEDED = "superseded"


WHY_ABORTED: Mapping[Cause, str] = {
    Cause.ARTIFACT: "its files cannot be used",
    Cause.ENVIRONMENT: "its environment cannot be built",
    Cause.LOAD: "it does not load",
    Cause.GATE: "it did not pass the gates",
    Cause.JUDGE: "the judge found it worse than the champion",
    Cause.PATIENCE: "the canary reached no verdict in time",
}
"""Of those that Serinus aborts itself. The reason of the others names the person."""


def aborted_text(cause: Cause, reason: str) -> str:
    """`aborted, because ...: REASON`, or `aborted by ...`."""
    if cause in WHY_ABORTED:
        return f"aborted, because {WHY_ABORTED[cause]}: {reason}"
    return reason if reason.startswith("aborted") else f"aborted: {reason or 'no reason is known'}"


class Kind(StrEnum):
    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    RETIRE = "retire"
    """Nothing is served any more: it has no candidate."""
    SCALE = "scale"
    """What is live gets another scale: it has no candidate."""


# --- the plan ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What is tolerated of one metric. Ratios are of the canary's rate to the champion's; `budget` is an absolute
    share of requests.

    `rho_ok`: a ratio up to it is tolerated; `E_bad` tests against it. `rho_bad`: a ratio from it on is unacceptable;
    `E_good` tests against it where the metric is frequent. Where `budget` is set, the metric is rare and is cleared by
    a Bernoulli e-process against the budget instead, so that a release without a single error can be promoted.
    """

    rho_ok: float
    rho_bad: float
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What the judge goes by."""

    errors: Tolerance = Tolerance(1.5, 3.0, budget=0.001)
    fallbacks: Tolerance = Tolerance(1.5, 3.0, budget=0.001)
    missing: Tolerance = Tolerance(1.5, 3.0, budget=0.001)
    slow: Tolerance = Tolerance(1.5, 2.0)
    alerts: Tolerance | None = Tolerance(1.5, 2.0)
    """None: no threshold is known, so alerts are not judged, and the verdict says so."""
    alpha: float = 0.01
    """False aborts, over the whole rollout."""
    beta: float = 0.05
    """False promotion of a stage, per metric."""
    metrics_for_alpha: int = 10


@dataclass(frozen=True, slots=True)
class Step:
    weight: int
    """Of the candidate, out of `WHOLE`."""
    minimum_requests: int
    """Answered by the candidate, within the step, before it may be passed."""
    minimum_seconds: float
    maximum_seconds: float
    """When this has passed without a verdict the step is extended once by as much, then the rollout is aborted."""


@dataclass(frozen=True, slots=True)
class Plan:
    champion: str | None
    """Release id of what is live; None: the model's first deployment, which goes from the gates to full traffic."""
    champion_version: str | None
    steps: tuple[Step, ...]
    policy: Policy
    approval_required: bool
    settings: ServingSettings
    slow_ms: float | None = None
    """Fixed when the canary starts: the champion's p99 then, or what the spec says."""
    accepts: frozenset[str] = frozenset()
    """Names of what the spec accepts although a gate would refuse it (`one-at-a-time`, `inconclusive-quality`)."""
    scale: Scale = USUAL
    """What the candidate gets; the model's own once it is promoted."""


# --- where it stands --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status:
    phase: Phase
    since: datetime
    step: int = 0
    """Index into `plan.steps`; in CANARY only."""
    extended: bool = False
    reason: str = ""
    """Of the present phase, in words, with numbers."""
    cause: Cause = Cause.NONE
    hold: str = ""
    """What a canary is waiting for; empty when nothing is missing."""
    suspended: bool = False
    """The canary's traffic was taken away; the rollout waits for a person, or until its patience is over."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The judge's answer for one look at a step, with all that it was computed from."""

    verdict: Verdict
    reason: str
    metrics: tuple[Mapping[str, Any], ...] = ()
    """One a metric: name, canary and champion counts, e_bad, e_good, bounds, state
    (`cleared|open|held back|aborted|not judged`; an earlier version stored `bad` for `aborted`), summary, evidence.
    JSON values."""
    memory: Mapping[str, Any] = field(default_factory=dict)
    """What the judge must be given again at the next look (restarting e-CUSUM, counts seen). JSON values."""
    needs: str = ""
    """What is still missing, in words, with the number of requests."""
    suspend: bool = False
    """The canary's traffic is to be taken away at once, while the rollout holds."""


AWAY_SECONDS = 60.0
"""Between two looks of the engine, which otherwise looks twice a second, from which on it was not there."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A canary step, as it stands or as it ended."""

    index: int
    weight: int
    split: str
    started_at: datetime
    assessment: Assessment | None = None
    ended_at: datetime | None = None
    looked_at: datetime | None = None
    """When the engine last looked at it, with or without figures; None: not yet, or by an earlier version."""
    away: float = 0.0
    """Seconds in which the engine was not there to look, up to `looked_at`: Serinus was stopped."""

    def away_by(self, now: datetime) -> float:
        """The same up to `now`. They count neither as time of the step nor towards its patience."""
        gap = 0.0 if self.looked_at is None else (now - self.looked_at).total_seconds()
        return self.away + (gap if gap >= AWAY_SECONDS else 0.0)

    def elapsed(self, now: datetime) -> float:
        """Seconds since its beginning in which the engine was there."""
        return (now - self.started_at).total_seconds() - self.away_by(now)


@dataclass(frozen=True, slots=True)
class Order:
    """What a person has asked of a rollout in flight."""

    kind: str
    """`promote`, `abort`, `approve`, `supersede`."""
    actor: Actor
    why: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Rollout:
    id: str
    """`<model>-r<number>`"""
    model: str
    kind: Kind
    version: str
    asked_as: str
    """`card-fraud@challenger`, as it was written."""
    actor: Actor
    why: str
    created_at: datetime
    spec: str
    """The ModelDeployment that it goes by, as YAML text."""
    salt: str
    plan: Plan | None
    """None until resolved."""
    status: Status
    artifact: Artifact | None = None
    candidate: Release | None = None
    threshold: float | None = None
    """The candidate's alert threshold, fixed by the gates."""
    champion_threshold: float | None = None
    gates: tuple[GateResult, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    approved_by: str = ""
    """Name of the token."""
    approver: Actor | None = None
    """Whole; None also in rollouts of earlier versions."""
    spec_waits: bool = False
    """Its spec becomes the model's once it is approved."""
    notes: tuple[str, ...] = ()
    """What was tried and what the person should know: warnings of the artifact, the environment's attempts."""


@dataclass(frozen=True, slots=True)
class Retired:
    """A record that a model was taken out of service."""

    release: Release
    """The champion until then."""
    since: datetime
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class ModelState:
    """What holds when nothing is in flight. `champion` is the truth that routing, aliases and Git follow."""

    model: str
    champion: Release | None = None
    champion_threshold: float | None = None
    previous: Release | None = None
    """The champion before; stays warm for a rollback."""
    since: datetime | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    """The aliases `champion` and `challenger` as Serinus last saw or set them: only a difference is a command."""
    aborted: Mapping[str, str] = field(default_factory=dict)
    """Version -> the rollout that was aborted: never deployed again by an alias."""
    who: str = ""
    why: str = ""
    """Of the last promotion, rollback or retirement, for the commit that tells of it."""
    notes: tuple[str, ...] = ()
    retired: Retired | None = None
    """None where the model is served, or never was."""
    lost: Mapping[str, str] = field(default_factory=dict)
    """Alias -> the version that it should name, which the registry does not have (any more)."""
    scale: Scale = USUAL
    """What champion and previous get."""
