"""What is registered, and what of it is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


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
    """A model's files, read but never loaded. Where they lie is known to who keeps them, by `digest`."""

    digest: str
    """sha256 over the sorted relative paths and contents."""
    requirements: Requirements
    inputs: tuple[Column, ...] | None
    """None: logged without a signature."""
    outputs: tuple[Column, ...] | None
    flavor: str
    """`loader_module` of the python_function flavour."""
    size_bytes: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Environment:
    """A built environment: content-addressed by its full lock."""

    digest: str
    python_version: str
    tried: tuple[str, ...] = ()
    """What was tried to get here, in order, in words (dated lock, undated lock)."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Settings of the response cache; `Scale` says how large it is."""

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
    """How a release answers. Part of its identity, as `Scale` is not."""

    timeout_ms: int = 250
    fallback_score: float | None = None
    """None: an error. A number: that score, marked as a fallback in the answer and in the log."""
    max_body_bytes: int = 1_048_576
    one_at_a_time: bool = False
    """For a model that answers differently when concurrent or batched: each row by itself."""
    score_output: str | None = None
    """Name of the output, or of the column, that is the score; None: the last column of the first output."""
    cache: CacheSettings | None = None
    """None: every request is predicted."""
    batch_delay_ms: float = 0.0
    """How long a request may wait for others to be predicted together; 0: none waits."""
    batch_rows: int = 64
    """Most rows that are predicted together."""
    max_waiting: int = 256
    """Requests that may wait in one worker; a further one is answered 503 at once."""
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
class Scale:
    """What a release gets. It changes while the release runs, without another release."""

    max_workers: int | None = None
    """Processes, as load asks for them; None: as many as there are processors."""
    keep_warm: bool = False
    """Never scaled to zero."""
    warm_hours: tuple[WarmHours, ...] = ()
    """Within them activated, and not scaled to zero."""
    memory_limit_bytes: int | None = None
    """Of one worker; None: no limit."""
    cpu_limit: float | None = None
    """Processors that one worker may use, where the target can limit that; None: no limit."""
    cache_bytes: int = 16 * 1024 * 1024
    """Most that the response cache of one worker takes, where there is one."""


USUAL = Scale()
"""What a release gets whose spec says nothing of it."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A model and its preprocessing as one ONNX graph, proven to decide as the model does."""

    digest: str
    environment_digest: str
    """Of the compiled environment, which holds none of the model's libraries."""


@dataclass(frozen=True, slots=True)
class Release:
    """Immutable. `id` is `<model>-<version>-<6 hex digits>` over the digests and the settings. It names content by
    digest; the target knows where that content lies."""

    id: str
    model: str
    version: str
    artifact_digest: str
    environment_digest: str
    settings: ServingSettings
    created_at: datetime
    compiled: Compiled | None = None
    """None: served by the model's own libraries."""
