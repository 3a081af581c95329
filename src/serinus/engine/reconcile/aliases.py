"""The aliases of the registry: changes by people are carried out, and the champion is written into them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from serinus.core.errors import NotFound, SerinusError, TemporaryError, Unavailable
from serinus.core.events import Event
from serinus.core.rollout import ModelState, Rollout
from serinus.delivery import AliasReading, read_aliases, without_lost
from serinus.engine.news import differing
from serinus.engine.reconcile.outside import Outside, Pending
from serinus.engine.world import World

log = logging.getLogger(__name__)

EVERY = timedelta(seconds=5)
AGAIN = timedelta(seconds=1)
"""The time until the next attempt after the registry did not answer."""
_READS, _WRITES, _DEPLOYMENTS = "aliases", "alias-writes", "alias-deployments"
"""The rooms of jobs. What is read does not wait for what is written."""

DeployByAlias = Callable[[str, str], None]
"""Deploys (model, version), because a person has set `challenger`."""


class Aliases:
    """Reads and writes the aliases. `deploy` None: versions cannot be deployed by an alias."""

    def __init__(self, world: World, outside: Outside, deploy: DeployByAlias | None) -> None:
        self._world = world
        self._outside = outside
        self._deploy = deploy
        self._found: Mapping[str, Mapping[str, str]] | None = None
        self._read: datetime | None = None
        self._away = False
        """Whether the registry did not answer the last time."""
        self._writes = 0
        """The number of calls that have written aliases."""
        self._written: dict[str, Mapping[str, str | None]] = {}
        """What has been written by model since the aliases were read."""
        self._registered: dict[tuple[str, str], bool] = {}
        """Whether the registry has a version, as of the same time."""

    @property
    def known(self) -> bool:
        """Whether the aliases were read, and could be at the last attempt."""
        return self._found is not None

    def read(self) -> set[str]:
        """Returns the models whose aliases have changed. Empty where they were read a short time ago, or are being
        read.

        Raises SerinusError where the registry does not answer. Until it does, aliases mean nothing.
        """
        now = self._world.clock.now()
        pause = EVERY if self._found is not None else AGAIN
        if self._read is not None and now - self._read < pause:
            return set()
        before = self._found or {}
        try:
            # What was read before a write has ended may not have it.
            found = self._outside.answer("aliases", self._writes, self._world.registry.aliases, _READS)
        except Pending:
            return set()
        except SerinusError:
            self._read, self._found, self._away = now, None, True
            raise
        self._read, self._found, self._away = now, found, False
        self._written.clear()
        self._registered.clear()
        self._take_baseline(found)
        return differing(before, found)

    def _take_baseline(self, aliases: Mapping[str, Mapping[str, str]]) -> None:
        """Records the aliases that existed before Serinus first saw the registry. They are not commands."""
        store = self._world.store
        if store.setting("aliases-baseline") is not None:
            return
        for model, found in aliases.items():
            kept = {a: v for a, v in found.items() if a in ("champion", "challenger")}
            store.save_model(replace(store.model(model), aliases=kept))
        store.set_setting("aliases-baseline", self._world.clock.now().isoformat())

    def obey(self, state: ModelState, rollout: Rollout | None) -> tuple[ModelState, Mapping[str, str | None]]:
        """Reads the meaning of the aliases, stores what has been seen, and only then returns what is to be written.

        Raises Pending, and TemporaryError where the aliases are unknown.
        """
        if self._found is None:
            if rollout is None:  # It needs nothing. The failure is reported once, for the whole fleet.
                return state, {}
            if self._away:
                raise Unavailable("the registry does not answer")
            raise Pending
        reading = self._writable(read_aliases(state, rollout, self._found.get(state.model, {})))
        command = f"deploy/{state.model}"
        if reading.deploy is not None and self._deploy is not None:
            # The command comes first. One that was only stored as seen would be lost in a crash.
            call = partial(self._by_alias, self._deploy, state.model, reading.deploy)
            self._outside.answer(command, reading.deploy, call, _DEPLOYMENTS)
        else:
            self._outside.drop(command)  # Its rollout was found before its answer.
        if reading.state != state:
            now = self._world.clock.now()
            rollout_id = rollout.id if rollout else None
            notices = [Event(now, state.model, rollout_id, kind, text) for kind, text in reading.notices]
            self._world.store.save_model(reading.state, notices)
        return reading.state, reading.writes

    def write(self, model: str, writes: Mapping[str, str | None]) -> None:
        """Writes what `obey` has returned. Raises Pending, and SerinusError."""
        if not writes or self._written.get(model) == writes:
            return
        self._outside.answer(f"aliases/{model}", writes, partial(self._set, model, writes), _WRITES)
        self._written[model] = writes
        self._writes += 1
        self._read = None  # They are read again in the next tick.

    def _set(self, model: str, writes: Mapping[str, str | None]) -> None:
        for alias, version in writes.items():
            if version is None:
                self._world.registry.drop_alias(model, alias)
            else:
                self._world.registry.set_alias(model, alias, version)

    def _writable(self, reading: AliasReading) -> AliasReading:
        """Returns the reading without the aliases of versions that were deleted or renamed in the registry.

        That is reported once, and not attempted again. Raises Pending.
        """
        model = reading.state.model
        for alias, version in reading.writes.items():
            if version is not None and not self._is_registered(model, version):
                reading = without_lost(reading, alias, version, registered=model in (self._found or {}))
        return reading

    def _is_registered(self, model: str, version: str) -> bool:
        if (model, version) not in self._registered:
            find = partial(self._find, model, version)
            self._registered[model, version] = self._outside.answer(f"versions/{model}", version, find, _WRITES)
        return self._registered[model, version]

    def _find(self, model: str, version: str) -> bool:
        try:
            self._world.registry.find(model, version)
        except NotFound:
            return False
        except SerinusError:
            return True  # The version exists, or that is unknown. Writing the alias will show it.
        return True

    def _by_alias(self, deploy: DeployByAlias, model: str, version: str) -> None:
        try:
            deploy(model, version)
        except TemporaryError:
            raise
        except SerinusError as error:
            self._refuse(model, str(error))
        except Exception as error:  # The version exists but cannot be read, which is no reason to leave out its alias.
            log.exception("version %s of %s, requested by alias, failed", version, model)
            self._refuse(model, f"Version {version} cannot be read: {type(error).__name__}, see logs/control.log.")

    def _refuse(self, model: str, why: str) -> None:
        self._world.store.emit([Event(self._world.clock.now(), model, None, "challenger-refused", why)])
