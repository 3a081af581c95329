"""The report for people: the fleet, one model, rollouts, releases and specs. Only reads."""

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
    ShownRelease,
    ShownRollout,
    SilentModel,
    SpecInForce,
)

MODELS_NAMED = 20


class Report:
    """Answers the questions of people.

    - `trouble`: the problems that the engine reports, by model.
    - `processes`: the supervisor's records.
    - `confinement`: how models are confined, in words.
    - `installation`: notes about fields of a spec that follow from the settings of this installation.
    """

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
        """Returns the whole fleet."""
        trouble, processes, now = dict(self._trouble()), list(self._processes()), self._world.clock.now()
        lately = started_lately(processes, now)
        if "mlflow" in lately:
            trouble.pop("registry", None)
        seen = known(self._world, lately)
        states = shown_states(self._world, seen)
        return Fleet(
            models=[shown_model(self._world, state, trouble.pop(state.model, ()), seen) for state in states],
            totals=list(seen.totals.values()),
            rechecked=seen.found.table(),
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
        """Returns one of the models of `status`, with its alert rate. Raises NotFound."""
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
        """Returns the models whose champion does not answer."""
        return silent_models(self._world)

    def registry_answers(self) -> bool:
        """Whether the engine could read the registry at its last attempt."""
        return self._registry_answers()

    def rollout(self, rollout: Rollout) -> ShownRollout:
        """Returns all that is stored of the rollout, and its progress."""
        return shown_rollout(self._world, rollout)

    def explain(self, wanted: str) -> Explanation:
        """Returns a rollout with its request, gates, steps, figures and reason. Raises NotFound.

        `wanted` is its id, its release or its model. For a model it is the newest rollout.
        """
        return explanation(self._world, wanted, self._confinement)

    def spec(self, model: str) -> SpecInForce:
        """Returns the spec in force, with the origin of each value. Raises NotFound and InvalidInput."""
        return spec_in_force(self._world, model, self._installation)

    def changes_by(self, spec: str, *, model: str | None, source: str) -> Difference:
        """Returns what a deployment of `spec` (YAML text) would change. Errors call the spec `source`. Raises
        InvalidInput."""
        return changes_by(self._world, spec, model=model, source=source)

    def releases(self, model: str | None, limit: int | None = None, after: str | None = None) -> Sequence[ShownRelease]:
        """Returns releases with what became of each, newest first, at most `limit`. None: all.

        `after` is the last one of the previous page.
        """
        return shown_releases(self._world, model, limit, after)

    def _disk(self) -> Sequence[str]:
        free = shutil.disk_usage(self._world.disk).free
        if free >= FREE_BYTES_NEEDED:
            return ()
        return (
            f"the disk is nearly full ({free // 1_000_000} MB free): no new deployments are taken; serving goes on",
        )
