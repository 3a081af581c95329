"""The examination of a version before it gets traffic: the rows, the questions and the results of the gates."""

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
    """The class of the warning, such as `InconsistentVersionWarning` or `FutureWarning`."""
    library: str
    """The package that issued the warning. Empty: unknown."""
    message: str
    own: bool
    """Whether the warning concerns the library that the model was made with."""


@dataclass(frozen=True, slots=True)
class VersionDifference:
    """A library whose installed version differs from the one in MLmodel."""

    library: str
    logged: str
    installed: str
    """Empty: the library is not installed."""
    own: bool
    """Whether the model was made with this library."""


@dataclass(frozen=True, slots=True)
class ReadRows:
    """The rows of a file. Each row has its values in the order of `columns`, as JSON values."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    scores: Sequence[float | None] | None = None
    """The scores of the rows at training time, where the file has them."""
    labels: Sequence[float | None] | None = None
    clusters: Sequence[int] | None = None
    """The cluster of each row. Rows with the same number are of one entity, or copies of one row."""


@dataclass(frozen=True, slots=True)
class GivenRows:
    """Rows that the model must answer. `source` says in words where they come from, such as `the golden rows`."""

    source: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Question:
    """Rows to send to a model, in the formats of the protocols."""

    document: Mapping[str, Any]
    """The body of a request to `/invocations`."""
    tensors: Sequence[Mapping[str, Any]] | None
    """The `inputs` of the Open Inference Protocol. None: these rows have no representation in it."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The result of loading a model in its own environment, in a confined process, and calling its `predict`."""

    question: Question | None
    """None: no rows were found that the model's own `predict` accepts."""
    source: str = ""
    """The origin of the rows in words, such as `the input example` or `the signature`."""
    rows: int = 0
    """The number of rows of the question. Some models give more or fewer answers than that."""
    answers: Sequence[Sequence[Any]] = ()
    """The answers of the model's own `predict`: for each row all values of its answer, as JSON values."""
    reason: str = ""
    """Why there is no question, in words."""
    refused: bool = False
    """Whether `reason` is about rows that the model must answer: its input example, golden rows or evaluation set."""
    warnings: tuple[Warned, ...] = ()
    versions: tuple[VersionDifference, ...] = ()


@dataclass(frozen=True, slots=True)
class GateResult:
    """The result of one gate."""

    gate: str
    outcome: Outcome
    summary: str
    """One sentence, with the figures."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """The figures, as JSON values."""


Rows = Sequence[Mapping[str, Any]]
