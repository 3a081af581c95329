"""The loop. It never decides (`delivery` does) and never remembers anything but what is stored."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from serinus.core.errors import NotFound, Refused, SerinusError, TemporaryError
from serinus.core.rollout import ModelState, Phase, Rollout
from serinus.core.values import Event, Placement
from serinus.delivery import (
    AliasReading,
    advance,
    after_abort,
    after_promotion,
    after_retirement,
    never_began,
    read_aliases,
    without_lost,
)
from serinus.engine.converge import Converger, place
from serinus.engine.happenings import audit_of, event_of
from serinus.engine.jobs import Jobs
from serinus.engine.observe import Observer
from serinus.engine.policies import keep_spec
from serinus.engine.watching import RollBack, Watcher
from serinus.engine.world import World

log = logging.getLogger(__name__)

ALIASES_EVERY = timedelta(seconds=5)
ALIASES_AGAIN = timedelta(seconds=1)
"""After a reading that failed: a registry that is back is soon told to be."""
SOON = 0.1
"""Seconds."""
# A chain of transitions in one tick: enough to pass through what is ready, bounded so that no model holds the others.
TRANSITIONS_A_TICK = 8

DeployByAlias = Callable[[str, str], None]
"""(model, version): a person has set `challenger`."""


class Engine:
    """Reconciles every model, once a tick. `deploy_by_alias`, `news` and `roll_back` are the desk's, given by wiring;
    without `roll_back` no release is watched after its promotion."""

    def __init__(
        self,
        world: World,
        jobs: Jobs | None = None,
        deploy_by_alias: DeployByAlias | None = None,
        news: threading.Event | None = None,
        roll_back: RollBack | None = None,
    ) -> None:
        self._world = world
        self._watcher = Watcher(world, roll_back) if roll_back else None
        self._news = news or threading.Event()
        self._jobs = jobs or Jobs(told=self._news.set)
        self._observer = Observer(world, self._jobs)
        self._converger = Converger(world)
        self._deploy_by_alias = deploy_by_alias
        self._aliases: Mapping[str, Mapping[str, str]] | None = None
        self._aliases_read: datetime | None = None
        self._coming_up = False
        self.trouble: dict[str, tuple[str, ...]] = {}
        """Model -> what is not as it should be and being tried again; for people, not for decisions."""

    def run(self, stop: threading.Event, interval: float = 0.5) -> None:
        """A tick every `interval` seconds; at once where there is news, an order or the end of long work; and soon
        while a release is coming up, of which the target does not tell."""
        while not stop.is_set():
            self._news.clear()
            try:
                self.tick()
            except SerinusError as error:
                self.trouble[""] = (str(error),)
            except Exception:  # the loop must outlive a fault in one round; it is logged whole and shown
                log.exception("a tick failed")
                self.trouble[""] = ("a tick of the engine failed; see logs/control.log",)
            else:
                self.trouble.pop("", None)
            self._news.wait(SOON if self._coming_up else interval)
        self._jobs.stop()

    def tick(self) -> None:
        store = self._world.store
        self._create_pending()
        states = {s.model: s for s in store.models()}
        rollouts = {r.model: r for r in store.in_flight()}
        self._coming_up = False
        self._read_aliases()
        placements = place(self._world, list(states.values()), list(rollouts.values()))
        for model in sorted({*states, *rollouts, *(self._aliases or {})}):
            try:
                self._tick_model(store.model(model), rollouts.get(model), placements)
            except TemporaryError as error:
                self.trouble[model] = (str(error),)
            except Exception as error:  # one model's fault must not stop the others
                failed = (f"reconciling it failed ({type(error).__name__}); see logs/control.log",)
                if self.trouble.get(model) != failed:  # once, not with every tick
                    log.exception("reconciling %s failed", model)
                self.trouble[model] = failed
        self._watch(store.models())

    def _watch(self, states: Sequence[ModelState]) -> None:
        """A fault in it must not stop rollouts."""
        if self._watcher is None:
            return
        try:
            trouble = self._watcher.look(states, {r.model: r for r in self._world.store.in_flight()})
        except TemporaryError as error:
            trouble = (str(error),)
        except Exception:
            log.exception("the watch after promotion failed")
            trouble = ("it failed; see logs/control.log",)
        if trouble is not None:
            self._say("watch", [f"the watch after promotion: {line}" for line in trouble])

    # --- one model ---------------------------------------------------------------------------------------

    def _tick_model(
        self, state: ModelState, rollout: Rollout | None, placements: Mapping[str, Placement] | None
    ) -> None:
        for _ in range(TRANSITIONS_A_TICK):
            state, reading = self._obey_aliases(state, rollout)
            unsettled = self._converger.converge(state, rollout, placements, reading)
            if rollout is None:
                self._say(state.model, unsettled)
                return
            seen = self._observer.observe(rollout, placements, settled=not unsettled)
            self._say(state.model, (*unsettled, *self._observer.trouble(rollout)))
            moved = advance(rollout, seen, self._world.clock.now())
            if moved is None:
                self._coming_up |= rollout.status.phase is Phase.PLACE
                return
            name, after = moved
            state = self._persist(name, rollout, after, state)
            if name == "still-watching" or after.status.phase.ended:
                return
            rollout = after
            placements = place(self._world, self._world.store.models(), self._world.store.in_flight())

    def _persist(self, name: str, before: Rollout, after: Rollout, state: ModelState) -> ModelState:
        """The audit first: an act may be told twice after a crash, but never be missing."""
        now = self._world.clock.now()
        if name == "still-watching":
            self._world.store.save(after)
            return state
        if name == "approved" and after.spec_waits:
            keep_spec(self._world, after)
        if (entry := audit_of(name, after)) is not None:
            self._world.store.audit(*entry, now)
        if after.status.phase is Phase.PROMOTING:
            state = after_promotion(state, after)
        elif after.status.phase is Phase.RETIRING:
            state = after_retirement(state, after)
        elif after.status.phase is Phase.ABORTING:
            state = after_abort(state, after)
        self._world.store.save(after, state, [event_of(name, before, after, now)])
        if after.status.phase.ended:
            self._jobs.forget(f"{after.id}/")
            self._observer.forget(after)
        return state

    def _say(self, model: str, lines: Sequence[str]) -> None:
        if lines:
            self.trouble[model] = tuple(lines)
        else:
            self.trouble.pop(model, None)

    @property
    def registry_answers(self) -> bool:
        """Whether the registry was read, and could be when it was last tried."""
        return self._aliases is not None

    # --- aliases -----------------------------------------------------------------------------------------

    def _read_aliases(self) -> None:
        now = self._world.clock.now()
        pause = ALIASES_EVERY if self._aliases is not None else ALIASES_AGAIN
        if self._aliases_read is not None and now - self._aliases_read < pause:
            return
        self._aliases_read = now
        try:
            self._aliases = self._world.registry.aliases()
        except SerinusError as error:
            self._aliases = None
            self.trouble["registry"] = (f"{error} Aliases are not read until it answers.",)
        else:
            self.trouble.pop("registry", None)
            self._take_baseline(self._aliases)

    def _take_baseline(self, aliases: Mapping[str, Mapping[str, str]]) -> None:
        """What a registry held before Serinus first saw it is no command."""
        store = self._world.store
        if store.setting("aliases-baseline") is not None:
            return
        for model, found in aliases.items():
            kept = {a: v for a, v in found.items() if a in ("champion", "challenger")}
            store.save_model(replace(store.model(model), aliases=kept))
        store.set_setting("aliases-baseline", self._world.clock.now().isoformat())

    def _obey_aliases(self, state: ModelState, rollout: Rollout | None) -> tuple[ModelState, AliasReading | None]:
        """Reads what the aliases mean, stores what has been seen, and only then lets them be written."""
        if self._aliases is None:
            return state, None
        reading = self._writable(read_aliases(state, rollout, self._aliases.get(state.model, {})))
        if reading.deploy is not None and self._deploy_by_alias is not None:
            self._by_alias(state.model, reading.deploy)  # first: a command that was stored as seen only would be lost
        if reading.state != state:
            now = self._world.clock.now()
            rollout_id = rollout.id if rollout else None
            notices = [Event(now, state.model, rollout_id, kind, text) for kind, text in reading.notices]
            self._world.store.save_model(reading.state, notices)
        if reading.writes:
            self._aliases_read = None  # read them back at the next tick
        return reading.state, reading

    def _writable(self, reading: AliasReading) -> AliasReading:
        """Without the aliases of versions that were deleted or renamed in the registry: that is told once, and nothing
        is written again and again in vain."""
        model = reading.state.model
        for alias, version in reading.writes.items():
            if version is not None and not self._registered(model, version):
                reading = without_lost(reading, alias, version, registered=model in (self._aliases or {}))
        return reading

    def _registered(self, model: str, version: str) -> bool:
        try:
            self._world.registry.find(model, version)
        except NotFound:
            return False
        except SerinusError:
            return True  # there, or not known: writing the alias will tell
        return True

    def _by_alias(self, model: str, version: str) -> None:
        assert self._deploy_by_alias is not None
        try:
            self._deploy_by_alias(model, version)
        except TemporaryError:
            raise
        except SerinusError as error:
            self._refuse_alias(model, str(error))
        except Exception as error:  # a fault in reading that version: it is as it is, and not read again
            log.exception("version %s of %s, asked for by alias, failed", version, model)
            self._refuse_alias(
                model, f"Version {version} cannot be read: {type(error).__name__}, see logs/control.log."
            )

    def _refuse_alias(self, model: str, why: str) -> None:
        self._world.store.emit([Event(self._world.clock.now(), model, None, "challenger-refused", why)])

    # --- what waits for the present rollout to end --------------------------------------------------------

    def _create_pending(self) -> None:
        """Begins what was asked for while another rollout was in flight (`--supersede`, a rollback). Of several of one
        model the last one; the others end without having begun."""
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
                # Whoever deploys between the two is first: then it begins after that one.
                with suppress(Refused):
                    store.create(rollout, [event_of("created", rollout, rollout, now)])
