"""Deployments: the version and the spec that are requested, and whether there is anything to do."""

from __future__ import annotations

import shutil
from dataclasses import replace

from serinus import spec as specs
from serinus.core.errors import InvalidInput, NotFound, Refused
from serinus.core.names import checked, spec_file
from serinus.core.people import Access, Actor
from serinus.core.release import VersionRef
from serinus.core.rollout import Kind, ModelState, Rollout
from serinus.delivery import CHALLENGER
from serinus.engine.commands.approvals import Approvals, of_its_spec
from serinus.engine.commands.plans import of_scale
from serinus.engine.commands.rollouts import Deployed, Rollouts
from serinus.engine.distrust import distrusted, shortcut_of
from serinus.engine.policies import keep_spec
from serinus.engine.queries.estimate import NO_ADVICE, told
from serinus.engine.queries.in_force import readable
from serinus.engine.steps.facts import by_alias, facts_of
from serinus.engine.world import FREE_BYTES_NEEDED, World

NOBODY = "nobody"
"""The name of the actor where MLflow does not say who has set an alias. No token has this name."""


class Deployments:
    """Starts rollouts of versions."""

    def __init__(self, world: World, rollouts: Rollouts, approvals: Approvals) -> None:
        self._world = world
        self._rollouts = rollouts
        self._approvals = approvals

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
        """See `Desk.deploy`."""
        model, wanted, text = self._what(ref, spec, source)
        self._check_disk()
        found = self._find(model, wanted, named=ref is not None)
        state = self._world.store.model(model)
        kind, scale = Kind.DEPLOY, specs.scale(specs.load(text, model=model))
        if self._is_live(state, found, text):
            if scale == state.scale:
                return self._nothing_to_do(state, text, given=spec is not None)
            kind = Kind.SCALE
        if found.version in state.aborted and not why:
            raise Refused(
                f"{model}@{found.version} was aborted in {state.aborted[found.version]}",
                hint=f"`serinus explain {state.aborted[found.version]}` says why. "
                f'To try it again: `serinus deploy {model}@{found.version} --reason "..."`.',
            )
        in_flight = self._rollouts.in_flight(model)
        if in_flight is not None and not supersede:
            raise Refused(*_choices(in_flight))
        before = self._world.fleet.read(model)
        waits = self._approvals.asked_before(model, before, actor)
        self._approvals.tighten(model, text, before, actor)
        rollout = self._rollouts.new(model, kind, found.version, ref or f"{model}@{wanted}", actor, why, text, state)
        said = f"{model}@{found.version} is being deployed as {rollout.id}"
        if kind is Kind.SCALE:
            asks = waits or specs.approval_required(specs.load(text, model=model))
            rollout = of_scale(rollout, state, scale, approval=asks)
            said = f"{rollout.id} changes scale only: applied to {model}@{found.version} without a canary"
        if not waits:
            keep_spec(self._world, rollout)
        elif spec is not None and spec != before:
            rollout = replace(rollout, spec_waits=True, notes=(of_its_spec(model, before, spec),))
            said += "; its spec becomes the model's once it is approved"
        source = source if spec is not None else spec_file(model)
        advice = told(self._world, state, text, source) if kind is Kind.DEPLOY else NO_ADVICE
        rollout = replace(rollout, notes=(*rollout.notes, *(f"warning: {one}" for one in advice.warnings)))
        self._rollouts.begin(rollout, in_flight)
        return Deployed(rollout.id, False, said, advice)

    def deploy_by_alias(self, model: str, version: str) -> None:
        """See `Desk.deploy_by_alias`."""
        in_flight = self._rollouts.in_flight(model)
        if in_flight is not None and in_flight.version == version:
            return
        by = self._world.registry.who_set(model, CHALLENGER, version)
        actor = Actor(name=by or NOBODY, access=Access.DEPLOY, origin="alias", owner=by)
        self._world.store.audit(
            actor, "deploy", f"{model}@{version}", "the alias challenger was set", {}, self._world.clock.now()
        )
        self.deploy(ref=f"{model}@{version}", spec=None, actor=actor)

    def _what(self, ref: str | None, spec: str | None, source: str) -> tuple[str, str, str]:
        """Returns the model, the version or alias, and the text of the spec.

        A spec without a version is for the one that has the alias `challenger`.
        """
        if ref is None and spec is None:
            raise InvalidInput("nothing to deploy", hint="Name a version, `card-fraud@7`, or give a spec file.")
        model, _, wanted = (ref or "").partition("@")
        if model:
            checked(model)
        if spec is not None:
            parsed = specs.load(spec, source=source, model=model or None)
            return parsed.model, wanted or "challenger", spec
        if not wanted:
            raise InvalidInput(f"'{ref}' does not name a version", hint=f"Write `{model}@7` or `{model}@challenger`.")
        return model, wanted, self._world.fleet.read(model) or self._first_spec(model, by_alias(self._world, model))

    def _find(self, model: str, wanted: str, *, named: bool) -> VersionRef:
        try:
            return self._world.registry.find(model, wanted)
        except NotFound as error:
            if named:
                raise
            hint = (
                f"Name a version: `serinus deploy {model}@VERSION --spec FILE`, or set the alias challenger in MLflow."
            )
            raise NotFound(f"The spec does not name a version, and {error.message}", hint=hint) from error

    def _is_live(self, state: ModelState, found: VersionRef, text: str) -> bool:
        """Whether the champion is of that version and answers as the spec says."""
        champion = state.champion
        if champion is None or champion.version != found.version:
            return False
        if champion.compiled is not None and shortcut_of(champion) in distrusted(self._world.store):
            return False  # A new release has another graph, or none.
        return specs.behaves_alike(specs.load(text, model=found.model), champion.settings)

    def _nothing_to_do(self, state: ModelState, text: str, *, given: bool) -> Deployed:
        """Returns the result of a deployment that changes nothing. The model's spec is not changed either.

        `given` says whether the request had a spec.
        """
        assert state.champion is not None
        model, champion = state.model, state.champion
        done = f"{model}@{champion.version} is already the champion, as {champion.id}: there is nothing to do"
        if given and text != self._world.fleet.read(model):
            done += "; the spec in this request is not kept: use it again with the next version"
        return Deployed(None, True, done)

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self._world.disk).free
        if free < FREE_BYTES_NEEDED:
            raise Refused(
                f"only {free // 1_000_000} MB are free on the disk of {self._world.disk}; serving goes on, "
                f"new deployments need {FREE_BYTES_NEEDED // 1_000_000} MB",
                hint="Free some disk space, then deploy again.",
            )

    def initial_spec(self, model: str) -> str:
        """See `Desk.initial_spec`."""
        if kept := self._world.fleet.read(checked(model)):
            readable(kept, model)
            return kept
        return self._first_spec(model, by_alias(self._world, model) or self._world.registry.newest(model))

    def _first_spec(self, model: str, ref: VersionRef | None) -> str:
        return specs.initial(model, facts_of(self._world, ref))


def _choices(in_flight: Rollout) -> tuple[str]:
    return (
        f"{in_flight.id} ({in_flight.model}@{in_flight.version}, {in_flight.status.phase.value}) is in flight. "
        f"Wait for it (`serinus status {in_flight.model}`), abort it (`serinus abort {in_flight.model}`), "
        f"or replace it (`--supersede`).",
    )
