"""The loop of the engine. `delivery` makes the decisions, and everything that the loop remembers may be lost at any
time.

A tick visits the models with a rollout in flight, those with news, those that did not match their status at the last
visit, and a few of the others, so that each is visited within `RESYNC`. The world is read for all models in one call,
and compared with the last reading. A difference is news.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from serinus.core.errors import Refused, SerinusError, TemporaryError
from serinus.core.placement import Placement
from serinus.core.release import Release
from serinus.core.rollout import ModelState, Phase, Rollout
from serinus.delivery import (
    advance,
    after_abort,
    after_promotion,
    after_retirement,
    after_scaled,
    after_scaling,
    never_began,
)
from serinus.engine.distrust import distrusted
from serinus.engine.happenings import audit_of, event_of
from serinus.engine.news import CANARIES_JUDGED, RESYNC, News, Pace, differing
from serinus.engine.policies import keep_spec
from serinus.engine.reconcile.aliases import Aliases, DeployByAlias
from serinus.engine.reconcile.capacity import Capacity
from serinus.engine.reconcile.converge import Converger, ensure, place, wanted_releases
from serinus.engine.reconcile.jobs import Jobs
from serinus.engine.reconcile.merges import Merges, TakeMerged
from serinus.engine.reconcile.observe import Observer
from serinus.engine.reconcile.outside import Outside, Pending, Unsettled
from serinus.engine.reconcile.taking_over import take_over
from serinus.engine.reconcile.watching import RollBack, Watcher
from serinus.engine.world import World

log = logging.getLogger(__name__)

SOON = 0.1
"""The time until the next tick while a release is starting, in seconds."""
OBSERVED_EVERY = timedelta(seconds=5)
"""The longest time between two observations of the target. With canaries it is `CANARIES_JUDGED`. The target is
observed in every tick where there is news, or a rollout in another phase."""
# The largest number of transitions of a rollout in one tick, so that no model delays the others.
TRANSITIONS_A_TICK = 8


class Engine:
    """Reconciles all models. `deploy_by_alias`, `news`, `roll_back` and `take_merged` are those of the desk.

    Without `roll_back` no release is watched after its promotion.
    """

    def __init__(
        self,
        world: World,
        jobs: Jobs | None = None,
        deploy_by_alias: DeployByAlias | None = None,
        news: News | None = None,
        roll_back: RollBack | None = None,
        take_merged: TakeMerged | None = None,
    ) -> None:
        self._world = world
        self._watcher = Watcher(world, roll_back) if roll_back else None
        self._news = news or News()
        self._jobs = jobs or Jobs(told=self._news.tell)
        self._observer = Observer(world, self._jobs)
        self._outside = Outside(self._jobs)
        self._merges = Merges(world, self._outside, take_merged)
        self._converger = Converger(world, self._outside, self._merges.read_at_once)
        self._capacity = Capacity(world)
        self._aliases = Aliases(world, self._outside, deploy_by_alias)
        self._looked_at: list[Rollout] = []
        """The rollouts of this tick that only a look of the judge has changed. They are stored together at its end."""
        self._coming_up = False
        self._placements: Mapping[str, Placement] | None = None
        self._observed: datetime | None = None
        self._wanted: dict[str, tuple[Release, ...]] | None = None
        """Model -> its releases that have to run, as of its last visit. None: there was no tick yet."""
        self._bad: Collection[str] = ()
        """The shortcuts that are distrusted, as of this tick."""
        self._pace, self._last = Pace(RESYNC), ""
        self._judging, self._judged = Pace(CANARIES_JUDGED), dict[str, datetime]()
        """The time at which each canary was judged last."""
        self._again: set[str] = set()
        """The models that differed from their intended state at their last visit."""
        self.visits = 0
        """The number of visits of models since the start, for tests and measurements."""
        self.trouble: dict[str, tuple[str, ...]] = {}
        """Model -> what is wrong and is being tried again. It is for people, and not for decisions."""

    def run(self, stop: threading.Event, interval: float = 0.5) -> None:
        """Runs a tick every `interval` seconds until `stop` is set.

        It runs one at once after news, an order or the end of long work, and soon while a release is starting, because
        the target does not report that.
        """
        while not stop.is_set():
            try:
                self.tick()
            except SerinusError as error:
                self.trouble[""] = (str(error),)
            except (
                Exception
            ):  # The loop must survive a defect in one round, which is logged with its traceback and shown.
                log.exception("a tick failed")
                self.trouble[""] = ("a tick of the engine failed; see logs/control.log",)
            else:
                self.trouble.pop("", None)
            self._news.wait(SOON if self._coming_up else interval)
        self._jobs.stop()

    def tick(self) -> None:
        """Visits the models that are due."""
        store = self._world.store
        news = set(self._news.take())
        if self._wanted is None:  # After a start it is unknown of every model whether it matches its status.
            take_over(self._world)
            self._wanted = {state.model: () for state in store.models()}
            news |= self._wanted.keys()
        fleet = self._read_fleet()  # Before rollouts are read: what people have pushed may become one.
        self._take_merged()
        self._create_pending()
        rollouts = {r.model: r for r in store.in_flight()}
        self._bad = distrusted(store).keys()
        self._coming_up = False
        news |= self._read_aliases() | self._read_routings() | fleet
        news |= self._read_placements(rollouts, at_once=bool(news))
        if self._placements is None:
            self._again.clear()  # Nothing can be repaired before the target answers. That will be news.
        due = {state.model: state for state in self._next_of_all()}
        models = {*news, *self._again, *due}
        models |= self._flying_due(rollouts, models)
        due |= {state.model: state for state in store.models(models - due.keys())} if models - due.keys() else {}
        self._observer.read([one for model, one in rollouts.items() if model in models])
        self._looked_at = []
        for model in sorted(models):
            self._visit(due.get(model) or ModelState(model), rollouts.get(model))
        if self._looked_at:
            store.save_in_flight(self._looked_at)
        self._watch()

    def _flying_due(self, rollouts: Mapping[str, Rollout], visited: Collection[str]) -> set[str]:
        """Returns the models with a rollout in flight that are due: canaries once in `CANARIES_JUDGED`, others in every
        tick.

        `visited` are the models that are visited anyway.
        """
        now = self._world.clock.now()
        canaries = {model for model, one in rollouts.items() if one.status.phase is Phase.CANARY}
        self._judged = {model: self._judged.get(model, now) for model in canaries}
        longest_ago = sorted(canaries - set(visited), key=lambda model: (self._judged[model], model))
        chosen = longest_ago[: self._judging.due(len(canaries), now)]
        self._judged |= dict.fromkeys((*chosen, *(canaries & set(visited))), now)
        return rollouts.keys() - canaries | set(chosen)

    def _watch(self) -> None:
        """Runs the watch after promotion. A defect in it must not stop rollouts."""
        if self._watcher is None or not self._watcher.due():
            return
        store = self._world.store
        try:
            trouble = self._watcher.look(store.models(), {r.model: r for r in store.in_flight()})
        except TemporaryError as error:
            trouble = (str(error),)
        except Exception:
            log.exception("the watch after promotion failed")
            trouble = ("it failed; see logs/control.log",)
        if trouble:
            self.trouble["watch"] = tuple(f"the watch after promotion: {line}" for line in trouble)
        else:
            self.trouble.pop("watch", None)

    def _visit(self, state: ModelState, rollout: Rollout | None) -> None:
        self.visits += 1
        model = state.model
        try:
            self._tick_model(state, rollout)
        except TemporaryError as error:
            self._say(model, (str(error),))
        except Exception as error:  # A defect with one model must not stop the others.
            failed = (f"an error while it was reconciled ({type(error).__name__}); see logs/control.log",)
            if self.trouble.get(model) != failed:  # It is logged once, not in every tick.
                log.exception("reconciling %s failed", model)
            self._say(model, failed)

    def _next_of_all(self) -> Sequence[ModelState]:
        """Returns the stored states of the models that are due, in the store's own order, which leads through all of
        them."""
        assert self._wanted is not None
        due = self._pace.due(max(1, len(self._wanted)), self._world.clock.now())
        found = self._world.store.models_after(self._last, due) if due else ()
        if due:
            self._last = found[-1].model if len(found) == due else ""
        return found

    # --- the world, read for all models at once -----------------------------------------------------------

    def _read_routings(self) -> set[str]:
        """Returns the models whose routing has changed."""
        try:
            changed = self._converger.read_back()
        except TemporaryError as error:
            self.trouble["router"] = (str(error),)
            return set()
        if self.trouble.pop("router", None) is not None:
            changed |= self._again | (self._wanted or {}).keys()
        return changed

    def _read_fleet(self) -> set[str]:
        """Returns the models whose published state was changed by somebody else."""
        try:
            changed = self._converger.read_fleet()
        except SerinusError as error:
            self.trouble["fleet repository"] = (str(error),)
            return set()
        self.trouble.pop("fleet repository", None)
        return set(self._wanted or ()) if changed is None else set(self._wanted or ()) & set(changed)

    def _take_merged(self) -> None:
        """Carries out what people have merged, and says what could not be."""
        self._merges.read()
        if trouble := self._merges.trouble:
            self.trouble["merges"] = tuple(trouble)
        else:
            self.trouble.pop("merges", None)

    def _read_placements(self, rollouts: Mapping[str, Rollout], *, at_once: bool) -> set[str]:
        """Returns the models whose placements have changed.

        Releases that must run and do not, or run and must not, are corrected first, by what is stored now.
        """
        now = self._world.clock.now()
        pause = CANARIES_JUDGED if rollouts else OBSERVED_EVERY
        rested = self._observed is not None and now - self._observed < pause
        placing = any(one.status.phase is not Phase.CANARY for one in rollouts.values())
        if rested and not (placing or at_once or self._again or self._placements is None):
            return set()
        self._observed = now
        before, wanted = self._placements, dict(self._wanted or {})
        try:
            self._placements = self._world.target.observe()
        except SerinusError:
            self._placements = None
            return wanted.keys() | set() if before is not None else set()
        running = {release.id for releases in wanted.values() for release in releases}
        trying = wanted_releases([], list(rollouts.values())).keys()
        if self._placements.keys() != running | trying:
            states = self._world.store.models()
            self._placements = place(self._world, states, list(rollouts.values()), self._bad)
            wanted |= {state.model: tuple(wanted_releases([state], []).values()) for state in states}
        if before is None or self._placements is None:
            return set(wanted)
        changed = differing(_seen(before), _seen(self._placements))
        return {model for model, releases in wanted.items() if changed and changed & {one.id for one in releases}}

    def _read_aliases(self) -> set[str]:
        """Returns the models whose aliases have changed."""
        try:
            changed = self._aliases.read()
        except SerinusError as error:
            self.trouble["registry"] = (f"{error} Aliases are not read until it answers.",)
            return set()
        if self._aliases.known:
            self.trouble.pop("registry", None)
        return changed

    @property
    def registry_answers(self) -> bool:
        """Whether the registry was read, and could be at the last attempt."""
        return self._aliases.known

    # --- one model ---------------------------------------------------------------------------------------

    def _tick_model(self, state: ModelState, rollout: Rollout | None) -> None:
        placements = self._placements_of(state, rollout)
        for _ in range(TRANSITIONS_A_TICK):
            unsettled = Unsettled()
            self._converger.serve(state, rollout, placements, unsettled)
            with unsettled.part("aliases"):
                state, writes = self._aliases.obey(state, rollout)
                self._aliases.write(state.model, writes)
            with unsettled.part("fleet repository"):
                self._converger.publish(state, rollout)
            if rollout is None:
                self._say(state.model, unsettled.lines, again=unsettled.pending)
                self._capacity.settle(state, placements)
                return
            seen = self._observer.observe(rollout, placements, settled=not unsettled)
            self._say(state.model, (*unsettled.lines, *self._observer.trouble(rollout)), again=unsettled.pending)
            seen = self._capacity.prepare(state, rollout, seen, placements)
            moved = advance(rollout, seen, self._world.clock.now())
            if moved is None:
                self._coming_up |= rollout.status.phase is Phase.PLACE
                return
            name, after = moved
            if name == "approved" and after.spec_waits and not self._has_kept_spec(after):
                return
            state = self._persist(name, rollout, after, state)
            if name == "still-watching" or after.status.phase.ended:
                return
            rollout = after
            placements = self._placements_of(state, rollout)

    def _placements_of(self, state: ModelState, rollout: Rollout | None) -> Mapping[str, Placement] | None:
        """Returns the placements after the target was told which releases this model wants."""
        assert self._wanted is not None
        self._wanted[state.model] = tuple(wanted_releases([state], []).values())
        there = self._placements
        return there if there is not None and ensure(self._world, state, rollout, there, self._bad) else None

    def _persist(self, name: str, before: Rollout, after: Rollout, state: ModelState) -> ModelState:
        """Stores a transition. The audit entry comes first: after a crash it may be there twice, but it is never
        missing."""
        now = self._world.clock.now()
        if name == "still-watching":
            self._looked_at.append(after)
            return state
        if (entry := audit_of(name, after)) is not None:
            self._world.store.audit(*entry, now)
        if after.status.phase is Phase.PROMOTING:
            state = after_promotion(state, after)
        elif after.status.phase is Phase.RETIRING:
            state = after_retirement(state, after)
        elif after.status.phase is Phase.SCALING:
            state = after_scaling(state, after)
        elif after.status.phase is Phase.SCALED:
            state = after_scaled(state)
        elif after.status.phase is Phase.ABORTING:
            state = after_abort(state, after)
        self._world.store.save(after, state, [event_of(name, before, after, now)])
        if after.status.phase.ended:
            self._jobs.forget(f"{after.id}/")
            self._observer.forget(after)
            self._news.tell(after.model)  # It is visited once more, without a rollout in flight.
        return state

    def _has_kept_spec(self, rollout: Rollout) -> bool:
        """Whether its spec is the model's. Raises TemporaryError."""
        keep = partial(keep_spec, self._world, rollout)
        try:
            self._outside.answer(f"spec/{rollout.model}", rollout.id, keep, "fleet")
        except Pending:
            return False
        return True

    def _say(self, model: str, lines: Sequence[str], *, again: bool = False) -> None:
        """Shows what is wrong with a model. With `again`, or where something is, it is visited in the next tick."""
        if lines:
            self.trouble[model] = tuple(lines)
        else:
            self.trouble.pop(model, None)
        if lines or again:
            self._again.add(model)
        else:
            self._again.discard(model)

    # --- what waits for the present rollout to end --------------------------------------------------------

    def _create_pending(self) -> None:
        """Begins rollouts that were requested while another one was in flight (`--supersede`, rollback).

        Of several for one model the last one begins. The others end without having begun.
        """
        store, now = self._world.store, self._world.clock.now()
        pending = store.pending()
        if not pending:
            return
        last = {rollout.model: rollout for rollout in pending}
        flying = {rollout.model for rollout in store.in_flight()}
        for rollout in pending:
            if rollout.model in flying:
                continue
            successor = last[rollout.model]
            if rollout.id != successor.id:
                ended = never_began(rollout, successor, now)
                store.create(ended, [event_of("never-began", rollout, ended, now)])
            else:
                # Another deployment may have begun in the meantime. The rollout then begins after that one.
                with suppress(Refused):
                    store.create(rollout, [event_of("created", rollout, rollout, now)])


def _seen(placements: Mapping[str, Placement]) -> Mapping[str, object]:
    """Returns the fields of each placement that affect a decision. Others, such as its memory, change all the time."""
    return {
        name: (
            *(one.state, one.endpoint, one.reason, one.unsettled),
            *(one.long, one.way, one.scale, one.scaled, one.expected),
        )
        for name, one in placements.items()
    }
