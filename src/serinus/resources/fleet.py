"""The fleet at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from serinus.core.evidence import Totals, Traffic
from serinus.resources.base import Answer, Moment
from serinus.resources.outcomes import OutcomeFigures
from serinus.resources.rollouts import Rechecked, RolloutSummary, WatchOfChampion

State = Literal["trouble", "starting", "rolling-out", "retired", "serving", "idle"]


class Champion(Answer):
    """The live release and how it runs."""

    release: str
    version: str
    since: Moment | None
    threshold: float | None
    """The score from which on a row alerts. null: unknown."""
    placement: str
    """`starting`, `ready`, `scaled-to-zero`, `failed` or `not placed`."""
    memory_bytes: int | None
    """null: it has no process, or its memory cannot be read."""
    restarts: int
    workers: int
    way: str
    """How it predicts: `onnx`, `matrix`, `direct` or `mlflow`. Empty: it does not run."""
    remarks: str
    """What is wrong with it. May be empty."""


class FormerChampion(Answer):
    """The champion before."""

    release: str
    version: str


class AlertRate(Answer):
    """The share of the champion's scored rows that alert."""

    requests: int
    """Requests that it has answered since it became the champion, within the last five weeks."""
    rows: int
    """Rows in these requests, at least one in each."""
    alerts: int
    """Rows whose score reached the release's threshold."""
    rate: float
    """From 0 to 1, with its 95% interval."""
    rate_low: float
    rate_high: float


class Model(Answer):
    """A model."""

    model: str
    champion: Champion | None
    """null: no release is live."""
    rechecked: Rechecked | None
    """The recheck of the champion. null: nothing was compared."""
    previous: FormerChampion | None
    rollout: RolloutSummary | None
    """The rollout in flight."""
    traffic: Sequence[Traffic]
    """The traffic of the champion and of the canary in at most the last five minutes."""
    aborted: Mapping[str, str]
    """The rollout that was aborted, by version."""
    watch: WatchOfChampion | None
    """null: the champion is no longer watched."""
    outcomes: OutcomeFigures | None
    """null: there are no outcomes."""
    notes: Sequence[str]
    """Sentences for people. For a model in trouble, they say what is wrong."""
    state: State


class ModelAlone(Model):
    """A model, with fields that are not read for all models at once."""

    alerts: AlertRate | None
    """null: no release is live, it has no threshold, or nothing was counted."""


class RecheckedRelease(Rechecked):
    """The recheck of one release."""

    release: str


class Distrusted(Answer):
    """A release whose faster way to predict gave wrong answers."""

    model: str
    release: str


class Process(Answer):
    """A process of this installation."""

    name: str
    state: str
    """`running`, or the reason why it does not run."""
    pid: int
    since: float
    """The Unix time since which it has this state."""
    restarts: int
    reason: str
    """Why it last ended. May be empty."""


class Fleet(Answer):
    """The whole fleet."""

    models: Sequence[Model]
    totals: Sequence[Totals]
    """The counters of each release since its first request."""
    rechecked: Sequence[RecheckedRelease]
    distrusted: Sequence[Distrusted]
    processes: Sequence[Process]
    warnings: Sequence[str]
    """What is wrong apart from the models, a sentence each."""
    confinement: str
    """How models are confined, in words. Empty: they are not."""
    addresses: Mapping[str, str]
    """The URLs of `api`, `envoy` and `mlflow`."""
    now: Moment


class SilentModel(Answer):
    """A model whose champion does not answer."""

    model: str
    placement: str
    """`starting`, `failed` or `not placed`."""
    remarks: str
    """The reason. May be empty."""


class Health(Answer):
    """The health of the API."""

    ok: bool
    registry: bool
    """Whether the registry could be read at the last attempt."""
