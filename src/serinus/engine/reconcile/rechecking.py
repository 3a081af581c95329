"""The recheck: samples of answers by faster ways to predict are compared with the model's own `predict`.

It runs beside requests, in a process that only uses idle processors, within a share of one processor. Where a faster
way is wrong, its release is served by the model's own `predict` at once. Every round first completes what an earlier
one may have left undone, so the process may be killed at any time.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from serinus import gates
from serinus import spec as specs
from serinus.core.errors import PermanentError, SerinusError, TemporaryError, Unavailable, Unbuildable
from serinus.core.events import Event
from serinus.core.placement import Placement
from serinus.core.ports import Rescorer
from serinus.core.predictions import AnsweredRequest, Mark, OwnAnswer
from serinus.core.release import Release
from serinus.core.rollout import ModelState, Rollout
from serinus.engine.distrust import (
    Distrust,
    Rechecked,
    distrusted,
    rechecked,
    save_distrusted,
    save_rechecked,
    shortcut_of,
)
from serinus.engine.happenings import ENGINE
from serinus.engine.reconcile.converge import wanted_releases
from serinus.engine.steps.kept import keep_rows
from serinus.engine.steps.rows import Table
from serinus.engine.world import World
from serinus.spec import ModelDeployment

log = logging.getLogger(__name__)

INTERVAL = 2.0
"""Seconds between two rounds."""
SHARE = 0.05
"""The default share of one processor."""
_SAVED = 10.0
"""The largest unused budget, in seconds of processor time. It allows several checks in a row after a pause."""
_COUNTED = 5 * INTERVAL
"""The largest time between two rounds that counts towards the budget. More time passes while the machine is suspended
or overloaded."""
_HELD, _HELD_OF_ALL = 200, 20_000
"""The number of requests that wait for a check, of one release and of all together."""
_DRAWN = 50
"""The number of new requests that are drawn in each round."""
_CELLS = 20_000
"""The number of values of one release that wait and are compared at a time. One request may have more."""
_CONFIRMED = 20
"""The number of deviating requests that are confirmed."""
_ASKED_AGAIN = 10.0
"""The time limit of a request that is sent again, in seconds."""
_TENDED_EVERY = timedelta(hours=1)
_DAMAGED = "the files of its compiled model are not those that were proven"
"""Damage that the target detects by itself."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A release with a faster way. `threshold` is its alert threshold, where it has one."""

    release: Release
    placement: Placement
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Suspect:
    """A request whose answer deviates from the model's own."""

    request: AnsweredRequest
    own: OwnAnswer | None
    deviation: gates.Deviation


class Rechecker:
    """Compares answers. `round` must be called by one thread only. `share` is the share of one processor that it may
    use."""

    def __init__(
        self, world: World, rescorer: Rescorer, share: float = SHARE, dice: random.Random | None = None
    ) -> None:
        self._world = world
        self._rescorer = rescorer
        self._share = share
        self._dice = dice or random.Random()  # noqa: S311  chance, no secret
        self._credit = _SAVED
        self._credited_at: datetime | None = None
        self._mark: Mark | None = None
        self._held: dict[str, list[AnsweredRequest]] = {}
        self._looked: dict[str, datetime] = {}
        self._tended: datetime | None = None

    def run(self, stop: threading.Event, interval: float = INTERVAL) -> None:
        """Runs a round every `interval` seconds until `stop` is set."""
        while not stop.wait(interval):
            try:
                self.round()
            except TemporaryError as error:
                log.info("the recheck waits: %s", error)
            except Exception:  # It must survive a defect in one round, which is logged with its traceback.
                log.exception("a round of the recheck failed")

    def round(self) -> None:
        """Checks one release. Raises TemporaryError where a component does not answer."""
        placements = self._world.target.observe()
        self.settle(placements)
        self._tend()
        if self._share <= 0:
            return
        began = time.thread_time()
        self._earn()
        subjects = self._subjects(placements)
        self._gather(subjects)
        self._credit -= time.thread_time() - began
        waiting = [name for name in subjects if self._held.get(name)]
        if self._credit > 0 and waiting:
            never = datetime.min.replace(tzinfo=self._world.clock.now().tzinfo)
            name = min(waiting, key=lambda one: self._looked.get(one, never))
            self._looked[name] = self._world.clock.now()
            self._look(subjects[name], self._held.pop(name))

    def _tend(self) -> None:
        """Deletes kept rows that are older than the retention of the model's predictions."""
        now = self._world.clock.now()
        if self._tended is not None and now - self._tended < _TENDED_EVERY:
            return
        self._tended = now
        for model in self._world.store.models_with_kept_rows():
            try:
                text = self._world.fleet.read(model)
                spec = specs.load(text, model=model) if text else ModelDeployment(model=model)
            except PermanentError as error:
                log.warning("it is not known how long rows of %s are kept: %s", model, error)
            else:
                self._world.store.forget_rows(model, now - spec.retention.predictions)

    # --- what to look at ----------------------------------------------------------------------------------

    def _earn(self) -> None:
        now = self._world.clock.now()
        if self._credited_at is not None:
            passed = max(0.0, (now - self._credited_at).total_seconds())
            self._credit = min(_SAVED, self._credit + self._share * min(passed, _COUNTED))
        self._credited_at = now

    def _subjects(self, placements: Mapping[str, Placement]) -> Mapping[str, Subject]:
        store = self._world.store
        states, rollouts, bad = store.models(), store.in_flight(), distrusted(store)
        found = {}
        for name, release in wanted_releases(states, rollouts).items():
            placed = placements.get(name)
            short = placed is not None and placed.way in gates.SHORT_WAYS and not placed.long
            # Only scores can be compared, and releases without scores have none in their records.
            if placed is not None and short and release.settings.scored and shortcut_of(release) not in bad:
                found[name] = Subject(release, placed, _threshold(name, states, rollouts))
        return found

    def _gather(self, subjects: Mapping[str, Subject]) -> None:
        self._mark, new = self._world.log.sample(frozenset(subjects), self._mark, _DRAWN)
        for request in new:
            self._held.setdefault(request.release, []).append(request)
        most = min(_HELD, max(1, _HELD_OF_ALL // max(1, len(subjects))))
        for name, held in list(self._held.items()):
            if name not in subjects:
                del self._held[name]
            else:
                self._held[name] = _within(self._dice.sample(held, min(most, len(held))), _CELLS)

    # --- one look -----------------------------------------------------------------------------------------

    def _look(self, subject: Subject, requests: Sequence[AnsweredRequest]) -> None:
        counts = rechecked(self._world.store)
        name = subject.release.id
        now = self._world.clock.now()
        before = replace(counts.get(name, Rechecked(subject.release.model, now)), at=now)
        try:
            after, found = self._compared(subject, requests, before)
        except (Unbuildable, TemporaryError) as error:
            log.warning("answers of %s cannot be rechecked: %s", name, error)
            after, found = replace(before, failures=before.failures + 1), []
        save_rechecked(self._world.store, {**counts, name: after})
        if after.nondeterministic and not before.nondeterministic:
            text = f"the model of {name} answers the same request in different ways: its answers cannot be rechecked"
            self._world.store.emit([Event(now, subject.release.model, None, "nondeterministic", text)])
        if found:
            self._distrust(subject, found, len(requests))

    def _compared(
        self, subject: Subject, requests: Sequence[AnsweredRequest], before: Rechecked
    ) -> tuple[Rechecked, Sequence[Suspect]]:
        """Returns the counts after the comparison, and the deviations that the faster way has caused."""
        rescored = self._rescorer.rescore(subject.release, requests)
        self._credit -= rescored.seconds
        suspects = [
            Suspect(request, own, found)
            for request, own in zip(requests, rescored.answers, strict=True)
            if (own is not None or request.columns is not None)
            and (found := gates.deviation(subject.placement.way, request.scores, own, subject.threshold))
        ]
        verdicts = self._confirm(subject, suspects[:_CONFIRMED])
        counted = {verdict: verdicts.count(verdict) for verdict in gates.Verdict}
        wrong = [suspect for suspect, verdict in zip(suspects, verdicts, strict=False) if verdict == "shortcut"]
        after = replace(
            before,
            compared=before.compared + len(requests),
            # Deviations beyond the ones that were confirmed are taken to have the same cause.
            differing=before.differing + (len(suspects) if len(wrong) == _CONFIRMED else len(wrong)),
            nondeterministic=before.nondeterministic + counted[gates.Verdict.NONDETERMINISTIC],
            unrepeated=before.unrepeated + counted[gates.Verdict.UNREPEATED],
        )
        return after, wrong

    def _confirm(self, subject: Subject, suspects: Sequence[Suspect]) -> Sequence[gates.Verdict]:
        """Asks the model in a second process and the release once more."""
        if not suspects:
            return []
        again = self._rescorer.rescore(subject.release, [suspect.request for suspect in suspects])
        self._credit -= again.seconds
        return [
            gates.conclude(
                subject.placement.way, one.request, one.own, own, self._repeated(subject, one), subject.threshold
            )
            for one, own in zip(suspects, again.answers, strict=True)
        ]

    def _repeated(self, subject: Subject, suspect: Suspect) -> bool | None:
        request = suspect.request
        if request.columns is None:
            return None
        endpoint = subject.placement.endpoint
        try:
            served = self._world.scorer.score(endpoint, request.columns, request.rows, _ASKED_AGAIN).scores
        except SerinusError:
            return None
        return gates.deviation(subject.placement.way, served, suspect.own, subject.threshold) is not None

    # --- where a shorter way is wrong ---------------------------------------------------------------------

    def _distrust(self, subject: Subject, wrong: Sequence[Suspect], compared: int) -> None:
        """Stores the rows first, because nothing else has them, and then the mark, from which everything else
        follows."""
        release, store = subject.release, self._world.store
        tables = [
            Table(one.request.columns, one.request.rows, scores=one.own.scores if one.own else None)
            for one in wrong
            if one.request.columns is not None
        ]
        try:
            keep_rows(store, release, tables, self._world.clock.now())
        except Unavailable as error:
            log.warning("the rows that %s answered wrong could not be kept: %s", release.id, error)
        entry = Distrust(
            model=release.model,
            release=release.id,
            way=subject.placement.way,
            at=self._world.clock.now(),
            reason=_in_words(wrong, compared),
            graph=release.compiled.digest if release.compiled else None,
        )
        save_distrusted(store, {shortcut_of(release): entry, **distrusted(store)})
        self.settle(self._world.target.observe())

    def settle(self, placements: Mapping[str, Placement]) -> None:
        """Completes everything that follows from the marks."""
        store = self._world.store
        found = dict(distrusted(store))
        for name, release in wanted_releases(store.models(), store.in_flight()).items():
            placed, shortcut = placements.get(name), shortcut_of(release)
            if placed is not None and not placed.long and shortcut in found:
                self._world.target.distrust(name)
            if placed is not None and placed.long and shortcut not in found and release.compiled is not None:
                found[shortcut] = Distrust(
                    release.model, name, gates.GRAPH, self._world.clock.now(), _DAMAGED, graph=release.compiled.digest
                )
        untold = [entry for entry in found.values() if not entry.told]
        for entry in untold:
            if entry.graph is not None:
                self._world.compiler.distrust(entry.graph)
            self._tell(entry)
        if untold:
            save_distrusted(store, {shortcut: replace(entry, told=True) for shortcut, entry in found.items()})

    def _tell(self, entry: Distrust) -> None:
        now = self._world.clock.now()
        details = {"way": entry.way, "graph": entry.graph, "found_at": entry.at.isoformat()}
        self._world.store.audit(ENGINE, "distrust", entry.release, entry.reason, details, now)
        text = f"{entry.release} is served by the model's own predict from now on: {entry.reason}"
        self._world.store.emit([Event(now, entry.model, None, "distrusted", text, details)])


def _threshold(name: str, states: Sequence[ModelState], rollouts: Sequence[Rollout]) -> float | None:
    """Returns the alert threshold that is in use for the release."""
    for rollout in rollouts:
        if rollout.candidate is not None and rollout.candidate.id == name:
            return rollout.threshold
    for state in states:
        if state.champion is not None and state.champion.id == name:
            return state.champion_threshold
    return None


def _within(requests: Sequence[AnsweredRequest], cells: int) -> list[AnsweredRequest]:
    """Returns the first requests with at most so many values, and at least one request."""
    kept: list[AnsweredRequest] = []
    for request in requests:
        cells -= sum(map(len, request.rows))
        if cells < 0 and kept:
            break
        kept.append(request)
    return kept


def _in_words(wrong: Sequence[Suspect], compared: int) -> str:
    flipped = sum(suspect.deviation.flipped for suspect in wrong)
    refused = sum(suspect.own is None for suspect in wrong)
    text = f"{len(wrong)} of {compared} answers differ from the model's own predict"
    parts = [f"{flipped} {'row gets' if flipped == 1 else 'rows get'} the opposite decision"] if flipped else []
    parts += [f"the model rejects {refused}"] if refused else []
    finite = [suspect.deviation.largest for suspect in wrong if suspect.deviation.largest != float("inf")]
    parts += [f"the largest difference is {max(finite):.3g}"] if finite else []
    return f"{text} ({', '.join(parts)})" if parts else text
