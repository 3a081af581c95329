"""The evidence that the gates decide by. It is collected elsewhere. The gates perform no I/O.

Scores are floats. None stands for an answer without a finite number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from serinus.core.examination import VersionDifference, Warned
from serinus.core.release import Column

Scores = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class PickleImports:
    """The imports of one pickle."""

    file: str
    imports: tuple[str, ...]
    """Names in the form `module.name`, without duplicates."""
    error: str = ""
    """Why the pickle could not be read to its end. Empty: it could."""


@dataclass(frozen=True, slots=True)
class ScanEvidence:
    """The imports of the pickles of an artifact."""

    pickles: tuple[PickleImports, ...]
    other: tuple[str, ...] = ()
    """Other files that are code or contain code."""

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> ScanEvidence:
        """Reads the output of `serinus_runtime.trials.scan`."""
        pickles = tuple(
            PickleImports(one["file"], tuple(one.get("imports", ())), one.get("error") or "")
            for one in found.get("pickles", ())
        )
        return ScanEvidence(pickles, tuple(str(item) for item in found.get("other", ())))


@dataclass(frozen=True, slots=True)
class ParityEvidence:
    """A comparison of a compiled model with its model, before there is a release.

    Rows are numbered: first the model's own, then those at the edges.
    """

    rows: int
    own: int
    differing: Sequence[int] = ()
    """Rows to which both have answered, with a difference beyond the tolerance."""
    largest: float = 0.0
    """The largest difference of two answers to a row, relative where they are larger than 1."""
    margins: int = 0
    """The number of rows for which the value behind the answer was compared as well."""
    behind: Sequence[int] = ()
    """Rows for which the value behind the answer differs: the margin, or the score behind a label."""
    splits: int = 0
    """The number of different thresholds in the nodes of the trees."""
    at_splits: int = 0
    """The number of these thresholds that a row tests exactly."""
    refusals: Sequence[int] = ()
    """Rows that only one of the two has answered, or that they refused with different statuses."""
    alone: Sequence[int] = ()
    """Rows that are answered differently together with other rows."""
    original: Scores = ()
    compiled: Scores = ()
    """Scores of the model's own rows."""
    threshold: float | None = None
    """The alert threshold, where the spec sets one."""
    budget: float = 0.0
    """The share of rows that may alert, where the spec sets no threshold."""

    @staticmethod
    def from_json(found: Mapping[str, Any], *, threshold: float | None, budget: float) -> ParityEvidence:
        """Reads the output of `serinus_runtime.trials.prove`."""
        return ParityEvidence(**found, threshold=threshold, budget=budget)


@dataclass(frozen=True, slots=True)
class LoadEvidence:
    """The result of loading the release in its own environment."""

    ready: bool
    reason: str = ""
    """Why it is not ready."""
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    warm_up_ms: float | None = None
    """The duration of the worker's first prediction. None: it was not warmed up."""
    warnings: Sequence[Warned] = ()
    """Warnings of the model's libraries during loading and the first prediction."""
    versions: Sequence[VersionDifference] = ()
    """Libraries whose installed version differs from the one in MLmodel."""


@dataclass(frozen=True, slots=True)
class SignatureEvidence:
    """The inputs of the candidate and the columns that callers send."""

    inputs: tuple[Column, ...] | None
    """The candidate's inputs. None: it was logged without a signature."""
    sent: tuple[Column, ...] | None
    """The columns that callers send. None: unknown."""
    sent_by: str = "the callers"
    """The origin of `sent`: `the spec` or `the champion's signature`."""


@dataclass(frozen=True, slots=True)
class ExampleEvidence:
    """The answer of the placed release to the model's own input example."""

    rows: int | None
    """None: the model was logged without an example."""
    scores: Scores = ()
    error: str = ""
    scored: bool = True
    """False: the spec says that the model answers no score (`serving.score: none`)."""


@dataclass(frozen=True, slots=True)
class ProtocolCheck:
    """The answer to the rows by one protocol, through the router."""

    protocol: str
    differing: tuple[int, ...] = ()
    """Rows whose answer differs from that of the model's own `predict`."""
    error: str = ""
    """Why there was no answer. It never holds values."""
    unasked: str = ""
    """Why the rows cannot be expressed in this protocol."""


@dataclass(frozen=True, slots=True)
class AskedEvidence:
    """The answers of the release through the router, by each of its protocols, before it has any traffic."""

    source: str
    """The origin of the rows. Empty: no rows could be made."""
    rows: int = 0
    answers: int = 0
    """The number of answers of the model's own `predict`. Where it differs from the number of rows, the rows of a
    request are not independent."""
    checks: tuple[ProtocolCheck, ...] = ()
    reason: str = ""
    """Why no row could be made, or why the model's own `predict` did not answer the rows."""
    compared: bool = True
    """Whether the answers were compared. They are not where the spec accepts a model that answers the same row in
    different ways."""
    together: bool = False
    """The spec says that the rows of a request belong together."""
    refused: bool = False
    """Whether `reason` is about rows that the model must answer: its input example, golden rows or evaluation set."""


@dataclass(frozen=True, slots=True)
class GoldenEvidence:
    """Scores of the same rows from the served release and from the time of training."""

    reference: Scores | None
    """None: there are no golden rows."""
    served: Scores = ()
    threshold: float | None = None
    """The alert threshold. None: unknown."""
    error: str = ""
    """Why one of the two is missing."""
    unavailable: bool = False
    """Whether `error` is about the reference, so that it says nothing about the release."""
    recorded: bool = True
    """Whether the scores were recorded at training time. If not, the reference is what the model's own `predict`
    answers now."""


class Transformation(StrEnum):
    """Changes of rows that do not change their meaning."""

    TWICE = "the same row twice"
    ALONE = "a row alone"
    BATCH = "within a batch"
    COMPANY = "beside other rows"
    ORDER = "in another order"
    INTEGERS = "whole numbers as integers"


@dataclass(frozen=True, slots=True)
class TransformationCheck:
    """The scores of rows before and after one transformation."""

    transformation: Transformation
    rows: int
    max_difference: float = 0.0
    """The largest absolute difference between a score and the one that it should equal."""
    failures: tuple[int, ...] = ()
    """Indices of the rows whose score differs or is missing."""
    error: str = ""
    """Why there was no answer. It never holds values."""


@dataclass(frozen=True, slots=True)
class MetamorphicEvidence:
    """The results of all transformations."""

    checks: tuple[TransformationCheck, ...]
    accepted: bool = False
    """The spec accepts a model that must be served one row at a time."""
    one_at_a_time: bool = False
    """The release is already served one row at a time."""
    together: bool = False
    """The spec says that the rows of a request belong together (`serving.rows: together`)."""


@dataclass(frozen=True, slots=True)
class LatencyEvidence:
    """Durations of requests of one row each, sent one after the other to a warm release."""

    seconds: Sequence[float]
    budget_ms: float
    """The largest acceptable 99th percentile, in milliseconds."""
    timeout_ms: float
    batches: Mapping[int, Sequence[float]] = field(default_factory=dict)
    """Durations in seconds of requests with more rows, by the number of rows. They are measured where single rows are
    slow."""


@dataclass(frozen=True, slots=True)
class MemoryEvidence:
    """The memory of a worker."""

    used_bytes: int | None
    """The proportional set size (PSS) of the worker after the requests of the other gates. None: it could not be
    read."""
    budget_bytes: int | None


@dataclass(frozen=True, slots=True)
class QualityEvidence:
    """Labelled rows with the scores of both releases."""

    labels: Sequence[float | None] | None
    """One label for each row: 1 for fraud, 0 for none, None for unknown. None as a whole: there is no evaluation
    set."""
    candidate: Scores = ()
    champion: Scores | None = None
    """None: there is no champion to compare with."""
    budget: float = 0.005
    """The share of the rows that may alert."""
    margin: float = 0.05
    """The recall that may be lost, as a share of the frauds."""
    source: str = ""
    """The origin of the evaluation set."""
    clusters: Sequence[int] | None = None
    """The cluster of each row. Rows with the same number are of one entity, or copies of one row. None: the rows are
    independent."""
    live: tuple[int, int] | None = None
    """Requests that the champion has answered live, and those of them that alerted at its threshold. None: unknown, or
    it has no threshold by this rule."""
    ranked: bool = True
    """The alert threshold follows from the budget, so scores must rank the rows. False: the spec sets a threshold."""
    error: str = ""
    """Why the evaluation set or the scores are missing."""
