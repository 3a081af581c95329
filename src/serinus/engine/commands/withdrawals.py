"""The end of a champion: rollback to a former champion, and retirement of the model."""

from __future__ import annotations

from collections.abc import Sequence

from serinus.core.errors import InvalidInput, NotFound, Refused, SerinusError
from serinus.core.people import Actor
from serinus.core.release import Release
from serinus.core.rollout import Kind, ModelState, Rollout
from serinus.delivery import champion_before, champions, rolled_back_from, why_never_champion
from serinus.engine.commands.rollouts import HISTORY, Deployed, Rollouts
from serinus.engine.world import World


class Withdrawals:
    """Starts rollbacks and retirements."""

    def __init__(self, world: World, rollouts: Rollouts) -> None:
        self._world = world
        self._rollouts = rollouts

    def rollback(self, model: str, *, to: str | None, actor: Actor, why: str = "") -> Deployed:
        """See `Desk.rollback`."""
        state = self._world.store.model(model)
        if state.retired is not None and state.champion is None:
            raise _nothing_live(state, None)
        if state.champion is None:
            raise NotFound(f"{model} has no champion", hint="Deploy a version first: `serinus deploy MODEL@VERSION`.")
        rollouts = self._world.store.rollouts(model, limit=HISTORY, promoted=True)
        release = self._release_to(state, to, rollouts)
        if release.id == state.champion.id:
            return Deployed(None, True, f"{release.id} is already the champion: there is nothing to do")
        in_flight = self._rollouts.in_flight(model)
        if in_flight is not None and in_flight.kind is Kind.ROLLBACK and in_flight.candidate == release:
            return Deployed(
                in_flight.id, False, f"{model} is already being rolled back to {release.id} as {in_flight.id}"
            )
        spec = self._world.fleet.read(model) or ""
        reason = why or f"rolled back by {actor.shown}"
        rollout = self._rollouts.new(
            model, Kind.ROLLBACK, release.version, release.id, actor, reason, spec, state, release
        )
        self._rollouts.begin(rollout, in_flight)
        back = rolled_back_from(rollouts).get(release.id)
        again = f", which was rolled back from in {back}" if back else ""
        return Deployed(rollout.id, False, f"{model} is being rolled back to {release.id}{again} as {rollout.id}")

    def retire(self, model: str, *, abort: bool, actor: Actor, why: str) -> Deployed:
        """See `Desk.retire`."""
        if not why.strip():
            raise InvalidInput("a retirement needs a reason", hint=f'`serinus retire {model} --reason "..."`')
        state = self._world.store.model(model)
        in_flight = self._rollouts.in_flight(model)
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
        rollout = self._rollouts.new(model, Kind.RETIRE, state.champion.version, model, actor, why, spec, state)
        self._rollouts.begin(rollout, in_flight)
        return Deployed(rollout.id, False, f"{model} is being taken out of service as {rollout.id}")

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
                f"{release.id} was never the champion: {why_never_champion(self._rollouts.last_of(release))}",
                hint=f"A rollback returns to a former champion: {', '.join(was) or 'there is none'}. "
                f"`serinus deploy {state.model}@{release.version}` takes a version through the gates.",
            )
        return release


def _nothing_live(state: ModelState, in_flight: Rollout | None) -> SerinusError:
    """Returns the error for a model that cannot be retired or rolled back."""
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
