"""What people read: the fleet at a glance, one model, rollouts, releases and specs. Only reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from serinus.core.errors import NotFound
from serinus.core.rollout import Rollout
from serinus.engine.alerting import live_alerts
from serinus.engine.queries.fleet import known, shown_model, shown_states, silent_models
from serinus.engine.queries.in_force import changes_by, spec_in_force
from serinus.engine.queries.releases import shown_releases
from serinus.engine.queries.rollouts import explanation, shown_rollout
from serinus.engine.queries.starting import started_lately
from serinus.engine.world import FREE_BYTES_NEEDED, World
from serinus.resources import (
    Difference,
    Distrusted,
    Explanation,
    Fleet,
    ModelAlone,
    Process,
    RecheckedRelease,
    ShownRelease,
    ShownRollout,
    SilentModel,
    SpecInForce,
)

MODELS_NAMED = 20


class Report:
    """`trouble`: the engine's, by model. `processes`: the supervisor's records. `confinement`: of models, in words.
    `installation`: field of a spec -> what the settings of this installation say to it."""

    def __init__(
        self,
        world: World,
        trouble: Callable[[], Mapping[str, Sequence[str]]],
        processes: Callable[[], Sequence[Mapping[str, Any]]],
        addresses: Mapping[str, str],
        warnings: Callable[[], Sequence[str]],
        registry_answers: Callable[[], bool] = lambda: True,
        confinement: str = "",
        installation: Mapping[str, str] | None = None,
    ) -> None:
        self._world = world
        self._trouble = trouble
        self._processes = processes
        self._addresses = addresses
        self._warnings = warnings
        self._registry_answers = registry_answers
        self._confinement = confinement
        self._installation = installation or {}

    def status(self) -> Fleet:
        """The whole fleet."""
        trouble, processes, now = dict(self._trouble()), list(self._processes()), self._world.clock.now()
        lately = started_lately(processes, now)
        if "mlflow" in lately:
            trouble.pop("registry", None)
        seen = known(self._world, lately)
        states = shown_states(self._world, seen)
        return Fleet(
            models=[shown_model(self._world, state, trouble.pop(state.model, ()), seen) for state in states],
            totals=list(seen.totals.values()),
            rechecked=[RecheckedRelease.model_validate(one) for one in seen.found.table()],
            distrusted=[Distrusted(model=mark.model, release=mark.release) for mark in seen.found.marks.values()],
            processes=[Process.model_validate(one) for one in processes],
            warnings=[
                *self._warnings(),
                *self._disk(),
                *self._world.log.warnings(),
                *(line for lines in trouble.values() for line in lines),
            ],
            confinement=self._confinement,
            addresses=self._addresses,
            now=now,
        )

    def model(self, model: str) -> ModelAlone:
        """One of the models of `status`, with the share of its live requests that alerts. Raises NotFound."""
        lately = started_lately(list(self._processes()), self._world.clock.now())
        seen = known(self._world, lately, model)
        for state in shown_states(self._world, seen, model):
            shown = shown_model(self._world, state, self._trouble().get(model, ()), seen)
            return ModelAlone(**dict(shown), alerts=live_alerts(self._world, state))
        every = self._world.store.models()
        there = ", ".join(one.model for one in every[:MODELS_NAMED]) + (", ..." if len(every) > MODELS_NAMED else "")
        hint = f"The models are: {there or 'none yet'}. `serinus deploy {model}@1` begins."
        raise NotFound(f"no model {model} is deployed", hint=hint)

    def silent_models(self) -> Sequence[SilentModel]:
        """The models whose champion does not answer."""
        return silent_models(self._world)

    def registry_answers(self) -> bool:
        """Whether the engine could read the registry when it last tried."""
        return self._registry_answers()

    def rollout(self, rollout: Rollout) -> ShownRollout:
        """All that is stored of it, and how far it is."""
        return shown_rollout(self._world, rollout)

    def explain(self, wanted: str) -> Explanation:
        """A rollout, by its id, its release or its model, whose newest it is then: what was asked, every gate, every
        step with its numbers, why it ended. Raises NotFound."""
        return explanation(self._world, wanted, self._confinement)

    def spec(self, model: str) -> SpecInForce:
        """The spec that is in force, and where each value comes from. Raises NotFound, InvalidInput."""
        return SpecInForce.model_validate(spec_in_force(self._world, model, self._installation))

    def changes_by(self, spec: str, *, model: str | None, source: str) -> Difference:
        """What a deployment of `spec` (YAML text) would change. `source`: what errors call it. Raises InvalidInput."""
        return Difference.model_validate(changes_by(self._world, spec, model=model, source=source))

    def releases(self, model: str | None, limit: int | None = None, after: str | None = None) -> Sequence[ShownRelease]:
        """Newest first, each with what became of it. `limit`: None: all. `after`: the last one of the page before."""
        return shown_releases(self._world, model, limit, after)

    def _disk(self) -> Sequence[str]:
        free = shutil.disk_usage(self._world.disk).free
        if free >= FREE_BYTES_NEEDED:
            return ()
        return (
            f"the disk is nearly full ({free // 1_000_000} MB free): no new deployments are taken; serving goes on",
        )
