"""The store is empty, and releases run: those that are live are taken into it as champions.

Git says which release is live, and a record that outlives the store says what that release is. What only a store has is
lost: rollouts, approvals, evidence, history, tokens. Rollouts in flight are dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from serinus import spec as specs
from serinus.core.errors import SerinusError, TemporaryError
from serinus.core.events import Event
from serinus.core.placement import Placement, Recorded
from serinus.core.ports import Settings
from serinus.core.release import Release
from serinus.core.rollout import ModelState
from serinus.core.routing import Role, Routing
from serinus.delivery import routing_of
from serinus.engine.happenings import ENGINE
from serinus.engine.policies import ModelPolicy, has_policy, keep_policy
from serinus.engine.world import World

log = logging.getLogger(__name__)

_DONE, _BEGUN = "taken-over", "taking-over"
"""Settings with the time at which it was done, and begun."""

Live = Mapping[str, Mapping[str, Any]]


def is_taken_over(settings: Settings) -> bool:
    """Whether the store has every champion that there is."""
    return settings.setting(_DONE) is not None


def take_over(world: World) -> None:
    """Takes the champions over, once for each store. It must come before the engine removes anything.

    A store that has a champion is complete, and stays as it is. Raises SerinusError to be called again: nothing was
    removed, and traffic is served as before. May be ended at any time, and is then repeated.
    """
    store = world.store
    if world.recording is None or is_taken_over(store):
        return
    if store.setting(_BEGUN) is None:
        if any(state.champion or state.retired for state in store.models()):
            _mark(world, _DONE)
            return
        _mark(world, _BEGUN)
    recorded = {one.release.id: one for one in world.recording.recorded()}
    named = world.fleet.all_live()
    live = {**_routed(world, recorded.values(), named), **named}
    there = world.target.observe()  # Nothing is said before it can be done.
    states = [state for model, said in sorted(live.items()) if (state := _take(world, model, said, recorded))]
    _route(world, states, there)
    champions = {state.champion.id for state in states if state.champion is not None}
    for release_id in sorted(recorded.keys() - champions):
        _drop(world, recorded[release_id].release)
    _mark(world, _DONE)
    with suppress(TemporaryError):
        world.router.all_in_force()  # Nothing could be published before, and a former term has to be fenced off.


def _mark(world: World, setting: str) -> None:
    world.store.set_setting(setting, world.clock.now().isoformat())


def _routed(world: World, recorded: Collection[Recorded], named: Live) -> Live:
    """Returns what the router says is live of models of which Git says nothing: what has traffic is not removed."""
    unnamed = {one.release.model for one in recorded} - named.keys()
    if not unnamed:
        return {}
    in_force = world.router.all_in_force()
    champions = {
        model: next((arm.release for arm in in_force[model].arms if arm.role is Role.CHAMPION), None)
        for model in sorted(unnamed & in_force.keys())
    }
    return {model: {"release": release} for model, release in champions.items() if release is not None}


def _take(world: World, model: str, said: Mapping[str, Any], recorded: Mapping[str, Recorded]) -> ModelState | None:
    """Stores the champion of a model. None: it cannot be known, which is said."""
    found = recorded.get(str(said.get("release")))
    if "retired" in said or found is None or found.release.model != model:
        _say_lost(world, model, said)
        return None
    store, before = world.store, world.store.model(model)
    release, now, threshold = found.release, world.clock.now(), said.get("threshold")
    if found.long:
        world.target.distrust(release.id)  # This comes before its placement, so that no faster way answers.
    if before.champion is not None and before.champion.id == release.id:
        return before  # An attempt before this one has taken it.
    text = (
        f"the store was empty. {release.id}, which is live, is taken over as the champion. Rollouts, approvals, "
        f"evidence and the history of {model} are lost, and nothing can be rolled back to. Its next versions need an "
        f"approval, because its policy is lost as well: `serinus policy {model}` shows and sets it"
    )
    state = replace(
        before,
        champion=replace(release, created_at=now),
        champion_threshold=float(threshold) if isinstance(threshold, int | float) else None,
        scale=found.scale,
        since=now,
        who=ENGINE.name,
        why="taken over, because the store was empty",
        notes=(text,),
    )
    if not has_policy(store, model):
        keep_policy(store, model, ModelPolicy(approval_required=True))
    _retain(world, model)
    store.add_release(state.champion or release)
    details = {"release": release.id, "threshold": state.champion_threshold}
    store.audit(ENGINE, "take-over", f"{model}@{release.version}", "the store was empty", details, now)
    store.save_model(state, [Event(now, model, None, "taken-over", text, details)])
    log.warning("%s: %s", model, text)
    return state


def _retain(world: World, model: str) -> None:
    """Has the prediction log keep the records for as long as the spec says. If one of the two cannot be read, they are
    kept as they were."""
    with suppress(SerinusError):
        text = world.fleet.read(model)
        if text is not None:
            world.log.retain(model, specs.load(text, model=model).retention.predictions.days)


def _say_lost(world: World, model: str, said: Mapping[str, Any]) -> None:
    if "retired" in said:
        text = f"the store was empty, and does not know {model}, which is retired. Its callers get HTTP 404"
    else:
        text = (
            f"the store was empty, and {said.get('release')}, which is live by Git, is recorded nowhere else. "
            f"Deploy it again: `serinus deploy {model}@{said.get('version', 'VERSION')}`"
        )
    now = world.clock.now()
    if world.store.model(model).notes == (text,):
        return  # An attempt before this one has said it.
    world.store.audit(ENGINE, "lose", model, text, dict(said), now)
    world.store.save_model(
        replace(world.store.model(model), notes=(text,)), [Event(now, model, None, "store-lost", text)]
    )
    log.warning("%s: %s", model, text)


def _route(world: World, states: Sequence[ModelState], there: Mapping[str, Placement]) -> None:
    """Gives all of the traffic to champions that answer, before what has the rest of it is removed. The engine routes
    the others once they answer."""
    with suppress(TemporaryError):
        in_force = world.router.all_in_force()
        for state in states:
            placed = there.get(state.champion.id) if state.champion else None
            if placed is None or not placed.answers or state.model not in in_force:
                continue
            wanted: Routing | None = routing_of(state, None, {placed.release: placed.endpoint})
            if wanted is not None and in_force[state.model] != wanted:
                world.router.apply(wanted)


def _drop(world: World, release: Release) -> None:
    """Removes what was placed for a rollout in flight, or was live before. It is said first: after a crash it may be
    said twice, but is never missing."""
    now, details = world.clock.now(), {"release": release.id}
    text = f"{release.id} was placed and is not live. It is removed, because the store does not know its rollout"
    world.store.audit(ENGINE, "drop", f"{release.model}@{release.version}", text, details, now)
    world.store.emit([Event(now, release.model, None, "dropped", text, details)])
    world.target.remove(release.id)
