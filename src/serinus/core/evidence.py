"""What the prediction log counts of releases, and what the judge says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Verdict(StrEnum):
    """What the judge says of a stage. `PROMOTE` means: this stage has shown what it must."""

    PROMOTE = "promote"
    CONTINUE = "continue"
    HOLD = "hold"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Watch:
    """What the prediction log counts, from now on, for the requests answered under one split."""

    split: str
    rollout: str
    model: str
    thresholds: Mapping[str, float]
    """Release -> score from which on a row is an alert. A release that is missing has no alerts counted."""
    slow_ms: float
    """An answer that took longer is slow."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A live release that the prediction log counts, under whatever split its requests are answered."""

    release: str
    model: str
    threshold: float | None
    """Score from which on a row is an alert; None: alerts are not counted."""
    slow_ms: float
    """An answer that took longer is slow."""


WINDOW_SECONDS = 60
"""After which an entity's next event is counted again, where first ones have run out."""


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """What one release did under one split. `first_*` count entities: an entity's first event of that kind,
    within this split (`step`) or within the whole rollout (`rollout`); requests without an entity count singly."""

    release: str
    requests: int = 0
    """Answered, by the release or for it by the router."""
    answered: int = 0
    """Answered by the release itself, without an error and without a fallback."""
    rows: int = 0
    errors: int = 0
    slow: int = 0
    fallbacks: int = 0
    alerts: int = 0
    missing: int = 0
    """Answers that held NaN or no score."""
    first_in_step: Mapping[str, int] = field(default_factory=dict)
    """errors, slow, fallbacks, alerts, missing, entities -> count."""
    first_in_rollout: Mapping[str, int] = field(default_factory=dict)
    at_risk_in_step: Mapping[str, int] = field(default_factory=dict)
    """errors, slow, fallbacks, alerts, missing -> requests of entities that had not had such an event before, the one
    with the event included. Empty: not counted."""
    at_risk_in_rollout: Mapping[str, int] = field(default_factory=dict)
    first_in_window: Mapping[str, int] = field(default_factory=dict)
    """errors, slow, fallbacks, alerts, missing -> events, of each entity one a window of `WINDOW_SECONDS`."""
    at_risk_in_window: Mapping[str, int] = field(default_factory=dict)
    """Requests of entities that had not had such an event before in the same window."""
    set_aside: Mapping[str, int] = field(default_factory=dict)
    """Cause of a disturbance (`core.disturbance.Cause`) -> requests that are in none of the other counts, because it
    was the platform that decided how they were answered."""


@dataclass(frozen=True, slots=True)
class HourCounts:
    """What a followed release did within an hour."""

    hour: int
    """Unix time / 3600."""
    counts: ArmCounts
    """Totals, `first_in_window` and `at_risk_in_window`."""
    squares: Mapping[str, int] = field(default_factory=dict)
    """errors, slow, fallbacks, alerts, missing -> sum of the squares of each minute's `first_in_window`, which tells
    events that come in bursts from those that come one by one."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """A release's recent traffic."""

    release: str
    requests: int
    seconds: float
    errors: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Streak:
    """Whether a release answers now."""

    failing: int = 0
    """Requests that have failed since the last one that was answered."""
    answered_at: datetime | None = None
    """When it last answered; None: never."""
    failed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """What a release did since it was first heard of: counters that only grow. A late answer and what the caller got
    wrong are no errors."""

    release: str
    model: str
    requests: int = 0
    errors: int = 0
    fallbacks: int = 0
    cached: int = 0
    """Answered by the prediction cache."""
    dropped: int = 0
    """Records of answered requests that its workers had no room for."""
    streak: Streak = Streak()
