"""Requests of some streams in one segment, and how they are counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulation import counts as at
from simulation.counts import Counts
from simulation.entities import ASKED, ASKED_IN_ROLLOUT, HAD, NOW, ROLLOUT, STEP, WINDOW, Entities, had
from simulation.kinds import EVENTS

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

OF_ANSWERS = frozenset({"alerts", "missing"})
FAILURES = (EVENTS.index("errors"), EVENTS.index("fallbacks"))
_PLACES = {
    STEP: (at.STEP, at.AT_RISK_STEP),
    ROLLOUT: (at.ROLLOUT, at.AT_RISK_ROLLOUT),
    WINDOW: (at.WINDOW, at.AT_RISK_WINDOW),
}


@dataclass
class Requests:
    streams: int
    looks: int
    """Of the segment."""
    cell: Integers
    """Of each request: ((its stream among these) * looks + its look) * 2 + its arm."""
    entity: Integers
    """Among those of these streams; -1: none."""
    events: dict[int, Integers]
    """Which requests have an event."""
    in_order: bool = True
    """Whether they come in the order of their looks within each stream."""
    all_named: bool = True

    def look(self, rows: Integers) -> Integers:
        return np.asarray(self.cell[rows] // 2 % self.looks)

    def named(self, rows: Integers) -> Integers:
        return rows if self.all_named else rows[self.entity[rows] >= 0]

    def nameless(self, rows: Integers) -> Integers:
        return rows[:0] if self.all_named else rows[self.entity[rows] < 0]

    def failed(self) -> Booleans | None:
        """None: no request."""
        rows = [self.events[place] for place in FAILURES if len(self.events.get(place, ()))]
        if not rows:
            return None
        failed = np.zeros(len(self.cell), dtype=bool)
        failed[np.concatenate(rows)] = True
        return failed

    def per_cell(self, rows: Integers | None = None) -> Integers:
        """Number of these requests, by stream, look and arm."""
        cells = self.cell if rows is None else self.cell[rows]
        shape = (self.streams, self.looks, 2)
        return np.bincount(cells, minlength=self.streams * self.looks * 2).reshape(shape)


class Counting:
    """Counts the requests of up to `streams` streams at a time."""

    def __init__(self, entities: Entities, streams: int, looks: int) -> None:
        self.entities, self.looks = entities, looks
        size = streams * entities.kind.entities
        self._row = np.zeros(size, np.int32)
        self._event_at = {place: np.full(size, looks, np.int16) for place in entities.kind.active}
        """Look at which an entity has its first event of this segment."""

    def count(self, these: Requests, begin: int) -> Counts:
        """Of the streams from `begin` on: [stream, look, arm, place]."""
        bits = self.entities.bits[begin : begin + these.streams].reshape(-1)
        failed = these.failed()
        events = {
            place: rows if failed is None or EVENTS[place] not in OF_ANSWERS else rows[~failed[rows]]
            for place, rows in these.events.items()
        }
        firsts = {place: self._earliest(these, these.named(rows)) for place, rows in events.items()}
        for place, rows in firsts.items():
            self._event_at[place][these.entity[rows]] = these.look(rows)
            bits[these.entity[rows]] |= NOW
        known = bits[these.entity]
        if not these.all_named:
            known[these.entity < 0] = ASKED | ASKED_IN_ROLLOUT
        found = np.zeros((these.streams, self.looks, 2, at.PLACES), np.int64)
        self._requests(found, these, failed)
        self._asked(found, these, known, begin)
        self._no_longer_at_risk(found, these, known, failed)
        for place, rows in events.items():
            found[..., at.TOTAL.start + place] = these.per_cell(rows)
            self._first_events(found, these, place, firsts[place], begin)
            for first, _ in _PLACES.values():
                found[..., first.start + place] += these.per_cell(these.nameless(rows))
        return found

    def _earliest(self, these: Requests, rows: Integers) -> Integers:
        """The first one of each entity among `rows`, all of which are of somebody."""
        if not these.in_order:
            rows = rows[np.argsort(these.look(rows).astype(np.int16), kind="stable")]
        entity = these.entity[rows]
        self._row[entity[::-1]] = np.arange(len(rows), dtype=np.int32)[::-1]  # the last one that is written stays
        return np.asarray(rows[self._row[entity] == np.arange(len(rows), dtype=np.int32)])

    @staticmethod
    def _requests(found: Counts, these: Requests, failed: Booleans | None) -> None:
        requests = these.per_cell()
        answered = requests if failed is None else requests - these.per_cell(np.flatnonzero(failed))
        found[..., at.REQUESTS], found[..., at.ANSWERED] = requests, answered
        for place, event in enumerate(EVENTS):
            for _, risk in _PLACES.values():
                found[..., risk.start + place] = answered if event in OF_ANSWERS else requests

    def _asked(self, found: Counts, these: Requests, known: npt.NDArray[np.uint32], begin: int) -> None:
        """Distinct entities; whoever has no name is one by himself."""
        nobody = these.nameless(np.arange(0 if these.all_named else len(these.cell)))
        new = self._earliest(these, np.flatnonzero((known & ASKED) == 0))
        new_in_rollout = new[(known[new] & ASKED_IN_ROLLOUT) == 0]
        for place, bit, rows in ((at.ENTITIES, ASKED, new), (at.ENTITIES_ROLLOUT, ASKED_IN_ROLLOUT, new_in_rollout)):
            found[..., place] = these.per_cell(np.concatenate([nobody, rows]))
            self.entities.learn(begin, these.entity[rows], bit, these.look(rows), bit == ASKED_IN_ROLLOUT)

    def _no_longer_at_risk(
        self, found: Counts, these: Requests, known: npt.NDArray[np.uint32], failed: Booleans | None
    ) -> None:
        """Requests of entities that have had the event in a scope before this segment, or at an earlier look of it."""
        rows = np.flatnonzero(known & (HAD | NOW))
        known, entity, look = known[rows], these.entity[rows], these.look(rows).astype(np.int16)
        could = None if failed is None else ~failed[rows]
        for place in self._event_at:
            earlier = self._event_at[place][entity] < look
            for scope, (_, risk) in _PLACES.items():
                gone = earlier | ((known & had(scope, place)) != 0)
                if could is not None and EVENTS[place] in OF_ANSWERS:
                    gone &= could
                found[..., risk.start + place] -= these.per_cell(rows[gone])

    def _first_events(self, found: Counts, these: Requests, place: int, rows: Integers, begin: int) -> None:
        bits = self.entities.bits[begin : begin + these.streams].reshape(-1)
        who = these.entity[rows]
        for scope, (first, _) in _PLACES.items():
            bit = had(scope, place)
            new = (bits[who] & bit) == 0
            found[..., first.start + place] = these.per_cell(rows[new])
            self.entities.learn(begin, who[new], bit, these.look(rows[new]), scope == ROLLOUT)
        bits[who] &= ~NOW
        self._event_at[place][who] = self.looks
