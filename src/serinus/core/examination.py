"""What a version is asked before it gets traffic, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """The outcome of a gate."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning of a library, without paths and control characters."""

    category: str
    """`InconsistentVersionWarning`, `FutureWarning`."""
    library: str
    """The package that warned; empty: not known."""
    message: str
    own: bool
    """It concerns the library that the model is of."""


@dataclass(frozen=True, slots=True)
class VersionDifference:
    """A library whose installed version is not the one that MLmodel names."""

    library: str
    logged: str
    installed: str
    """Empty: not installed."""
    own: bool
    """The model is of this library."""


@dataclass(frozen=True, slots=True)
class ReadRows:
    """The rows of a file: `rows` in the order of `columns`, values as JSON has them."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    scores: Sequence[float | None] | None = None
    """What the rows got at training time, where that was recorded."""
    labels: Sequence[float | None] | None = None
    clusters: Sequence[int] | None = None
    """Row by row: those of one number are of one entity, or copies of one row."""


@dataclass(frozen=True, slots=True)
class GivenRows:
    """Rows that the model has to answer, and where they come from: `the golden rows`."""

    source: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Question:
    """Rows to ask a model with, as the protocols write them."""

    document: Mapping[str, Any]
    """The body of `/invocations`."""
    tensors: Sequence[Mapping[str, Any]] | None
    """`inputs` of the Open Inference Protocol; None: it has no form for these rows."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a model showed when it was loaded and asked in a confined process in its own environment."""

    question: Question | None
    """None: no row could be made that its own `predict` answers."""
    source: str = ""
    """Where the rows come from: `the input example`, `the signature`."""
    rows: int = 0
    """Of the question. A model that answers otherwise than a row each has more or fewer answers."""
    answers: Sequence[Sequence[Any]] = ()
    """Of the model's own `predict`: for each row all values of its answer, as JSON has them."""
    reason: str = ""
    """Why there is no question."""
    refused: bool = False
    """True: `reason` is of rows that the model has to answer (its example, golden or evaluation rows)."""
    warnings: tuple[Warned, ...] = ()
    versions: tuple[VersionDifference, ...] = ()


@dataclass(frozen=True, slots=True)
class GateResult:
    gate: str
    outcome: Outcome
    summary: str
    """One sentence, with the numbers."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """JSON values only."""


Rows = Sequence[Mapping[str, Any]]
