"""The observations of one tick of the engine, by which the transitions decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serinus.core.examination import GateResult
from serinus.core.placement import Placement
from serinus.core.release import Artifact, Release
from serinus.core.rollout import Assessment, Cause, Order, Plan


@dataclass(frozen=True, slots=True)
class Resolved:
    """The files of the version are downloaded and scanned, and the plan of the rollout is made."""

    artifact: Artifact
    plan: Plan
    scan: GateResult
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """The environment of the candidate is built."""

    candidate: Release
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Examined:
    """The results of the gates."""

    gates: tuple[GateResult, ...]
    passed: bool
    """Whether the results together allow traffic."""
    reason: str
    threshold: float | None = None
    champion_threshold: float | None = None
    """The champion's alert threshold, by the same rule on the same rows. None: it stays unchanged."""
    instead: Release | None = None
    """The same version with other serving settings, which must be placed and examined in its place."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that another attempt would not change."""

    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True)
class Observed:
    """The observations of one tick. None: not known yet, which is never taken for success."""

    resolved: Resolved | Failure | None = None
    built: Built | Failure | None = None
    placement: Placement | None = None
    champion_crashes: int = 0
    """The number of the champion's workers that crashed in a row. Where they crash as well, the cause may be the
    machine."""
    examined: Examined | Failure | None = None
    slow_ms: float | None = None
    """The latency in milliseconds from which on a request counts as slow."""
    carried: float | None = None
    """The requests a second that one worker carries."""
    too_small: str = ""
    """Why the candidate must not get its coming share of the traffic yet: its size, or what the target says. Empty: it
    may."""
    assessment: Assessment | None = None
    without_entities: bool = False
    """None of the few entities that send requests is in the canary's share."""
    orders: Sequence[Order] = ()
    settled: bool = False
    """Routing, aliases and the fleet repository are as the status requires."""

    def order(self, *kinds: str) -> Order | None:
        """Returns the first order of one of these kinds. None: there is none."""
        return next((one for one in self.orders if one.kind in kinds), None)
