"""Disk usage, and the removal of files that nothing needs.

These files can be made again: an environment is built, an artifact fetched and a graph compiled when a version is
deployed that needs it. What is needed is derived from the store and from what runs, each time anew.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from serinus import spec as specs
from serinus.core.errors import SerinusError, Unavailable
from serinus.core.people import Access, Actor
from serinus.core.release import Release
from serinus.core.rollout import ModelState, Phase, Rollout
from serinus.core.storage import Storage, Stored
from serinus.delivery import needed_releases
from serinus.engine.commands.usage import Inode, blocks
from serinus.engine.world import World
from serinus.resources import DiskItem, DiskUsage, KeptItem, Pruned, RemovedItem

log = logging.getLogger(__name__)

PRUNER = Actor(name="serinus", access=Access.ADMIN, origin="disk budget")
LOGS_KEPT = timedelta(days=7)
"""How long the log of a release is kept that nothing needs, for people who want to know why it ended."""
LOOK_SECONDS = 600.0
"""The time between two checks of the budget."""
_PREPARING = (Phase.RESOLVE, Phase.BUILD, Phase.PLACE, Phase.GATES)
"""The phases in which a rollout may use stored files that no release names yet."""
_HISTORY = 10_000


class Disk:
    """Measures and removes files.

    - `storages`: files that can be made again.
    - `others`: paths of further kinds, which are only measured.
    - `always`: digests of environments that are always needed.
    - `elsewhere`: kinds that are not on this disk, and how their bytes are found.
    - `budget`: bytes that `storages` may take together before files that nothing needs are removed. None: no limit.
    """

    def __init__(
        self,
        world: World,
        storages: Sequence[Storage],
        others: Mapping[str, Sequence[Path]],
        always: Callable[[], Iterable[str]] = tuple,
        budget: int | None = None,
        elsewhere: Mapping[str, Callable[[], int]] = MappingProxyType({}),
    ) -> None:
        self._world = world
        self._storages = storages
        self._others = others
        self._always = always
        self._budget = budget
        self._elsewhere = elsewhere
        self._pruning = threading.Lock()

    def usage(self) -> DiskUsage:
        """Returns every item and the bytes of each kind. A kind elsewhere that does not answer is left out. Raises
        Unavailable where it is unknown what runs."""
        items, totals = self._items()
        for kind, paths in self._others.items():
            totals[kind] = sum(blocks(paths).values())
        for kind, size in self._elsewhere.items():
            with suppress(SerinusError):
                totals[kind] = size()
        return DiskUsage(
            kinds=totals,
            items=items,
            budget=self._budget,
            free=shutil.disk_usage(self._world.disk).free,
        )

    def prune(self, wanted: Collection[tuple[str, str]]) -> Pruned:
        """Removes those of `wanted` (pairs of kind and name) that nothing needs now. Raises Unavailable.

        The result lists what was removed and what was kept, with the reasons.
        """
        with self._pruning:
            since = self._since()
            items, _ = self._items()
            removed: list[RemovedItem] = []
            kept: list[KeptItem] = []
            for one in items:
                if (one.kind, one.name) in wanted:
                    if why := one.needed or self._remove(one, since):
                        kept.append(KeptItem(kind=one.kind, name=one.name, bytes=one.freed, why=why))
                    else:
                        removed.append(RemovedItem(kind=one.kind, name=one.name, bytes=one.freed))
        return Pruned(removed=removed, kept=kept, free=shutil.disk_usage(self._world.disk).free)

    def run(self, stop: threading.Event) -> None:
        """Keeps the budget until `stop` is set."""
        while not stop.wait(LOOK_SECONDS):
            try:
                self.keep_budget()
            except SerinusError as error:
                log.warning("the disk budget could not be checked: %s", error)

    def keep_budget(self) -> None:
        """Removes files that nothing needs, the least recently used first, until the budget is kept. Raises
        Unavailable."""
        if self._budget is None:
            return
        items, totals = self._items()
        over = sum(totals.values()) - self._budget
        chosen = to_remove(items, over)
        if not chosen:
            return
        details = {"items": len(chosen), "bytes": sum(one.freed for one in chosen), "budget": self._budget}
        self._world.store.audit(PRUNER, "prune", "disk", "the budget is exceeded", details, self._world.clock.now())
        found = self.prune({(one.kind, one.name) for one in chosen})
        log.info("removed %d items that nothing needs: the disk budget was exceeded", len(found.removed))

    # --- how ----------------------------------------------------------------------------------------------

    def _since(self) -> float:
        """Returns the time from which on files count as in use, because a deployment may have requested them."""
        begun = [one.created_at for one in self._world.store.in_flight() if one.status.phase in _PREPARING]
        return min([self._world.clock.now(), *begun]).timestamp()

    def _remove(self, item: DiskItem, since: float) -> str:
        """Removes the item. Returns why it was kept, or an empty text."""
        storage = next(one for one in self._storages if one.kind == item.kind)
        try:
            gone = storage.remove(item.name, since)
        except OSError as error:
            return f"it could not be removed: {error.strerror or type(error).__name__}"
        return "" if gone else "it is being made, or was requested in the meantime"

    def _items(self) -> tuple[Sequence[DiskItem], dict[str, int]]:
        """Returns all items, the largest first, and the bytes of each kind."""
        needs, models = self._needs(), self._models()
        lately = (self._world.clock.now() - LOGS_KEPT).timestamp()
        measured: list[tuple[str, Stored, Mapping[Inode, int]]] = [
            (storage.kind, one, blocks(one.paths)) for storage in self._storages for one in storage.stored()
        ]
        names: dict[Inode, int] = {}
        for _, _, found in measured:
            for inode in found:
                names[inode] = names.get(inode, 0) + 1
        items, totals = [], {storage.kind: 0 for storage in self._storages}
        counted: set[Inode] = set()
        for kind, one, found in measured:
            why = needs.get((kind, one.name), "")
            if not why and kind == "logs" and one.used_at >= lately:
                why = f"written in the last {LOGS_KEPT.days} days"
            freed = sum(size for inode, size in found.items() if names[inode] == 1)
            items.append(
                DiskItem(
                    kind=kind,
                    name=one.name,
                    models=sorted(models.get((kind, one.name), ())),
                    bytes=sum(found.values()),
                    freed=freed,
                    used_at=one.used_at,
                    needed=why,
                )
            )
            totals[kind] += sum(size for inode, size in found.items() if inode not in counted)
            counted.update(found)
        return sorted(items, key=lambda one: -one.bytes), totals

    def _needs(self) -> Mapping[tuple[str, str], str]:
        """Returns why each item (kind, name) is needed. Raises Unavailable where it is unknown what runs."""
        store, now = self._world.store, self._world.clock.now()
        needs: dict[tuple[str, str], str] = {}
        # Pending rollouts are read first: one that begins meanwhile is among those in flight.
        flying = [*store.pending(), *store.in_flight()]
        states = {state.model: state for state in store.models()}
        for model in {*states, *(rollout.model for rollout in flying)}:
            rollouts = store.rollouts(model, limit=_HISTORY)
            mine = [rollout for rollout in flying if rollout.model == model]
            state = states.get(model, ModelState(model))
            for release, why in needed_releases(state, rollouts, mine, _kept_for(rollouts), now).items():
                _add(needs, _kept_of(release), f"{model}: {why}")
        for rollout in flying:
            if rollout.artifact is not None:
                _add(needs, [("artifacts", rollout.artifact.digest)], f"{rollout.model}: {rollout.id} has not ended")
        runs = self._running()
        for release in store.releases() if runs else ():
            if release.id in runs:
                _add(needs, _kept_of(release), f"{release.model}: it still runs")
        always = [("environments", digest) for digest in self._always()]
        _add(needs, always, "what compiled releases are served with")
        return needs

    def _running(self) -> Collection[str]:
        try:
            return self._world.target.observe().keys()
        except SerinusError as error:
            raise Unavailable(
                f"it is not known which releases are running, so nothing is removed: {error.message}",
                hint="`serinus status` says why the model host does not answer.",
            ) from error

    def _models(self) -> Mapping[tuple[str, str], set[str]]:
        """Returns the models that have a release with each item (kind, name)."""
        found: dict[tuple[str, str], set[str]] = {}
        for release in self._world.store.releases():
            for key in _kept_of(release):
                found.setdefault(key, set()).add(release.model)
        return found


def to_remove(items: Sequence[DiskItem], over: int) -> Sequence[DiskItem]:
    """Returns the items to remove: the least recently used that nothing needs, until `over` bytes are freed. Pure."""
    chosen: list[DiskItem] = []
    for one in sorted(items, key=lambda one: one.used_at):
        if over <= 0:
            break
        if not one.needed:
            chosen.append(one)
            over -= one.freed
    return chosen


def _kept_for(rollouts: Sequence[Rollout]) -> timedelta:
    """Returns how long a former champion of the model is kept: as long as its successor is watched after its promotion.

    `rollouts` are sorted with the newest first.
    """
    last = next((one for one in rollouts if one.status.phase in (Phase.PROMOTING, Phase.PROMOTED)), None)
    if last is None:
        return timedelta()
    try:
        return timedelta(seconds=specs.watched_for(specs.load(last.spec, model=last.model)))
    except SerinusError:  # An earlier version of Serinus accepted the spec.
        return timedelta(seconds=specs.watched_for(specs.load("", model=last.model)))


def _kept_of(release: Release) -> Sequence[tuple[str, str]]:
    """Returns the items (kind, name) that belong to the release."""
    kept = [
        ("logs", release.id),
        ("artifacts", release.artifact_digest),
        ("environments", release.environment_digest),
    ]
    if release.compiled is not None:
        kept += [("graphs", release.compiled.digest), ("environments", release.compiled.environment_digest)]
    return kept


def _add(needs: dict[tuple[str, str], str], kept: Iterable[tuple[str, str]], why: str) -> None:
    """Adds a reason to each item that has none."""
    for one in kept:
        needs.setdefault(one, why)
