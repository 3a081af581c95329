"""What the API needs of the engine and of the world. Satisfied by `engine.Desk`, `engine.Report` and `engine.World`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from serinus.core.people import Actor
from serinus.core.ports import Clock, PredictionLog, Store
from serinus.core.rollout import Rollout
from serinus.resources import (
    Difference,
    DiskUsage,
    Explanation,
    Fleet,
    ModelAlone,
    Pruned,
    ShownRelease,
    ShownRollout,
    SilentModel,
    SpecInForce,
)


class Deployed(Protocol):
    """`done`: there was nothing to do."""

    @property
    def rollout(self) -> str | None: ...
    @property
    def done(self) -> bool: ...
    @property
    def message(self) -> str: ...
    @property
    def advice(self) -> Advice: ...


class Advice(Protocol):
    """How long the canary will take, in words and as JSON values, and what of the spec cannot be meant."""

    @property
    def estimate(self) -> str: ...
    @property
    def warnings(self) -> Sequence[str]: ...
    @property
    def details(self) -> Mapping[str, Any] | None: ...


class Policy(Protocol):
    @property
    def approval_required(self) -> bool: ...
    @property
    def loosened_by(self) -> str: ...


class Desk(Protocol):
    """Takes people's wishes. Raises InvalidInput, NotFound, Refused, or Unavailable."""

    def deploy(
        self,
        *,
        ref: str | None,
        spec: str | None,
        actor: Actor,
        why: str = "",
        supersede: bool = False,
        source: str = "<spec>",
    ) -> Deployed:
        """`source`: what errors call the spec."""
        ...

    def order(self, rollout_id: str, kind: str, *, actor: Actor, why: str = "") -> str:
        """`promote`, `abort` or `approve`; what was ordered, in words."""
        ...

    def rollback(self, model: str, *, to: str | None, actor: Actor, why: str = "") -> Deployed: ...

    def retire(self, model: str, *, abort: bool, actor: Actor, why: str) -> Deployed:
        """Takes the model out of service. `abort`: ends what is in flight first."""
        ...

    def set_approval(self, model: str, required: bool, *, actor: Actor, why: str = "") -> str:
        """The model's policy; what holds now, in words."""
        ...

    def policy(self, model: str) -> Policy:
        """What holds for every deployment of the model."""
        ...

    def initial_spec(self, model: str) -> str:
        """YAML text."""
        ...


class Report(Protocol):
    """What people read. Only reads."""

    def status(self) -> Fleet:
        """The whole fleet."""
        ...

    def model(self, model: str) -> ModelAlone:
        """One of the models of the status. Raises NotFound."""
        ...

    def silent_models(self) -> Sequence[SilentModel]:
        """The models whose champion does not answer."""
        ...

    def registry_answers(self) -> bool:
        """Whether the registry could be read when that was last tried."""
        ...

    def rollout(self, rollout: Rollout) -> ShownRollout:
        """All of it, and of a canary step how far it is."""
        ...

    def explain(self, wanted: str) -> Explanation:
        """The whole rollout of a release id, a rollout id or a model, with its events. Raises NotFound."""
        ...

    def spec(self, model: str) -> SpecInForce:
        """The spec that is in force, and where each value comes from. Raises NotFound, InvalidInput."""
        ...

    def changes_by(self, spec: str, *, model: str | None, source: str) -> Difference:
        """What a deployment of `spec` (YAML text) would change. `source`: what errors call it. Raises InvalidInput."""
        ...

    def releases(self, model: str | None, limit: int | None = None, after: str | None = None) -> Sequence[ShownRelease]:
        """Newest first; `limit`: None: all. `after`: the last one of the page before."""
        ...


class Disk(Protocol):
    """What takes how much disk. Raises Unavailable: it is not known what runs."""

    def usage(self) -> DiskUsage: ...

    def prune(self, wanted: Collection[tuple[str, str]]) -> Pruned:
        """Removes those of `wanted` (kind, name) that nothing needs."""
        ...


class Callers(Protocol):
    """Who may call models, where Envoy asks for an API key. Raises Unavailable: nothing has changed."""

    def admit(self, name: str, key: str, models: Sequence[str] | None = None) -> None:
        """`models`: that the key opens; None: all."""
        ...

    def dismiss(self, name: str) -> None:
        """Nothing happens where there is none of that name."""
        ...


class World(Protocol):
    """What is asked past the engine."""

    @property
    def store(self) -> Store: ...
    @property
    def log(self) -> PredictionLog: ...
    @property
    def clock(self) -> Clock: ...
