"""Answered requests and their outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """The rows of a request and the scores that a release answered."""

    release: str
    columns: tuple[str, ...] | None
    """The names of the columns of `rows`. None: the request had none."""
    rows: Sequence[Sequence[Any]]
    """JSON values. None also stands for a number that is not finite."""
    scores: Sequence[float | None]
    """One score for each row, in full precision."""


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """The answer of the model's own `predict` to one request."""

    scores: Sequence[float | None]
    datatype: str
    """The type of the output that holds the score, as the Open Inference Protocol names it."""


Mark = tuple[int, int]
"""A position in the prediction log. Only the log interprets it."""


@dataclass(frozen=True, slots=True)
class Label:
    """An outcome as it arrives. It may be late, repeated or corrected: the one with the latest `observed_at` holds.

    At least one of the two ids is not empty. A request is labelled only where everything matches that the outcome says
    of it.
    """

    request_id: str
    """The caller's `x-request-id`. It need not be unique."""
    label: float
    observed_at: datetime
    source: str = ""
    prediction_id: str = ""
    """The id that Serinus has answered as `x-serinus-prediction-id`. It is unique."""
    caller: str = ""
    """The name of the caller's API key."""
    release: str = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """Many outcomes as columns: a list for each field of `Label`, all of the same length. Faster than a list of
    `Label`."""

    request_id: Sequence[str]
    label: Sequence[float]
    observed_at: Sequence[datetime]
    source: Sequence[str]
    prediction_id: Sequence[str]
    caller: Sequence[str]
    release: Sequence[str]


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import of outcomes."""

    outcomes: int
    changed: int
    """Outcomes that were new or corrected an earlier one."""
    unknown: int
    """Outcomes whose request is not in the log: not yet, no longer, or never. They are kept."""
    ambiguous: int
    """Outcomes whose id belongs to several requests of one model. They label none of them."""


@dataclass(frozen=True, slots=True)
class OutcomeMatches:
    """How many of the stored outcomes match stored predictions."""

    outcomes: int
    unmatched: int
    """Outcomes whose request is not in the log: not yet, no longer, or never."""
    ambiguous: int
    """Outcomes whose id belongs to several requests of one model. They label none of them."""


@dataclass(frozen=True, slots=True)
class OutcomeDay:
    """Counts of the requests of one day (UTC) that a release answered as champion and that have an outcome."""

    release: str
    day: date
    labelled: int
    """Requests that have an outcome."""
    frauds: int
    """Labelled requests with the label 1."""
    alerts: int
    """Labelled requests whose score reached the release's threshold."""
    caught: int
    """Alerts with the label 1."""
