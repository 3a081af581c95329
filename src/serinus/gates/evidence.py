"""What the gates are given. Gathered elsewhere; the gates themselves touch nothing.

Scores are floats; `None` stands for an answer that holds no finite number.
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
    file: str
    imports: tuple[str, ...]
    """`module.name`, each once."""
    error: str = ""
    """Why the pickle could not be read to its end."""


@dataclass(frozen=True, slots=True)
class ScanEvidence:
    pickles: tuple[PickleImports, ...]
    other: tuple[str, ...] = ()
    """Further files that are code or hold it."""

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> ScanEvidence:
        """From what `serinus_runtime.trials.scan` prints."""
        pickles = tuple(
            PickleImports(one["file"], tuple(one.get("imports", ())), one.get("error") or "")
            for one in found.get("pickles", ())
        )
        return ScanEvidence(pickles, tuple(str(item) for item in found.get("other", ())))


@dataclass(frozen=True, slots=True)
class ParityEvidence:
    """Evidence about a compiled model, asked before it is a release. Rows by number: first the model's own, then the
    edges."""

    rows: int
    own: int
    differing: Sequence[int] = ()
    """Answered by both, and not alike within the tolerance."""
    largest: float = 0.0
    """Difference of two answers to a row, relative where they are larger than 1."""
    margins: int = 0
    """Of how many rows what is behind the answer was compared as well."""
    behind: Sequence[int] = ()
    """Where that differs: the margin, or the score behind a label."""
    splits: int = 0
    """Different places at which trees decide."""
    at_splits: int = 0
    """At how many of them a row stands."""
    refusals: Sequence[int] = ()
    """Answered by one of the two only, or refused with another status."""
    alone: Sequence[int] = ()
    """Answered otherwise together with others."""
    original: Scores = ()
    compiled: Scores = ()
    """Of the model's own rows."""
    threshold: float | None = None
    """Of alerts, where the spec fixes one."""
    budget: float = 0.0
    """Share of the rows that alert, where it does not."""

    @staticmethod
    def from_json(found: Mapping[str, Any], *, threshold: float | None, budget: float) -> ParityEvidence:
        """From what `serinus_runtime.trials.prove` prints."""
        return ParityEvidence(**found, threshold=threshold, budget=budget)


@dataclass(frozen=True, slots=True)
class LoadEvidence:
    """Evidence from loading the release in its own environment."""

    ready: bool
    reason: str = ""
    """Why it is not ready."""
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    warm_up_ms: float | None = None
    """Of the worker's first prediction; None: it was not warmed up."""
    warnings: Sequence[Warned] = ()
    """What the model's libraries warned of while it was loaded and first asked."""
    versions: Sequence[VersionDifference] = ()
    """Libraries whose installed version is not the one that MLmodel names."""


@dataclass(frozen=True, slots=True)
class SignatureEvidence:
    inputs: tuple[Column, ...] | None
    """Of the candidate; None: logged without a signature."""
    sent: tuple[Column, ...] | None
    """What callers send; None: not known."""
    sent_by: str = "the callers"
    """Where `sent` comes from: `the spec`, `the champion's signature`."""


@dataclass(frozen=True, slots=True)
class ExampleEvidence:
    """The model's own input example, sent to the placed release."""

    rows: int | None
    """None: logged without an example."""
    scores: Scores = ()
    error: str = ""
    scored: bool = True
    """False: the spec says that the model answers no score (`serving.score: none`)."""


@dataclass(frozen=True, slots=True)
class ProtocolCheck:
    """What one protocol answered to the rows, through the router."""

    protocol: str
    differing: tuple[int, ...] = ()
    """Rows whose answer is not that of the model's own `predict`."""
    error: str = ""
    """Why there was no answer; never with values."""
    unasked: str = ""
    """Why the rows have no form in this protocol."""


@dataclass(frozen=True, slots=True)
class AskedEvidence:
    """The release, asked through the router by each of its protocols before it has any traffic."""

    source: str
    """Where the rows come from; empty: none could be made."""
    rows: int = 0
    answers: int = 0
    """Of the model's own `predict`: as many as rows, or the rows of a request are no questions of their own."""
    checks: tuple[ProtocolCheck, ...] = ()
    reason: str = ""
    """Why no row could be made, or why the model's own `predict` did not answer those that there are."""
    compared: bool = True
    """False: only that there are answers was checked, as the spec accepts a model that answers a row in different
    ways."""
    together: bool = False
    """The spec declares that the rows of a request belong together."""
    refused: bool = False
    """True: `reason` is of rows that the model must answer (its example, golden or evaluation rows)."""


@dataclass(frozen=True, slots=True)
class GoldenEvidence:
    """Rows scored twice: by the served release and on the training path."""

    reference: Scores | None
    """None: there are no golden rows."""
    served: Scores = ()
    threshold: float | None = None
    """Of alerts, where one is known."""
    error: str = ""
    """Why one of the two could not be had."""
    unavailable: bool = False
    """True: `error` is of the reference, which says nothing of the release."""
    recorded: bool = True
    """False: no score was recorded, so that the reference is what the model's own `predict` answers now."""


class Transformation(StrEnum):
    """What is done to rows without changing what they mean."""

    TWICE = "the same row twice"
    ALONE = "a row alone"
    BATCH = "within a batch"
    COMPANY = "beside other rows"
    ORDER = "in another order"
    INTEGERS = "whole numbers as integers"


@dataclass(frozen=True, slots=True)
class TransformationCheck:
    transformation: Transformation
    rows: int
    max_difference: float = 0.0
    """Largest absolute difference of a score to the one it should equal."""
    failures: tuple[int, ...] = ()
    """Indices of the rows whose score differs or is missing."""
    error: str = ""
    """Why there was no answer; never with values."""


@dataclass(frozen=True, slots=True)
class MetamorphicEvidence:
    checks: tuple[TransformationCheck, ...]
    accepted: bool = False
    """The spec accepts a model that must be served one row at a time."""
    one_at_a_time: bool = False
    """The release is served so already."""
    together: bool = False
    """The spec declares that the rows of a request belong together (`serving.rows: together`)."""


@dataclass(frozen=True, slots=True)
class LatencyEvidence:
    """Requests of one row each, one after the other, on a warm release."""

    seconds: Sequence[float]
    budget_ms: float
    """Of the 99th percentile."""
    timeout_ms: float
    batches: Mapping[int, Sequence[float]] = field(default_factory=dict)
    """Rows -> seconds of requests with so many, one after the other; where single rows are slow."""


@dataclass(frozen=True, slots=True)
class MemoryEvidence:
    used_bytes: int | None
    """PSS of the worker after the other gates' requests; None: could not be read."""
    budget_bytes: int | None


@dataclass(frozen=True, slots=True)
class QualityEvidence:
    """Labelled rows with the scores of both releases, row by row."""

    labels: Sequence[float | None] | None
    """1 fraud, 0 none, None not known; None as a whole: there is no evaluation set."""
    candidate: Scores = ()
    champion: Scores | None = None
    """None: there is no champion to compare with."""
    budget: float = 0.005
    """Share of the rows that may alert."""
    margin: float = 0.05
    """How much recall may be lost, as a share of the frauds."""
    source: str = ""
    """Where the set comes from."""
    clusters: Sequence[int] | None = None
    """Row by row, which of them depend on each other: those of one number are of one entity, or copies of one row.
    None: the rows are independent."""
    live: tuple[int, int] | None = None
    """Of the champion: requests that it answered live, and those of them that alerted at its threshold. None: not
    known, or it has no threshold by this rule."""
    ranked: bool = True
    """The alert threshold follows from the budget, so scores must rank the rows. False: the spec fixes a threshold."""
    error: str = ""
    """Why the set, or the scores on it, could not be had."""
