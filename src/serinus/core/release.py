"""Registered versions, their artifacts and environments, and the releases that are made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class VersionRef:
    """A version of a registered model, as the registry reports it."""

    model: str
    version: str
    status: str
    """`READY`, `PENDING_REGISTRATION` or `FAILED_REGISTRATION`."""
    run_id: str | None = None
    source: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Column:
    """One input of a model.

    `type` is a type of MLflow (double, float, long, integer, string, boolean, datetime, binary) or `tensor(<dtype>)`.
    """

    name: str
    type: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Combination:
    """The requirement lines of one file of an artifact, or of several files together."""

    source: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Requirements:
    """The requirements that an artifact declares."""

    packages: tuple[str, ...]
    """Requirement lines in pip's format, without comments and blank lines."""
    python: str | None
    """The Python version, such as `3.9.18` or `3.9`. None: the artifact does not declare one."""
    logged_at: datetime | None = None
    """Requirements without a version are resolved as of this time."""
    source: str = ""
    """The file that they were read from."""
    alternatives: tuple[Combination, ...] = ()
    """The requirements of other files of the artifact, in the order in which they are tried where `packages` fails."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """The files of a model and what they declare. No code of the model has been loaded."""

    digest: str
    """The SHA-256 over the sorted relative paths and the contents."""
    requirements: Requirements
    inputs: tuple[Column, ...] | None
    """None: the model was logged without a signature."""
    outputs: tuple[Column, ...] | None
    flavor: str
    """The `loader_module` of the python_function flavor."""
    size_bytes: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Environment:
    """A built environment. Its digest identifies its complete lock."""

    digest: str
    python_version: str
    tried: tuple[str, ...] = ()
    """The attempts that led to it, in order and in words."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Settings of the response cache. `Scale.cache_bytes` is its size."""

    ttl_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class WarmHours:
    """A part of the week, in one time zone."""

    begins: int
    """Minutes after midnight."""
    ends: int
    """Minutes after the same midnight. More than 1,440 where it ends on the next day."""
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    """The weekdays on which it begins. 0 is Monday."""
    timezone: str = "UTC"
    """A name of the IANA time zone database."""


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """How a release answers. The settings are a part of its identity, unlike its `Scale`."""

    timeout_ms: int = 250
    fallback_score: float | None = None
    """The score that callers get where the model fails. It is marked as a fallback in the answer and in the log. None:
    callers get an error."""
    max_body_bytes: int = 1_048_576
    one_at_a_time: bool = False
    """Each row is predicted by itself, because the model answers differently to concurrent or batched rows."""
    score_output: str | None = None
    """The name of the output or column that holds the score. None: the last column of the first output."""
    cache: CacheSettings | None = None
    """None: every request is predicted."""
    batch_delay_ms: float = 0.0
    """How long a request may wait for others, to be predicted together with them. 0: requests do not wait."""
    batch_rows: int = 64
    """The largest number of rows that are predicted together."""
    max_waiting: int = 256
    """The number of requests that may wait in one worker. Further requests get HTTP 503 at once."""
    unlogged: str = "answer"
    """What happens to a request whose record cannot be buffered: `answer` (the loss is counted) or `refuse` (HTTP
    503)."""
    scored: bool = True
    """Whether the answers hold a score. If not, no score is recorded and alerts are not judged."""
    protocols: tuple[str, ...] = ("open-inference", "invocations")
    """The protocols in which predictions may be requested. Requests in any other are refused."""
    rows: str = "each"
    """`each`: every row is answered independently of the other rows. `together`: the rows of a request form one
    question, which is never split, batched, cached or sent in part."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The resources of a release. They can change while it runs, without another release."""

    max_workers: int | None = None
    """The largest number of processes, which follows the load. None: the number of processors."""
    keep_warm: bool = False
    """The release is never scaled to zero."""
    warm_hours: tuple[WarmHours, ...] = ()
    """Hours at whose beginning the release is activated, and during which it is not scaled to zero."""
    memory_limit_bytes: int | None = None
    """The memory limit of one worker. None: no limit."""
    cpu_limit: float | None = None
    """The number of processors that one worker may use, where the target can limit that. None: no limit."""
    cache_bytes: int = 16 * 1024 * 1024
    """The largest size of the response cache of one worker, where it has one."""


USUAL = Scale()
"""The scale of a release whose spec does not set it."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A model and its preprocessing as one ONNX graph, which was proven to decide as the model does."""

    digest: str
    environment_digest: str
    """The digest of the compiled environment, which holds none of the model's libraries."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release, which never changes. `id` is `<model>-<version>-<6 hex digits>`, derived from the digests and the
    settings.

    Content is named by digest. The target knows where it lies.
    """

    id: str
    model: str
    version: str
    artifact_digest: str
    environment_digest: str
    settings: ServingSettings
    created_at: datetime
    compiled: Compiled | None = None
    """None: the release is served by the model's own libraries."""
