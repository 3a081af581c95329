"""Makes requests of many streams at once and counts them as `serinus.predictions` does, a look at a time.

A stream's clock is in looks. What one look has counted is one stretch of the log: who was at risk in it is told by the
events of the looks before it. `tests/predictions/test_simulated_counts.py` holds this against the real counting.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serinus.core.evidence import WINDOW_SECONDS
from serinus.core.routing import WHOLE
from simulation import counts as at
from simulation.counts import Counts
from simulation.kinds import BOTH, CANARY, EVENTS, Kind

SEGMENT = 20.0
"""Seconds that are made at once; a part of the window after which an entity's events are counted again."""
NEVER = np.iinfo(np.int32).max
_OF_ANSWERS = frozenset({"alerts", "missing"})

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Looks = npt.NDArray[np.int32]


@dataclass
class Requests:
    """One segment's, in the order of their looks within each stream."""

    stream: Integers
    look: Integers
    """From the beginning of the segment."""
    arm: Integers
    entity: Integers
    """Within all streams; -1: none."""
    events: dict[int, Booleans]

    @property
    def answered(self) -> Booleans:
        failed = [self.events[place] for place in (0, 2) if place in self.events]  # errors and fallbacks
        return ~np.logical_or.reduce(failed) if failed else np.ones(len(self.stream), dtype=bool)


class Streams:
    """`number` streams of a kind, each with its own draws."""

    def __init__(self, kind: Kind, number: int, seed: int) -> None:
        self.kind, self.number = kind, number
        self.rng = np.random.default_rng([seed, len(kind.name), *kind.name.encode()])
        self.looks = round(SEGMENT / kind.look)
        self.window = round(WINDOW_SECONDS / kind.look)
        self.segment = 0
        size = (number * kind.entities,)
        self._place = self.rng.random(size, dtype=np.float32)
        """By which an entity goes to an arm: the canary's below its weight."""
        self._sick = {event: self._drawn_sick(share) for event, share in kind.sick.items()}
        self._first = {
            (scope, place): np.full(size, NEVER, np.int32)
            for scope in ("step", "rollout", "window", "asked", "asked rollout")
            for place in (kind.active if "asked" not in scope else (0,))
        }
        """Look of an entity's first event in a scope."""
        self._starts = [self.rng.uniform(*one.start, (number, 1)) for one in kind.incidents]
        self.weight = np.zeros(number, np.int64)
        self._left: dict[str, Integers] = {}

    def _drawn_sick(self, share: float) -> Booleans:
        """Of each stream so many of the canary's entities, in a random order, that they have this share of its
        traffic in the first step."""
        kind = self.kind
        ends = np.linspace(0.0, 1.0, kind.entities + 1) ** (1.0 - kind.tail)
        of_canary = self._place.reshape(self.number, -1) < kind.steps[0].weight / WHOLE
        traffic = np.where(of_canary, np.diff(ends), 0.0)
        order = self.rng.permuted(np.tile(np.arange(kind.entities), (self.number, 1)), axis=1)
        drawn = np.take_along_axis(traffic, order, axis=1)
        so_far = np.cumsum(drawn, axis=1) - drawn
        sick = np.zeros_like(of_canary)
        np.put_along_axis(sick, order, so_far < share * traffic.sum(axis=1, keepdims=True), axis=1)
        return np.asarray(sick.ravel())

    def begin_step(self, streams: Integers, weights: Integers, last_look: Integers) -> None:
        """`streams` begin a step with the next segment; `last_look`: the last that the step before has counted."""
        self.weight[streams] = weights
        self._left = {name: rows for name, rows in self._left.items() if name}
        if not self.kind.entities:
            return
        for (scope, _), first in self._first.items():
            table = first.reshape(self.number, -1)
            if "rollout" in scope:
                rows = table[streams]
                rows[rows > last_look[:, None]] = NEVER
                table[streams] = rows
            else:
                table[streams] = NEVER

    def next(self) -> Counts:
        """What each look of the next segment adds: [stream, look, arm, place]."""
        self.segment += 1
        if self.kind.entities:
            return self._count(self.requests())
        return self._independent()

    @property
    def _now(self) -> int:
        """The segment's first look."""
        return (self.segment - 1) * self.looks

    # --- what happens --------------------------------------------------------------------------------------

    def _times(self) -> Floats:
        return np.asarray((self._now + np.arange(self.looks)) * self.kind.look, np.float64)

    def _curve(self, floor: float = 1.0 / 3.0) -> Floats:
        """The day's, of each look: between `floor` and 1."""
        if not self.kind.day:
            return np.ones(self.looks)
        phase = np.sin(2.0 * np.pi * self._times() / self.kind.day)
        return floor + (1.0 - floor) * (1.0 + phase) / 2.0

    def _probability(self, event: str) -> Floats:
        """[stream, look, arm]"""
        kind, times = self.kind, self._times()
        drift = 1.0 + np.minimum(times / kind.drift, 1.0) if kind.drift else np.ones(self.looks)
        rates = [kind.rate_of(event, arm) / kind.bursts.get(event, 1) for arm in BOTH]
        whole = np.stack([np.full(self.looks, rate) for rate in rates], axis=1)
        if kind.alternate:
            odd = (times // kind.alternate) % 2 == 1
            whole[odd] = whole[odd][:, ::-1]
        whole = whole * (drift * self._curve())[:, None]
        found = np.repeat(whole[None], self.number, axis=0)
        if event == "slow" and kind.warm_up:
            warming = (times[None, :] - self.step_began[:, None] * kind.look) < kind.warm_up
            found[:, :, CANARY] = np.where(warming, np.maximum(found[:, :, CANARY], 0.2), found[:, :, CANARY])
        for one, start in zip(kind.incidents, self._starts, strict=True):
            if one.event == event:
                since = times[None, :] - start
                since = np.where(since >= 0, since % one.every, since) if one.every else since
                during = (since >= 0) & (since < one.seconds)
                for arm in one.arms:
                    found[:, :, arm] = np.where(during, np.maximum(found[:, :, arm], one.rate), found[:, :, arm])
        return np.asarray(np.minimum(found, 1.0))

    step_began: Integers = np.zeros(0, np.int64)
    """Look at which each stream's step has begun."""

    def _arrivals(self) -> Integers:
        """[stream, look]"""
        kind = self.kind
        return self.rng.poisson(kind.rate * kind.look * self._curve(), (self.number, self.looks))

    def _independent(self) -> Counts:
        """Requests of nobody: every event is a first one, and everybody is at risk."""
        canary = self.rng.binomial(self._arrivals(), (self.weight / WHOLE)[:, None])
        found = np.zeros((self.number, self.looks, 2, at.PLACES), np.int64)
        # Poisson arrivals, split: the arms are independent.
        champion = self.rng.binomial(self._arrivals(), 1.0 - (self.weight / WHOLE)[:, None])
        requests = np.stack([champion, canary], axis=2)
        found[..., at.REQUESTS] = found[..., at.ENTITIES] = found[..., at.ENTITIES_ROLLOUT] = requests
        events = {}
        failed = np.zeros_like(requests)
        for place in self.kind.active:
            if EVENTS[place] not in _OF_ANSWERS:
                events[place] = self.rng.binomial(requests, self._probability(EVENTS[place]))
                if place != 1:
                    failed = np.minimum(failed + events[place], requests)
        answered = requests - failed
        for place in self.kind.active:
            if EVENTS[place] in _OF_ANSWERS:
                events[place] = self.rng.binomial(answered, self._probability(EVENTS[place]))
        found[..., at.ANSWERED] = answered
        for place, event in enumerate(EVENTS):
            trials = answered if event in _OF_ANSWERS else requests
            for risk in (at.AT_RISK_STEP, at.AT_RISK_ROLLOUT, at.AT_RISK_WINDOW):
                found[..., risk.start + place] = trials
            for first in (at.TOTAL, at.STEP, at.ROLLOUT, at.WINDOW):
                found[..., first.start + place] = events.get(place, 0)
        return found

    def requests(self) -> Requests:
        kind = self.kind
        arrivals = self._arrivals()
        stream = np.repeat(np.arange(self.number), arrivals.sum(axis=1))
        look = np.repeat(np.tile(np.arange(self.looks), self.number), arrivals.ravel())
        entity = stream * kind.entities + self._drawn(len(stream))
        q = (self.weight / WHOLE).astype(np.float32)
        arm = (self._place[entity] < q[stream]).astype(np.int64)
        if kind.nameless:
            nobody = self.rng.random(len(stream)) < kind.nameless
            at_random = (self.rng.random(len(stream)) < q[stream]).astype(np.int64)
            arm, entity = np.where(nobody, at_random, arm), np.where(nobody, -1, entity)
        events = {}
        for place in kind.active:
            probability = self._probability(EVENTS[place])[stream, look, arm]
            events[place] = self.rng.random(len(stream)) < probability
            if EVENTS[place] in kind.only_nameless:
                events[place] &= entity < 0
            if EVENTS[place] in self._sick:
                events[place] |= (arm == CANARY) & (entity >= 0) & self._sick[EVENTS[place]][entity]
        found = Requests(stream, look, arm, entity, events)
        return self._with_bursts(found) if kind.bursts else found

    def _drawn(self, number: int) -> Integers:
        """Entities by their traffic: its distribution function over the ranks is (k/N)^(1 - tail)."""
        kind = self.kind
        u = self.rng.random(number)
        return (kind.entities * (u ** (1.0 / (1.0 - kind.tail)) if kind.tail else u)).astype(np.int64)

    def _with_bursts(self, drawn: Requests) -> Requests:
        """Each event of a kind with bursts is followed by others of the same entity, one request after the other. Those
        that the segment has no room for come at the beginning of the next one."""
        kind, size = self.kind, np.ones(len(drawn.stream), np.int64)
        for event, length in kind.bursts.items():
            place = EVENTS.index(event)
            size = np.where(drawn.events[place], np.maximum(size, length), size)
        source = np.repeat(np.arange(len(size)), size)
        number = np.arange(len(source)) - np.repeat(np.cumsum(size) - size, size)
        look = drawn.look[source] + (number * kind.gap if kind.gap else number // 10)
        bursting = {EVENTS.index(event) for event in kind.bursts}
        rows = {
            "stream": drawn.stream[source], "look": look, "arm": drawn.arm[source], "entity": drawn.entity[source],
            **{f"{k}": drawn.events[k][source] & ((number == 0) | (k in bursting)) for k in drawn.events},
        }  # fmt: skip
        if self._left:
            rows = {name: np.concatenate([self._left[name].astype(rows[name].dtype), rows[name]]) for name in rows}
        later = rows["look"] >= self.looks
        self._left = {name: row[later] for name, row in rows.items()}
        self._left["look"] = self._left["look"] - self.looks
        rows = {name: row[~later] for name, row in rows.items()}
        q = (self.weight / WHOLE).astype(np.float32)
        named = rows["entity"] >= 0
        arm = np.where(named, self._place[rows["entity"]] < q[rows["stream"]], rows["arm"]).astype(np.int64)
        order = np.lexsort((rows["look"], rows["stream"]))
        events = {k: rows[f"{k}"].astype(bool)[order] for k in drawn.events}
        return Requests(rows["stream"][order], rows["look"][order], arm[order], rows["entity"][order], events)

    # --- how it is counted ---------------------------------------------------------------------------------

    def _count(self, these: Requests) -> Counts:
        found = np.zeros((self.number, self.looks, 2, at.PLACES), np.int64)
        cell = (these.stream * self.looks + these.look) * 2 + these.arm
        look = (these.look + self._now).astype(np.int32)
        answered = these.answered

        def per_cell(where: Booleans | Integers) -> Integers:
            size = self.number * self.looks * 2
            return np.bincount(cell[where], minlength=size).reshape(self.number, self.looks, 2)

        everyone = np.ones(len(cell), dtype=bool)
        requests, answers = per_cell(everyone), per_cell(answered)
        found[..., at.REQUESTS], found[..., at.ANSWERED] = requests, answers
        for place, scope in ((at.ENTITIES, "asked"), (at.ENTITIES_ROLLOUT, "asked rollout")):
            found[..., place] = per_cell(self._firsts(self._first[scope, 0], these, everyone, look))
        for place, event in enumerate(EVENTS):
            happens = event in _OF_ANSWERS
            total = answers if happens else requests
            if place not in self.kind.active:
                for risk in (at.AT_RISK_STEP, at.AT_RISK_ROLLOUT, at.AT_RISK_WINDOW):
                    found[..., risk.start + place] = total
                continue
            happened = these.events[place] & answered if happens else these.events[place]
            found[..., at.TOTAL.start + place] = per_cell(happened)
            could = answered if happens else everyone
            for scope, first, risk in (
                ("step", at.STEP, at.AT_RISK_STEP),
                ("rollout", at.ROLLOUT, at.AT_RISK_ROLLOUT),
            ):
                table = self._first[scope, place]
                found[..., first.start + place] = per_cell(self._firsts(table, these, happened, look))
                had = could & (these.entity >= 0) & (table[these.entity] < look)
                found[..., risk.start + place] = total - per_cell(had)
            self._in_windows(found, place, these, happened, could, look, total, per_cell)
        return found

    def _firsts(self, table: npt.NDArray[np.int32], these: Requests, happened: Booleans, look: Looks) -> Integers:
        """Which requests with an event were the first of their entity in the scope of `table`, which learns them."""
        nobody = np.flatnonzero(happened & (these.entity < 0))
        named = np.flatnonzero(happened & (these.entity >= 0))
        named = named[table[these.entity[named]] == NEVER]
        entities, first = np.unique(these.entity[named], return_index=True)  # the first of each is the earliest
        table[entities] = look[named[first]]
        return np.concatenate([nobody, named[first]])

    def _in_windows(
        self,
        found: Counts,
        place: int,
        these: Requests,
        happened: Booleans,
        could: Booleans,
        look: Looks,
        total: Integers,
        per_cell: Callable[[Booleans | Integers], Integers],
    ) -> None:
        """As first events, in a window. A segment lies within one, so that the table begins anew with each."""
        table = self._first["window", place]
        if self._now % self.window == 0:
            table[:] = NEVER
        found[..., at.WINDOW.start + place] = per_cell(self._firsts(table, these, happened, look))
        had = could & (these.entity >= 0) & (table[these.entity] < look)
        found[..., at.AT_RISK_WINDOW.start + place] = total - per_cell(had)


def segments(kind: Kind) -> int:
    return math.ceil(kind.seconds / SEGMENT)
