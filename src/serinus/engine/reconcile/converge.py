"""Makes the world as the status says. Idempotent; each part by itself: one that is away does not hold the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from serinus.core.errors import SerinusError, TemporaryError
from serinus.core.evidence import Watch
from serinus.core.placement import Placement, PlacementState
from serinus.core.release import USUAL, Release, Scale
from serinus.core.rollout import ModelState, Phase, Rollout
from serinus.core.routing import Routing
from serinus.delivery import AliasReading, routing_of, step_watch
from serinus.engine.distrust import shortcut_of
from serinus.engine.news import differing
from serinus.engine.world import World

ROUTING_CHECKED = timedelta(seconds=10)
"""How long a routing that was read back is believed before it is read back again."""

FLEET_READ = timedelta(seconds=5)
"""After which Git is asked again whether somebody has pushed."""


class Converger:
    """Remembers nothing that matters: only what was verified lately, to spare the router and Git from being asked."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._routing: Mapping[str, Routing] = {}
        """In force, as far as it was read back or confirmed."""
        self._checked: datetime | None = None
        self._away: TemporaryError | None = None
        """The router could not be read when it was last tried."""
        self._watched: list[Watch] = []
        """That the prediction log was told of since the router was read back."""
        self._retired: dict[str, datetime] = {}
        self._published: dict[str, Mapping[str, object]] = {}
        """By model, as it is in Git as long as that stands at `_fleet`."""
        self._fleet: str | None = None
        self._fleet_read: datetime | None = None

    def read_back(self) -> set[str]:
        """Asks the router what is in force, in one call for all models, where that was not done lately. The models
        whose routing is not what it was. Raises TemporaryError where the router does not answer."""
        now = self._world.clock.now()
        if self._away is None and self._checked is not None and now - self._checked < ROUTING_CHECKED:
            return set()
        try:
            found = dict(self._world.router.all_in_force())
        except TemporaryError as error:
            self._away = error
            raise
        self._checked, self._away = now, None
        self._watched.clear()
        changed = differing(self._routing, found)
        self._routing = found
        return changed

    def read_fleet(self) -> Collection[str] | None:
        """The models of which Git does not say any more what it did when it was last read; None: any may be. Raises
        TemporaryError."""
        now = self._world.clock.now()
        if self._fleet_read is not None and now - self._fleet_read < FLEET_READ:
            return ()
        self._fleet_read = now
        self._fleet, changed = self._world.fleet.changes(self._fleet)
        for model in list(self._published) if changed is None else changed:
            self._published.pop(model, None)
        return changed

    def converge(
        self,
        state: ModelState,
        rollout: Rollout | None,
        placements: Mapping[str, Placement] | None,
        reading: AliasReading | None,
    ) -> Sequence[str]:
        """What is not yet as it should be, in words; empty: routing, aliases and Git are as the status says."""
        parts: tuple[tuple[str, Callable[[], str]], ...] = (
            ("routing", lambda: self._route(state, rollout, placements)),
            ("scale", lambda: _scale_missing(state, placements)),
            ("aliases", lambda: self._alias(state.model, rollout, reading)),
            ("fleet repository", lambda: self._publish(state)),
        )
        unsettled = []
        for name, make in parts:
            try:
                missing = make()
            except TemporaryError as error:
                missing = str(error)
            if missing:
                unsettled.append(f"{name}: {missing}")
        return unsettled

    def _route(self, state: ModelState, rollout: Rollout | None, placements: Mapping[str, Placement] | None) -> str:
        if state.champion is None:
            return self._retire(state)
        if placements is None:
            return "the model host does not answer"
        arms = [state.champion.id] + ([rollout.candidate.id] if rollout is not None and rollout.candidate else [])
        ready = {one: placements[one].endpoint for one in arms if one in placements and placements[one].endpoint}
        live = placements.get(state.champion.id)
        promoting = rollout is not None and rollout.status.phase is Phase.PROMOTING
        if live is None or (promoting and not live.answers):
            return f"{state.champion.id} is not ready" + (f": {live.reason}" if live and live.reason else "")
        wanted = routing_of(state, rollout, ready)
        if wanted is None:
            return f"{state.champion.id} has no endpoint"
        if rollout is not None and (watch := step_watch(rollout)) is not None and watch not in self._watched:
            self._world.log.watch(watch)
            self._watched.append(watch)
        self._apply(wanted)
        return ""

    def _retire(self, state: ModelState) -> str:
        """Its callers are told so. Of a model that never was live nothing is routed."""
        now = self._world.clock.now()
        known = self._retired.get(state.model)
        if state.retired is not None and (known is None or now - known >= ROUTING_CHECKED):
            if self._away is not None:
                raise self._away
            self._routing = {model: routing for model, routing in self._routing.items() if model != state.model}
            self._world.router.retire(state.model)
            self._retired[state.model] = now
        return ""

    def _apply(self, wanted: Routing) -> None:
        self._retired.pop(wanted.model, None)
        if self._away is not None:
            raise self._away
        if self._routing.get(wanted.model) != wanted:
            self._world.router.apply(wanted)
            self._routing = {**self._routing, wanted.model: wanted}

    def _alias(self, model: str, rollout: Rollout | None, reading: AliasReading | None) -> str:
        if reading is None:  # of a model at rest nothing is amiss: it is told once, for the whole fleet
            return "" if rollout is None else "the registry does not answer"
        for alias, version in reading.writes.items():
            if version is None:
                self._world.registry.drop_alias(model, alias)
            else:
                self._world.registry.set_alias(model, alias, version)
        return ""

    def _publish(self, state: ModelState) -> str:
        live = live_of(state)
        if live is None:
            return ""
        if self._published.get(state.model) == live:
            return ""
        self._world.fleet.publish(state.model, live, who=state.who, why=state.why)
        self._published[state.model] = live
        return ""


def live_of(state: ModelState) -> Mapping[str, object] | None:
    """What the fleet repository says of the model; None: it never was live."""
    if state.retired is not None:
        last = state.retired.release
        return {"retired": state.retired.since.isoformat(), "version": last.version, "release": last.id}
    if state.champion is None:
        return None
    return {
        "version": state.champion.version,
        "release": state.champion.id,
        "artifact": state.champion.artifact_digest,
        "environment": state.champion.environment_digest,
        "threshold": state.champion_threshold,
    }


def _scale_missing(state: ModelState, placements: Mapping[str, Placement] | None) -> str:
    """Where what is live runs with another scale than the model's, or a part of it still does."""
    placed = (placements or {}).get(state.champion.id) if state.champion else None
    if placed is None or placed.scale is None or (placed.scale == state.scale and placed.scaled):
        return ""
    why = f": {placed.reason}" if placed.reason and not placed.scaled else ""
    return f"{placed.release} does not have its new scale yet{why}"


def _wake(world: World, rollout: Rollout, there: Mapping[str, Placement]) -> None:
    """The candidate before it gets traffic, so that no request of a rollback or of a canary's first step waits for it;
    and both arms of a canary, whose first requests after an activation would not be counted."""
    arms = {rollout.candidate.id} if rollout.candidate else set()
    if rollout.status.phase is Phase.CANARY and rollout.plan is not None and rollout.plan.champion is not None:
        arms.add(rollout.plan.champion)
    for release in sorted(arms):
        placed = there.get(release)
        if placed is not None and placed.state is PlacementState.SCALED_TO_ZERO:
            world.target.activate(placed.release)


def wanted_releases(states: Sequence[ModelState], rollouts: Sequence[Rollout]) -> Mapping[str, Release]:
    """What has to be running."""
    return {name: release for name, (release, _) in _wanted(states, rollouts).items()}


def _wanted(states: Sequence[ModelState], rollouts: Sequence[Rollout]) -> Mapping[str, tuple[Release, Scale]]:
    """And what it gets: every champion, the release before it, and what is being tried. What is being retired
    runs until its callers are told."""
    wanted: dict[str, tuple[Release, Scale]] = {}
    retiring = {rollout.model for rollout in rollouts if rollout.status.phase is Phase.RETIRING}
    for state in states:
        for release in (state.champion, state.previous):
            if release is not None:
                wanted[release.id] = (release, state.scale)
        if state.retired is not None and state.model in retiring:
            wanted[state.retired.release.id] = (state.retired.release, state.scale)
    for rollout in rollouts:
        if rollout.candidate is not None and rollout.status.phase is not Phase.ABORTED:
            wanted[rollout.candidate.id] = (rollout.candidate, rollout.plan.scale if rollout.plan else USUAL)
    return wanted


def place(
    world: World, states: Sequence[ModelState], rollouts: Sequence[Rollout], bad: Collection[str]
) -> Mapping[str, Placement] | None:
    """Has the target run just what all models want. What of that it ran already; None where it does not answer.
    `bad`: the shortcuts that are distrusted."""
    wanted = _wanted(states, rollouts)
    try:
        there = world.target.observe()
        _ensure(world, wanted, rollouts, there, bad)
        for release_id in there:
            if release_id not in wanted:
                world.target.remove(release_id)
    except SerinusError:
        return None
    return {release_id: placed for release_id, placed in there.items() if release_id in wanted}


def ensure(
    world: World,
    state: ModelState,
    rollout: Rollout | None,
    there: Mapping[str, Placement],
    bad: Collection[str],
) -> bool:
    """Has the target run what one model wants. Whether the target answered."""
    rollouts = [rollout] if rollout is not None else []
    try:
        _ensure(world, _wanted([state], rollouts), rollouts, there, bad)
    except SerinusError:
        return False
    return True


def _ensure(
    world: World,
    wanted: Mapping[str, tuple[Release, Scale]],
    rollouts: Sequence[Rollout],
    there: Mapping[str, Placement],
    bad: Collection[str],
) -> None:
    for release, scale in wanted.values():
        placed = there.get(release.id)
        if shortcut_of(release) in bad and not (placed is not None and placed.long):
            world.target.distrust(release.id)  # before it is placed, so that no shorter way ever answers
        if placed is None or placed.scale not in (None, scale):
            world.target.place(release, scale)
    for rollout in rollouts:
        _wake(world, rollout, there)
