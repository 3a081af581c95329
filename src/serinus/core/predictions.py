"""Answered requests and their outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """What a release was asked, and what it said."""

    release: str
    columns: tuple[str, ...] | None
    """Names of the columns of `rows`; None: there were none."""
    rows: Sequence[Sequence[Any]]
    """JSON values; null also stands for what is not a finite number."""
    scores: Sequence[float | None]
    """One a row, in full precision."""


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """What the model's own predict says to one request."""

    scores: Sequence[float | None]
    datatype: str
    """Of the output that holds the score, as the Open Inference Protocol names it."""


Mark = tuple[int, int]
"""A place in the prediction log, for who has written it."""


@dataclass(frozen=True, slots=True)
class Label:
    """An outcome as it arrives: late, repeated, corrected. The one with the latest `observed_at` holds.

    What it says of its request must all be so, and at least one of the two ids is not empty."""

    request_id: str
    """The caller's `x-request-id`. Others may have used the same."""
    label: float
    observed_at: datetime
    source: str = ""
    prediction_id: str = ""
    """Serinus' own, which was answered as `x-serinus-prediction-id`; enough by itself."""
    caller: str = ""
    """The name of the API key."""
    release: str = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """Many outcomes: a list for each field of `Label`, all of one length. Faster than as many `Label`s."""

    request_id: Sequence[str]
    label: Sequence[float]
    observed_at: Sequence[datetime]
    source: Sequence[str]
    prediction_id: Sequence[str]
    caller: Sequence[str]
    release: Sequence[str]


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import of outcomes, each counted once for the request that it names."""

    outcomes: int
    changed: int
    """New, or corrected an earlier one."""
    unknown: int
    """Their request is not in the log: not yet, no longer, or never. They are kept."""
    ambiguous: int
    """Several requests of one model have the id by which they name theirs; they label none."""


@dataclass(frozen=True, slots=True)
class OutcomeMatches:
    """How the outcomes that are kept meet the predictions that are."""

    outcomes: int
    unmatched: int
    """Their request is not in the log: not yet, no longer, or never."""
    ambiguous: int
    """Several requests of one model have the id by which they name theirs; they label none."""


@dataclass(frozen=True, slots=True)
class OutcomeDay:
    """What the outcomes say of a champion's answers of one day (UTC). Requests, each with one outcome."""

    release: str
    day: date
    labelled: int
    """That have an outcome."""
    frauds: int
    """Of those: with the label 1."""
    alerts: int
    """Of those that have an outcome: at or above the release's threshold."""
    caught: int
    """Of those alerts: frauds."""
