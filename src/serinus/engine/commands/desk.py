"""Where people's wishes come in. The desk checks and stores them; the engine's next tick acts."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

from serinus import spec as specs
from serinus.core.errors import InvalidInput, NotFound, Refused, SerinusError
from serinus.core.names import checked
from serinus.core.people import Access, Actor
from serinus.core.release import Release, VersionRef
from serinus.core.rollout import Kind, ModelState, Order, Phase, Rollout, Status
from serinus.delivery import CHALLENGER, champion_before, champions, may_approve, rolled_back_from, why_never_champion
from serinus.engine.commands.approvals import Approvals, of_its_spec
from serinus.engine.commands.plans import of_scale, rollback_plan
from serinus.engine.distrust import distrusted, shortcut_of
from serinus.engine.happenings import event_of
from serinus.engine.news import News
from serinus.engine.policies import ModelPolicy, keep_spec, policy_of
from serinus.engine.queries.estimate import NO_ADVICE, Advice, told
from serinus.engine.queries.in_force import readable
from serinus.engine.reconcile.watching import WATCH
from serinus.engine.steps.facts import by_alias, facts_of
from serinus.engine.world import FREE_BYTES_NEEDED, World

NOBODY = "nobody"
"""Who has set an alias, as far as MLflow tells. No token has this name."""

HISTORY = 10_000
"""Most rollouts of one model that are looked at for its former champions, or of one version for who asked for it."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """`done`: there was nothing to do."""

    rollout: str | None
    done: bool
    message: str
    advice: Advice = NO_ADVICE


class Desk:
    """Every method raises what a person can mend: InvalidInput, NotFound, Refused; or Unavailable.

    `news` is told of every model that there is something to do for.
    """

    def __init__(self, world: World, news: News | None = None) -> None:
        self._world = world
        self._news = news or News()
        self._approvals = Approvals(world)

    # --- deploy ------------------------------------------------------------------------------------------

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
        """Starts a rollout of `ref` (`model@7`, `model@challenger`) by the model's spec in the fleet repository, or by
        `spec`, which its errors call `source`."""
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
        in_flight = self._in_flight(model)
        if in_flight is not None and not supersede:
            raise Refused(*_choices(in_flight))
        before = self._world.fleet.read(model)
        waits = self._approvals.asked_before(model, before, actor)
        self._approvals.tighten(model, text, before, actor)
        rollout = self._new(model, kind, found.version, ref or f"{model}@{wanted}", actor, why, text, state)
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
        source = source if spec is not None else f"models/{model}.yaml"
        advice = told(self._world, state, text, source) if kind is Kind.DEPLOY else NO_ADVICE
        rollout = replace(rollout, notes=(*rollout.notes, *(f"warning: {one}" for one in advice.warnings)))
        self._begin(rollout, in_flight)
        return Deployed(rollout.id, False, said, advice)

    def _what(self, ref: str | None, spec: str | None, source: str) -> tuple[str, str, str]:
        """(model, version or alias, spec text). A spec by itself is for the version that has the alias `challenger`."""
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
        """Whether the champion is of that version, and answers as the spec says."""
        champion = state.champion
        if champion is None or champion.version != found.version:
            return False
        if champion.compiled is not None and shortcut_of(champion) in distrusted(self._world.store):
            return False  # another graph, or none, makes another release
        return specs.behaves_alike(specs.load(text, model=found.model), champion.settings)

    def _nothing_to_do(self, state: ModelState, text: str, *, given: bool) -> Deployed:
        """`given`: with the request. A deployment that is not needed changes nothing, the model's spec included."""
        assert state.champion is not None
        model, champion = state.model, state.champion
        done = f"{model}@{champion.version} is already the champion, as {champion.id}: there is nothing to do"
        if given and text != self._world.fleet.read(model):
            done += "; the spec in this request is not kept: use it again with the next version"
        return Deployed(None, True, done)

    def set_approval(self, model: str, required: bool, *, actor: Actor, why: str = "") -> str:
        """The model's policy: whether somebody else approves each version. What holds now, in words."""
        return self._approvals.set(model, required, actor, why)

    def policy(self, model: str) -> ModelPolicy:
        return policy_of(self._world.store, model)

    def deploy_by_alias(self, model: str, version: str) -> None:
        """`challenger` was set in the registry: a proposal of the person whom the registry names, else nobody's.
        Nothing happens where that version is in flight already."""
        in_flight = self._in_flight(model)
        if in_flight is not None and in_flight.version == version:
            return
        by = self._world.registry.who_set(model, CHALLENGER, version)
        actor = Actor(name=by or NOBODY, access=Access.DEPLOY, origin="alias", owner=by)
        self._world.store.audit(
            actor, "deploy", f"{model}@{version}", "the alias challenger was set", {}, self._world.clock.now()
        )
        self.deploy(ref=f"{model}@{version}", spec=None, actor=actor)

    # --- orders ------------------------------------------------------------------------------------------

    def order(self, rollout_id: str, kind: str, *, actor: Actor, why: str = "") -> str:
        """`promote`, `abort` or `approve` a rollout in flight; `rollout_id` may be the model's name."""
        rollout = self._meant(rollout_id)
        if rollout.status.phase.ended:
            raise Refused(f"{rollout.id} has ended: {rollout.status.phase.value}. {rollout.status.reason}")
        order = Order(kind, actor, why, self._world.clock.now())
        _check_order(rollout, order)
        if kind == "approve" and rollout.actor.is_nobody:
            self._check_nobodys(rollout, actor)
        self._world.store.order(rollout.id, order)
        self._news.tell(rollout.model)
        return f"{kind} of {rollout.id} ({rollout.model}@{rollout.version}) is ordered"

    def _meant(self, wanted: str) -> Rollout:
        """By its id, or by the name of the model that it is of. A model can be named like another one's rollout."""
        of_model = self._in_flight(wanted)
        if of_model is None:
            return self._world.store.rollout(wanted)
        try:
            by_id = self._world.store.rollout(wanted)
        except NotFound:
            return of_model
        raise Refused(
            f"{wanted} is a rollout of {by_id.model}, and a model whose rollout {of_model.id} is in flight",
            hint=f"Name the model {by_id.model} or the rollout {of_model.id}.",
        )

    def _check_nobodys(self, rollout: Rollout, actor: Actor) -> None:
        """Whoever has asked for that version before may have set the alias, too."""
        for before in self._world.store.rollouts(rollout.model, limit=HISTORY, version=rollout.version):
            if before.kind is Kind.DEPLOY and not before.actor.is_nobody and actor.may_be(before.actor):
                raise Refused(
                    f"{rollout.id} was requested by an alias, and its version in {before.id} by {before.actor.shown}: "
                    "it must be approved by another person",
                    hint="Ask a person with the role approve who has not requested it.",
                )

    # --- rollback ----------------------------------------------------------------------------------------

    def rollback(self, model: str, *, to: str | None, actor: Actor, why: str = "") -> Deployed:
        """Rolls back to the former champion, or to another release that was champion. Ends the rollout in flight.

        Refused for a release that never was champion: its gates, its canary and its approval are what a rollback goes
        by. What was rolled back from is returned to only by name.
        """
        state = self._world.store.model(model)
        if state.retired is not None and state.champion is None:
            raise _nothing_live(state, None)
        if state.champion is None:
            raise NotFound(f"{model} has no champion", hint="Deploy a version first: `serinus deploy MODEL@VERSION`.")
        rollouts = self._world.store.rollouts(model, limit=HISTORY, promoted=True)
        release = self._release_to(state, to, rollouts)
        if release.id == state.champion.id:
            return Deployed(None, True, f"{release.id} is already the champion: there is nothing to do")
        in_flight = self._in_flight(model)
        if in_flight is not None and in_flight.kind is Kind.ROLLBACK and in_flight.candidate == release:
            return Deployed(
                in_flight.id, False, f"{model} is already being rolled back to {release.id} as {in_flight.id}"
            )
        spec = self._world.fleet.read(model) or ""
        reason = why or f"rolled back by {actor.shown}"
        rollout = self._new(model, Kind.ROLLBACK, release.version, release.id, actor, reason, spec, state, release)
        self._begin(rollout, in_flight)
        back = rolled_back_from(rollouts).get(release.id)
        again = f", which was rolled back from in {back}" if back else ""
        return Deployed(rollout.id, False, f"{model} is being rolled back to {release.id}{again} as {rollout.id}")

    def roll_back(self, model: str, release: str, why: str) -> str:
        """By the watch after promotion, as a person would: what came of it, in words."""
        return self.rollback(model, to=release, actor=WATCH, why=why).message

    def _release_to(self, state: ModelState, to: str | None, rollouts: Sequence[Rollout]) -> Release:
        assert state.champion is not None
        release = champion_before(state.champion.id, rollouts) if to is None else self._named(state, to, rollouts)
        if release is None:
            raise Refused(
                f"{state.model} has no former champion that was not rolled back from",
                hint="Name a former champion with `--to RELEASE`; `serinus releases` lists them.",
            )
        if not self._world.target.holds(release):
            raise Refused(
                f"the files of {release.id} no longer exist", hint=f"Deploy {state.model}@{release.version} again."
            )
        return release

    def _named(self, state: ModelState, to: str, rollouts: Sequence[Rollout]) -> Release:
        was = champions(rollouts)
        known = {r.id: r for r in self._world.store.releases(state.model)}
        of_version = [r for r in known.values() if r.version == to]
        release = known.get(to) or next((r for r in of_version if r.id in was), next(iter(of_version), None))
        if release is None:
            raise NotFound(f"{state.model} has no release {to}", hint=f"Its releases: {', '.join(known) or 'none'}.")
        if release.id not in was:
            raise Refused(
                f"{release.id} was never the champion: {why_never_champion(self._last_of(release))}",
                hint=f"A rollback returns to a former champion: {', '.join(was) or 'there is none'}. "
                f"`serinus deploy {state.model}@{release.version}` takes a version through the gates.",
            )
        return release

    # --- retirement --------------------------------------------------------------------------------------

    def retire(self, model: str, *, abort: bool, actor: Actor, why: str) -> Deployed:
        """Takes the model out of service; its record stays. `abort`: ends what is in flight first, which refuses it
        otherwise. Raises InvalidInput without a reason."""
        if not why.strip():
            raise InvalidInput("a retirement needs a reason", hint=f'`serinus retire {model} --reason "..."`')
        state = self._world.store.model(model)
        in_flight = self._in_flight(model)
        if in_flight is not None and in_flight.kind is Kind.RETIRE:
            return Deployed(in_flight.id, False, f"{model} is already being retired as {in_flight.id}")
        if state.champion is None:
            raise _nothing_live(state, in_flight)
        if in_flight is not None and not abort:
            raise Refused(
                f"{in_flight.id} ({model}@{in_flight.version}, {in_flight.status.phase.value}) is in flight",
                hint=f"Abort it first with `serinus abort {model}`, or abort both at once: `serinus retire {model} "
                "--abort`.",
            )
        spec = self._world.fleet.read(model) or ""
        rollout = self._new(model, Kind.RETIRE, state.champion.version, model, actor, why, spec, state)
        self._begin(rollout, in_flight)
        return Deployed(rollout.id, False, f"{model} is being taken out of service as {rollout.id}")

    # --- helpers -----------------------------------------------------------------------------------------

    def _in_flight(self, model: str) -> Rollout | None:
        return next(iter(self._world.store.in_flight(model)), None)

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self._world.disk).free
        if free < FREE_BYTES_NEEDED:
            raise Refused(
                f"only {free // 1_000_000} MB are free on the disk of {self._world.disk}; serving goes on, "
                f"new deployments need {FREE_BYTES_NEEDED // 1_000_000} MB",
                hint="Free some disk space, then deploy again.",
            )

    def _new(
        self,
        model: str,
        kind: Kind,
        version: str,
        asked_as: str,
        actor: Actor,
        why: str,
        spec: str,
        state: ModelState,
        release: Release | None = None,
    ) -> Rollout:
        now = self._world.clock.now()
        number = self._world.store.next_number(model)
        return Rollout(
            id=f"{model}-r{number}",
            model=model,
            kind=kind,
            version=version,
            asked_as=asked_as,
            actor=actor,
            why=why,
            created_at=now,
            spec=spec,
            salt=secrets.token_hex(4),
            plan=rollback_plan(state, release) if release else None,
            status=Status(Phase.RESOLVE if kind is Kind.DEPLOY else Phase.PLACE, now),
            candidate=release,
            threshold=self._threshold_of(release) if release else None,
            champion_threshold=state.champion_threshold,
        )

    def _threshold_of(self, release: Release) -> float | None:
        """With which the release was last made champion."""
        found = self._world.store.rollouts(limit=1, release=release.id, promoted=True)
        return found[0].threshold if found else None

    def _last_of(self, release: Release) -> Rollout | None:
        """The newest rollout of the release."""
        return next(iter(self._world.store.rollouts(limit=1, release=release.id)), None)

    def _begin(self, rollout: Rollout, in_flight: Rollout | None) -> None:
        store = self._world.store
        now = self._world.clock.now()
        if in_flight is None:
            store.create(rollout, [event_of("created", rollout, rollout, now)])
            self._news.tell(rollout.model)
            return
        order = Order("supersede", rollout.actor, f"{rollout.asked_as} takes its place", now)
        store.supersede(in_flight.id, order, rollout)
        self._news.tell(rollout.model)

    def initial_spec(self, model: str) -> str:
        """What `serinus init` writes: the spec in the fleet repository, or a first one: of the version that has an
        alias, or was registered last. Never what a deployment would refuse: raises InvalidInput where the repository
        holds that."""
        if kept := self._world.fleet.read(checked(model)):
            readable(kept, model)
            return kept
        return self._first_spec(model, by_alias(self._world, model) or self._world.registry.newest(model))

    def _first_spec(self, model: str, ref: VersionRef | None) -> str:
        return specs.initial(model, facts_of(self._world, ref))


def _nothing_live(state: ModelState, in_flight: Rollout | None) -> SerinusError:
    """Why a model cannot be retired or rolled back."""
    model, retired = state.model, state.retired
    if retired is not None:
        return Refused(
            f"{model} was retired on {retired.since:%Y-%m-%d} by {retired.who}: {retired.why}",
            hint=f"`serinus deploy {model}@VERSION` brings it back.",
        )
    if in_flight is not None:
        return Refused(
            f"no release of {model} is live; {in_flight.id} is in flight", hint=f"`serinus abort {model}` ends it."
        )
    return NotFound(f"no release of {model} is live", hint="`serinus status` lists the models that are live.")


def _choices(in_flight: Rollout) -> tuple[str]:
    return (
        f"{in_flight.id} ({in_flight.model}@{in_flight.version}, {in_flight.status.phase.value}) is in flight. "
        f"Wait for it (`serinus status {in_flight.model}`), abort it (`serinus abort {in_flight.model}`), "
        f"or replace it (`--supersede`).",
    )


def _check_order(rollout: Rollout, order: Order) -> None:
    phase = rollout.status.phase
    if order.kind == "promote" and phase is not Phase.CANARY:
        raise Refused(
            f"{rollout.id} is in the phase {phase.value}: only a rollout in the phase canary can be promoted early"
        )
    if order.kind == "approve":
        if phase is not Phase.APPROVAL:
            raise Refused(f"{rollout.id} is in the phase {phase.value}: it does not wait for an approval")
        if not may_approve(rollout, order):
            asked = f"{rollout.id} was requested by {rollout.actor.shown}"
            raise Refused(
                f"{asked}: it must be approved by another person, with the role approve and a token of another owner"
            )
    if order.kind == "abort" and phase in (Phase.PROMOTING, Phase.ABORTING, Phase.RETIRING):
        hint = f"`serinus rollback {rollout.model}` reverts it." if phase is Phase.PROMOTING else ""
        raise Refused(f"{rollout.id} is already in the phase {phase.value}", hint=hint)
    if order.kind not in ("promote", "approve", "abort"):
        raise InvalidInput(f"no order '{order.kind}'", hint="The orders are promote, abort and approve.")
