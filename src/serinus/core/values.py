"""Frozen values. Times are aware UTC datetimes, durations are seconds unless the name says `_ms`."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

WHOLE = 10_000
"""All of a model's traffic, in the unit of `Arm.weight`."""


class Verdict(StrEnum):
    """What the judge says of a stage. `PROMOTE` means: this stage has shown what it must."""

    PROMOTE = "promote"
    CONTINUE = "continue"
    HOLD = "hold"
    ABORT = "abort"


class Outcome(StrEnum):
    """Of a gate."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Role(StrEnum):
    """Of a release in a split."""

    CHAMPION = "champion"
    CANARY = "canary"


class PlacementState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    ASLEEP = "asleep"
    """No process: the first request wakes it. As good as ready to the router."""
    FAILED = "failed"
    """Does not come up, or died and is waiting to be started again; `reason` says which."""


# --- what is registered -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VersionRef:
    """One version of a registered model, as the registry knows it."""

    model: str
    version: str
    status: str
    """READY, PENDING_REGISTRATION or FAILED_REGISTRATION."""
    run_id: str | None = None
    source: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Column:
    """One input of a model: `type` in MLflow's words (double, float, long, integer, string, boolean, datetime,
    binary) or `tensor(<dtype>)`."""

    name: str
    type: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Combination:
    """Requirement lines that one file of an artifact, or several together, ask for."""

    source: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Requirements:
    """What an artifact says that it needs."""

    packages: tuple[str, ...]
    """Requirement lines as pip reads them, comments and blanks removed."""
    python: str | None
    """`3.9.18` or `3.9`; None where the artifact does not say."""
    logged_at: datetime | None = None
    """What is unpinned is resolved as of this day."""
    source: str = ""
    """The file that they were read from."""
    alternatives: tuple[Combination, ...] = ()
    """What other files of the artifact say, to be tried in this order where `packages` does not do."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model's files, on this machine, read but never loaded."""

    path: Path
    digest: str
    """sha256 over the sorted relative paths and contents."""
    requirements: Requirements
    inputs: tuple[Column, ...] | None
    """None: logged without a signature."""
    outputs: tuple[Column, ...] | None
    input_example: Path | None
    """`serving_input_example.json`, or None."""
    flavor: str
    """`loader_module` of the python_function flavour."""
    size_bytes: int = 0
    warnings: tuple[str, ...] = ()


# --- what can be served -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Environment:
    """A built environment: content-addressed by its full lock."""

    digest: str
    python: Path
    """The interpreter inside it."""
    python_version: str
    lock: Path
    tried: tuple[str, ...] = ()
    """What was tried to get here, in order, in words (dated lock, undated lock)."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Of the prediction cache of one worker."""

    max_bytes: int = 16 * 1024 * 1024
    ttl_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class WarmHours:
    """A part of the week, by the clocks of one place."""

    begins: int
    """Minutes after midnight."""
    ends: int
    """Minutes after the same midnight: more than 1440 where that is on the next day."""
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    """On which it begins; 0 is Monday."""
    timezone: str = "UTC"
    """A name of the IANA's database."""


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """How a release answers. Part of its identity."""

    timeout_ms: int = 250
    fallback_score: float | None = None
    """None: an error. A number: that score, marked as a fallback in the answer and in the log."""
    max_body_bytes: int = 1_048_576
    one_at_a_time: bool = False
    """For a model that answers differently when concurrent or batched: each row by itself."""
    score_output: str | None = None
    """Name of the output, or of the column, that is the score; None: the last column of the first output."""
    memory_limit_bytes: int | None = None
    cpu_limit: float | None = None
    """Processors that one worker may use, where the target can limit that."""
    cache: CacheSettings | None = None
    """None: every request is predicted."""
    batch_delay_ms: float = 0.0
    """How long a request may wait for others to be predicted together; 0: none waits."""
    batch_rows: int = 64
    """Most rows that are predicted together."""
    max_waiting: int = 256
    """Requests that may wait in one worker; a further one is answered 503 at once."""
    max_workers: int | None = None
    """Processes, as load asks for them; None: as many as there are processors."""
    keep_warm: bool = False
    """Never put to sleep."""
    warm_hours: tuple[WarmHours, ...] = ()
    """Within them woken, and not put to sleep."""
    unlogged: str = "answer"
    """What becomes of a request whose record there is no room for: `answer` (and count the loss) or `refuse` (503)."""
    scored: bool = True
    """False: the answers hold no score, so none is recorded and alerts are not judged."""
    protocols: tuple[str, ...] = ("open-inference", "invocations")
    """By which it is asked for predictions; a request by another one is refused."""
    rows: str = "each"
    """`each`: one answer a row, whatever its neighbours. `together`: a request's rows are one question, which is never
    split, batched, cached or asked in part."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A model and its preprocessing as one ONNX graph, proven to decide as the model does."""

    path: Path
    """Directory with `model.onnx` and `plan.json`."""
    digest: str
    python: Path
    """Of the compiled environment, which holds none of the model's libraries."""


@dataclass(frozen=True, slots=True)
class Release:
    """Immutable. `id` is `<model>-<version>-<6 hex digits>` over the digests and the settings."""

    id: str
    model: str
    version: str
    artifact_path: Path
    artifact_digest: str
    environment_digest: str
    python: Path
    settings: ServingSettings
    created_at: datetime
    compiled: Compiled | None = None
    """None: served by the model's own libraries."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What a target knows of one release."""

    release: str
    state: PlacementState
    reason: str = ""
    endpoint: str = ""
    """Where its worker answers; a Unix socket's path locally."""
    pid: int | None = None
    memory_bytes: int | None = None
    """PSS, where it could be read."""
    restarts: int = 0
    load_seconds: float | None = None
    workers: int = 1
    way: str = ""
    """How it predicts: `onnx`, `matrix`, `direct` or `mlflow`."""
    awake_since: datetime | None = None
    """When its present worker became ready; None: it has none."""
    long: bool = False
    """It is distrusted: served the long way, or on its way there while `way` still names a shorter one."""
    warm_up_ms: float | None = None
    """Of its first prediction, before it was ready; None: it was not warmed up."""

    @property
    def answers(self) -> bool:
        """Whether traffic may be sent to it; one that is asleep wakes."""
        return self.state in (PlacementState.READY, PlacementState.ASLEEP)


# --- traffic ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arm:
    release: str
    weight: int
    """Out of `WHOLE`. An arm of weight 0 gets no traffic but is there to be reached by its release id."""
    role: Role
    endpoint: str


@dataclass(frozen=True, slots=True)
class Routing:
    """All that the router needs for one model. Weights sum up to `WHOLE`; more than two arms are allowed."""

    model: str
    arms: tuple[Arm, ...]
    split: str
    """A token, `[A-Za-z0-9._:-]+`, which the router adds to every request, and the prediction log keeps: it says
    under which split a request was answered. Changes with every step of a rollout."""
    salt: str
    """Of the entity hash: fixed for one rollout, so that growing a canary keeps those that were in it."""
    timeout_ms: int = 250
    fallback_score: float | None = None


# --- how a model behaves where it is tried -----------------------------------------------------------------


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
    """Of a file: `rows` in the order of `columns`, values as JSON has them."""

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


# --- evidence ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GateResult:
    gate: str
    outcome: Outcome
    summary: str
    """One sentence, with the numbers."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """JSON values only."""


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


# --- people and what they did -----------------------------------------------------------------------------


class Access(StrEnum):
    """Roles of a token, each including the ones before it."""

    VIEW = "view"
    DEPLOY = "deploy"
    APPROVE = "approve"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. `name`: of the token. `origin`: an address, `local socket`, `alias`, or `engine`."""

    name: str
    access: Access
    origin: str = ""
    owner: str = ""
    """The person or service that the token was issued to; empty: of that name itself."""

    @property
    def shown(self) -> str:
        """For people: the token's name, with its owner where that is another."""
        return f"{self.name} ({self.owner})" if self.owner and self.owner != self.name else self.name

    @property
    def is_nobody(self) -> bool:
        """Whether it is not known who acts: an alias of the registry was set, which says of nobody that they did."""
        return self.origin == "alias" and not self.owner

    def may_be(self, other: Actor) -> bool:
        """Whether both are one person or service: one token, or two of one owner."""
        return bool(
            {_person(self.name), _person(self.owner or self.name)}
            & {_person(other.name), _person(other.owner or other.name)}
        )


def _person(name: str) -> str:
    """By which two spellings of a name are equal."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act. `digest` is sha256 over the entry's canonical JSON together with `previous`."""

    number: int
    at: datetime
    who: str
    what: str
    subject: str
    why: str
    origin: str
    details: Mapping[str, Any]
    previous: str
    digest: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has become true. `kind` is kebab-case: `gates-passed`, `canary-2500`, `aborted`."""

    at: datetime
    model: str
    rollout: str | None
    kind: str
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0


Rows = Sequence[Mapping[str, Any]]
