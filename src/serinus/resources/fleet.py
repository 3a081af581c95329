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
    """What is live, and how it runs."""

    release: str
    version: str
    since: Moment | None
    threshold: float | None
    """Score from which on a row alerts; null: it is not known."""
    placement: str
    """`starting`, `ready`, `scaled-to-zero`, `failed` or `not placed`."""
    memory_bytes: int | None
    """null: it has no process, or that cannot be read."""
    restarts: int
    workers: int
    way: str
    """How it predicts: `onnx`, `matrix`, `direct` or `mlflow`; empty: it does not run."""
    remarks: str
    """Why it does not run as it should; may be empty."""


class FormerChampion(Answer):
    release: str
    version: str


class AlertRate(Answer):
    """Of the rows that the champion has scored, the share that alerts."""

    requests: int
    """That it has answered since it became champion; of the last five weeks at most."""
    rows: int
    """In these requests; at least one each."""
    alerts: int
    """Rows whose score reached the release's threshold."""
    rate: float
    """From 0 to 1, with its 95 % interval."""
    rate_low: float
    rate_high: float


class Model(Answer):
    model: str
    champion: Champion | None
    """null: nothing is live."""
    rechecked: Rechecked | None
    """Of the champion; null: nothing was compared."""
    previous: FormerChampion | None
    rollout: RolloutSummary | None
    """That is in flight."""
    traffic: Sequence[Traffic]
    """Of the champion and of the canary, in the last five minutes at most."""
    aborted: Mapping[str, str]
    """Version -> the rollout that was aborted."""
    watch: WatchOfChampion | None
    """null: the champion is not watched after its promotion any more."""
    outcomes: OutcomeFigures | None
    """null: there are no outcomes."""
    notes: Sequence[str]
    """What there is to know, a sentence each; of a model in trouble what is wrong."""
    state: State


class ModelAlone(Model):
    """A model with what is not read for all models at once."""

    alerts: AlertRate | None
    """null: nothing is live, it has no threshold, or nothing was counted."""


class RecheckedRelease(Rechecked):
    release: str


class Distrusted(Answer):
    """A release one of whose shorter ways answered wrong."""

    model: str
    release: str


class Process(Answer):
    """Of this installation."""

    name: str
    state: str
    """`running`, or why not."""
    pid: int
    since: float
    """Unix time of the state."""
    restarts: int
    reason: str
    """Why it ended last; may be empty."""


class Fleet(Answer):
    models: Sequence[Model]
    totals: Sequence[Totals]
    """Of each release since it was first heard of."""
    rechecked: Sequence[RecheckedRelease]
    distrusted: Sequence[Distrusted]
    processes: Sequence[Process]
    warnings: Sequence[str]
    """What is not as it should be beyond the models, a sentence each."""
    confinement: str
    """Of models, in words; empty: they are not confined."""
    addresses: Mapping[str, str]
    """`api`, `envoy`, `mlflow` -> URL."""
    now: Moment


class SilentModel(Answer):
    """A model whose champion does not answer."""

    model: str
    placement: str
    """`starting`, `failed` or `not placed`."""
    remarks: str
    """Why; may be empty."""


class Health(Answer):
    ok: bool
    registry: bool
    """Whether the registry could be read when that was last tried."""
