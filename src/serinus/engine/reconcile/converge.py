"""Making the world match the status. Idempotent. Each part is independent: a failure of one does not stop the
others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from serinus.core.errors import SerinusError, TemporaryError, Unavailable
from serinus.core.evidence import Watch
from serinus.core.placement import Placement, PlacementState
from serinus.core.release import USUAL, Release, Scale
from serinus.core.rollout import Kind, ModelState, Phase, Rollout
from serinus.core.routing import Routing
from serinus.delivery import routing_of, step_watch
from serinus.engine.distrust import shortcut_of
from serinus.engine.news import differing
from serinus.engine.reconcile.outside import Outside, Pending, Unsettled
from serinus.engine.world import World

ROUTING_CHECKED = timedelta(seconds=10)
"""The time for which a routing that was read from the router is trusted."""

FLEET_READ = timedelta(seconds=5)
"""The time after which the fleet repository is read again for pushes."""


class Converger:
    """Makes the routing and the fleet repository match the status. It caches only what was verified recently.

    `carry_out` carries out what people have changed in the fleet repository, and returns whether nothing is left. It
    may raise Pending.
    """

    def __init__(self, world: World, outside: Outside, carry_out: Callable[[], bool]) -> None:
        self._world = world
        self._outside = outside
        self._carry_out = carry_out
        self._routing: Mapping[str, Routing] = {}
        """The routing in force, as far as it was read back or confirmed."""
        self._checked: datetime | None = None
        self._away: TemporaryError | None = None
        """Why the router could not be read at the last attempt."""
        self._watched: list[Watch] = []
        """The watches that the prediction log was given since the router was read back."""
        self._retired: dict[str, datetime] = {}
        self._published: dict[str, Mapping[str, object]] = {}
        """What is in Git, by model, as long as Git is at the commit `_fleet`."""
        self._fleet: str | None = None
        self._fleet_read: datetime | None = None

    def read_back(self) -> set[str]:
        """Reads the routing of all models from the router in one call, if that was not done recently.

        Returns the models whose routing has changed. Raises TemporaryError where the router does not answer.
        """
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
        """Returns the models whose published state has changed since the last reading. None: any may have. Raises
        TemporaryError."""
        now = self._world.clock.now()
        if self._fleet_read is not None and now - self._fleet_read < FLEET_READ:
            return ()
        self._fleet_read = now
        position, changed = self._world.fleet.changes(self._fleet)
        # What differs will be written over, and is no order any more then: of a file, only the last change counts.
        try:
            if (changed is None or changed) and not self._carry_out():
                return ()
        except Pending:
            self._fleet_read = None
            return ()
        self._fleet = position
        for model in list(self._published) if changed is None else changed:
            self._published.pop(model, None)
        return changed

    def serve(
        self,
        state: ModelState,
        rollout: Rollout | None,
        placements: Mapping[str, Placement] | None,
        unsettled: Unsettled,
    ) -> None:
        """Makes the routing and the scale match the status, and notes what does not match yet."""
        with unsettled.part("routing"):
            self._route(state, rollout, placements)
        with unsettled.part("scale"):
            _check_scale(state, placements)

    def _route(self, state: ModelState, rollout: Rollout | None, placements: Mapping[str, Placement] | None) -> None:
        if state.champion is None:
            self._retire(state)
            return
        if placements is None:
            raise Unavailable("the model host does not answer")
        arms = [state.champion.id] + ([rollout.candidate.id] if rollout is not None and rollout.candidate else [])
        ready = {one: placements[one].endpoint for one in arms if one in placements and placements[one].endpoint}
        live = placements.get(state.champion.id)
        promoting = rollout is not None and rollout.status.phase is Phase.PROMOTING
        if live is None or (promoting and not live.answers):
            raise Unavailable(
                f"{state.champion.id} is not ready" + (f": {live.reason}" if live and live.reason else "")
            )
        wanted = routing_of(state, rollout, ready)
        if wanted is None:
            raise Unavailable(f"{state.champion.id} has no endpoint")
        if rollout is not None and (watch := step_watch(rollout)) is not None and watch not in self._watched:
            self._world.log.watch(watch)
            self._watched.append(watch)
        self._apply(wanted)

    def _retire(self, state: ModelState) -> None:
        """Has the router tell callers that the model is retired. A model that never was live has no routing."""
        now = self._world.clock.now()
        known = self._retired.get(state.model)
        if state.retired is not None and (known is None or now - known >= ROUTING_CHECKED):
            if self._away is not None:
                raise self._away
            self._routing = {model: routing for model, routing in self._routing.items() if model != state.model}
            self._world.router.retire(state.model)
            self._retired[state.model] = now

    def _apply(self, wanted: Routing) -> None:
        self._retired.pop(wanted.model, None)
        if self._away is not None:
            raise self._away
        if self._routing.get(wanted.model) != wanted:
            self._world.router.apply(wanted)
            self._routing = {**self._routing, wanted.model: wanted}

    def publish(self, state: ModelState, rollout: Rollout | None) -> None:
        """Has the fleet repository say what is live. Raises Pending, and TemporaryError."""
        live = live_of(state)
        if live is None or self._published.get(state.model) == live:
            return
        if rollout is not None and rollout.kind is Kind.ROLLBACK and rollout.status.phase is Phase.PLACE:
            return  # Git may say already what will be live.
        call = partial(self._world.fleet.publish, state.model, live, who=state.who, why=state.why)
        self._outside.answer(f"live/{state.model}", live, call, "fleet")
        self._published[state.model] = live


def live_of(state: ModelState) -> Mapping[str, object] | None:
    """Returns what the fleet repository must say of the model. None: it never was live."""
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


def _check_scale(state: ModelState, placements: Mapping[str, Placement] | None) -> None:
    """Raises Unavailable where the champion, or a part of it, runs with another scale than the model's."""
    placed = (placements or {}).get(state.champion.id) if state.champion else None
    if placed is None or placed.scale is None or (placed.scale == state.scale and placed.scaled):
        return
    why = f": {placed.reason}" if placed.reason and not placed.scaled else ""
    raise Unavailable(f"{placed.release} does not have its new scale yet{why}")


def _wake(world: World, rollout: Rollout, there: Mapping[str, Placement]) -> None:
    """Activates the candidate before it gets traffic, so that no request waits for it. Both arms of a canary are
    activated, because the first requests after an activation would not count."""
    arms = {rollout.candidate.id} if rollout.candidate else set()
    if rollout.status.phase is Phase.CANARY and rollout.plan is not None and rollout.plan.champion is not None:
        arms.add(rollout.plan.champion)
    for release in sorted(arms):
        placed = there.get(release)
        if placed is not None and placed.state is PlacementState.SCALED_TO_ZERO:
            world.target.activate(placed.release)


def wanted_releases(states: Sequence[ModelState], rollouts: Sequence[Rollout]) -> Mapping[str, Release]:
    """Returns the releases that must run."""
    return {name: release for name, (release, _) in _wanted(states, rollouts).items()}


def _wanted(states: Sequence[ModelState], rollouts: Sequence[Rollout]) -> Mapping[str, tuple[Release, Scale]]:
    """Returns the releases that must run, with their scales: every champion, the release before it, and every
    candidate.

    A release that is being retired runs until its callers are told.
    """
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
    """Has the target run exactly the wanted releases of all models. Returns the placements that it had. None: it does
    not answer. `bad` are the distrusted shortcuts."""
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
    """Has the target run the wanted releases of one model. Returns whether the target answered."""
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
            world.target.distrust(release.id)  # This comes before the placement, so that the faster way never answers.
        if placed is None or placed.scale not in (None, scale):
            world.target.place(release, scale)
    for rollout in rollouts:
        _wake(world, rollout, there)
