"""The counts that the prediction log keeps of releases, and the verdicts of the judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Verdict(StrEnum):
    """The verdict of the judge on a canary step. `PROMOTE` means that the step has shown all that it must."""

    PROMOTE = "promote"
    CONTINUE = "continue"
    HOLD = "hold"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Watch:
    """An instruction to the prediction log to count the requests that are answered under one split."""

    split: str
    rollout: str
    model: str
    thresholds: Mapping[str, float]
    """The score from which on a row is an alert, by release. The alerts of a release that is missing are not
    counted."""
    slow_ms: float
    """The latency in milliseconds above which an answer is slow."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A live release that the prediction log counts, whatever the split of its requests."""

    release: str
    model: str
    threshold: float | None
    """The score from which on a row is an alert. None: alerts are not counted."""
    slow_ms: float
    """The latency in milliseconds above which an answer is slow."""


WINDOW_SECONDS = 60
"""The length, in seconds, of the windows of `ArmCounts.first_in_window`."""


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """The counts of one release under one split.

    The fields `first_*` count the first event of each kind that an entity has, within this split (`step`) or within the
    whole rollout (`rollout`). Every request without an entity counts by itself.
    """

    release: str
    requests: int = 0
    """Requests that were answered by the release, or by the router in its place."""
    answered: int = 0
    """Requests that the release itself answered without an error and without a fallback."""
    rows: int = 0
    errors: int = 0
    slow: int = 0
    fallbacks: int = 0
    alerts: int = 0
    missing: int = 0
    """Answers that held NaN or no score."""
    first_in_step: Mapping[str, int] = field(default_factory=dict)
    """Counts by kind: errors, slow, fallbacks, alerts, missing and entities."""
    first_in_rollout: Mapping[str, int] = field(default_factory=dict)
    at_risk_in_step: Mapping[str, int] = field(default_factory=dict)
    """Requests of entities that had not had such an event before, by kind: errors, slow, fallbacks, alerts, missing.

    The request with the event is included. Empty: not counted.
    """
    at_risk_in_rollout: Mapping[str, int] = field(default_factory=dict)
    first_in_window: Mapping[str, int] = field(default_factory=dict)
    """Events by kind, at most one of each entity in a window of `WINDOW_SECONDS`."""
    at_risk_in_window: Mapping[str, int] = field(default_factory=dict)
    """Requests, by kind of event, of entities that had not had such an event before in the same window."""
    set_aside: Mapping[str, int] = field(default_factory=dict)
    """Requests that none of the other counts include, because the platform decided how they were answered. By cause
    (`core.disturbance.Cause`)."""


@dataclass(frozen=True, slots=True)
class HourCounts:
    """The counts of a followed release within one hour."""

    hour: int
    """Unix time divided by 3,600."""
    counts: ArmCounts
    """Only the totals, `first_in_window` and `at_risk_in_window` are filled."""
    squares: Mapping[str, int] = field(default_factory=dict)
    """The sum of the squares of each minute's `first_in_window`, by kind. It tells events that come in bursts from
    events that come one by one."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The recent traffic of a release."""

    release: str
    requests: int
    seconds: float
    errors: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Streak:
    """Whether a release answers at present."""

    failing: int = 0
    """Requests that have failed since the last one that was answered."""
    answered_at: datetime | None = None
    """The time of the last answer. None: it has never answered."""
    failed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """The counters of a release since its first request. They never decrease.

    Slow answers and mistakes of the caller do not count as errors.
    """

    release: str
    model: str
    requests: int = 0
    errors: int = 0
    fallbacks: int = 0
    cached: int = 0
    """Requests that were answered by the response cache."""
    dropped: int = 0
    """Records of answered requests that its workers discarded, because their buffers were full."""
    streak: Streak = Streak()
