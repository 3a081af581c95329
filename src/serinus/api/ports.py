"""The dependencies of the API, which `engine.Desk`, `engine.Report` and `engine.World` satisfy."""

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
    """The result of a request that may have started a rollout. `done`: there was nothing to do."""

    @property
    def rollout(self) -> str | None:
        """The id of the rollout. None: none was started."""

    @property
    def done(self) -> bool:
        """Whether there was nothing to do."""

    @property
    def message(self) -> str:
        """The result in words."""

    @property
    def advice(self) -> Advice:
        """Advice on the deployment."""


class Advice(Protocol):
    """The expected duration of the canary, in words and as JSON values, and warnings about the spec."""

    @property
    def estimate(self) -> str:
        """The expected duration in words."""

    @property
    def warnings(self) -> Sequence[str]:
        """Contradictions in the spec."""

    @property
    def details(self) -> Mapping[str, Any] | None:
        """The estimate as JSON values. None: there is none."""


class Policy(Protocol):
    """The policy of a model."""

    @property
    def approval_required(self) -> bool:
        """Whether another person must approve each version."""

    @property
    def loosened_by(self) -> str:
        """The name of the token that last loosened the policy. Empty: none did."""


class Desk(Protocol):
    """Takes requests for changes. Raises InvalidInput, NotFound, Refused and Unavailable."""

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
        """Starts a rollout. Errors call the spec `source`."""
        ...

    def order(self, rollout_id: str, kind: str, *, actor: Actor, why: str = "") -> str:
        """Orders a rollout to `promote`, `abort` or `approve`. Returns the order in words."""
        ...

    def rollback(self, model: str, *, to: str | None, actor: Actor, why: str = "") -> Deployed:
        """Rolls back to a former champion."""

    def retire(self, model: str, *, abort: bool, actor: Actor, why: str) -> Deployed:
        """Takes the model out of service. `abort`: ends the rollout in flight first."""
        ...

    def set_approval(self, model: str, required: bool, *, actor: Actor, why: str = "") -> str:
        """Sets the model's policy, and returns it in words."""
        ...

    def policy(self, model: str) -> Policy:
        """Returns the policy of the model."""
        ...

    def initial_spec(self, model: str) -> str:
        """Returns the model's first spec as YAML text."""
        ...


class Report(Protocol):
    """Answers questions. Only reads."""

    def status(self) -> Fleet:
        """Returns the whole fleet."""
        ...

    def model(self, model: str) -> ModelAlone:
        """Returns one of the models of the status. Raises NotFound."""
        ...

    def silent_models(self) -> Sequence[SilentModel]:
        """Returns the models whose champion does not answer."""
        ...

    def registry_answers(self) -> bool:
        """Whether the registry could be read at the last attempt."""
        ...

    def rollout(self, rollout: Rollout) -> ShownRollout:
        """Returns the whole rollout and its progress."""
        ...

    def explain(self, wanted: str) -> Explanation:
        """Returns the whole rollout of a release id, a rollout id or a model, with its events. Raises NotFound."""
        ...

    def spec(self, model: str) -> SpecInForce:
        """Returns the spec in force, with the origin of each value. Raises NotFound and InvalidInput."""
        ...

    def changes_by(self, spec: str, *, model: str | None, source: str) -> Difference:
        """Returns what a deployment of `spec` (YAML text) would change. Errors call the spec `source`. Raises
        InvalidInput."""
        ...

    def releases(self, model: str | None, limit: int | None = None, after: str | None = None) -> Sequence[ShownRelease]:
        """Returns releases, newest first, at most `limit` (None: all). `after` is the last one of the previous page."""
        ...


class Disk(Protocol):
    """Measures and frees disk space. Raises Unavailable where it is unknown what runs."""

    def usage(self) -> DiskUsage:
        """Returns the disk usage."""

    def prune(self, wanted: Collection[tuple[str, str]]) -> Pruned:
        """Removes those of `wanted` (pairs of kind and name) that nothing needs."""
        ...


class Callers(Protocol):
    """The callers of models, where Envoy requires API keys. After Unavailable nothing has changed."""

    def admit(self, name: str, key: str, models: Sequence[str] | None = None) -> None:
        """Lets a caller in. `models` are the models that the key opens. None: all."""
        ...

    def dismiss(self, name: str) -> None:
        """Removes the caller's key. Does nothing where there is none of that name."""
        ...


class World(Protocol):
    """Ports that the API uses directly."""

    @property
    def store(self) -> Store:
        """The store."""

    @property
    def log(self) -> PredictionLog:
        """The prediction log."""

    @property
    def clock(self) -> Clock:
        """The clock."""
