"""Makes requests of many streams at once and counts them as `serinus.predictions` does, a look at a time.

A stream's clock is in looks. What one look has counted is one stretch of the log: who was at risk in it is told by the
events of the looks before it. `tests/predictions/test_simulated_counts.py` holds this against the real counting.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from serinus.core.evidence import WINDOW_SECONDS
from serinus.core.routing import WHOLE
from simulation import counts as at
from simulation.counts import Counts
from simulation.entities import Entities
from simulation.kinds import BOTH, CANARY, EVENTS, Kind
from simulation.requests import FAILURES, OF_ANSWERS, Counting, Requests

SEGMENT = 20.0
"""Seconds that are made at once; a part of the window after which an entity's events are counted again."""
_AT_A_TIME = 150_000
"""Requests that are made at once: about as many as the processor's cache holds."""
_GRAIN = 2.0**24
"""Values that a random number of single precision has."""
_REST = np.dtype(
    [("stream", np.int64), ("look", np.int64), ("arm", np.int8), ("entity", np.int64), ("events", np.uint8)]
)
"""Requests of bursts that come later than those that were drawn. Streams within all, entities within their stream (-1:
none), events as bits."""

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Streams:
    """`number` streams of a kind, each with its own draws."""

    def __init__(self, kind: Kind, number: int, seed: int) -> None:
        self.kind, self.number = kind, number
        self.rng = np.random.default_rng([seed, len(kind.name), *kind.name.encode()])
        self.looks = round(SEGMENT / kind.look)
        self.window = round(WINDOW_SECONDS / kind.look)
        self.segment = 0
        self.q = np.zeros(number, np.float32)
        """Share of the traffic that the canary has."""
        self.step_began = np.zeros(number, np.int64)
        """Look at which each stream's step has begun."""
        self._starts = [self.rng.uniform(*one.start, (number, 1)) for one in kind.incidents]
        self._rest = np.zeros(0, _REST)
        self._at_a_time = max(1, min(number, int(_AT_A_TIME / (kind.rate * SEGMENT))))
        self.entities = Entities(kind, number, self.rng) if kind.entities else None
        self._counting = None
        if self.entities is not None:
            self._counting = Counting(self.entities, self._at_a_time, self.looks)

    def begin_step(self, streams: Integers, weights: Integers, last_look: Integers, began: int) -> None:
        """`streams` begin a step with the look `began`, the first of the next segment; `last_look`: the last that the
        step before has counted."""
        self.q[streams] = weights / WHOLE
        self.step_began[streams] = began
        if self.entities is not None:
            self.entities.begin_step(streams, self.q[streams], last_look - self._now)

    def keep(self, streams: Integers) -> None:
        """Only these go on, and have new numbers."""
        place = np.full(self.number, -1)
        place[streams] = np.arange(len(streams))
        self.number = len(streams)
        self.q, self.step_began = self.q[streams], self.step_began[streams]
        self._starts = [start[streams] for start in self._starts]
        self._rest = self._rest[place[self._rest["stream"]] >= 0]
        self._rest["stream"] = place[self._rest["stream"]]
        if self.entities is not None:
            self.entities.keep(streams)

    def next(self) -> Counts:
        """What each look of the next segment adds: [look, stream, arm, place]."""
        self._begin_segment()
        if self._counting is None:
            return self._independent()
        found = np.zeros((self.looks, self.number, 2, at.PLACES), np.int64)
        for begin in range(0, self.number, self._at_a_time):
            these = self.requests(begin, min(self._at_a_time, self.number - begin))
            found[:, begin : begin + these.streams] = np.moveaxis(self._counting.count(these, begin), 1, 0)
        return found

    def _begin_segment(self) -> None:
        self.segment += 1
        self._arrivals = self.rng.poisson(self._mean(), (self.number, self.looks))
        self._probability = {place: self._probability_of(EVENTS[place]) for place in self.kind.active}
        self._last_rest, self._rest = self._rest, np.zeros(0, _REST)
        if self.entities is not None:
            self.entities.begin_segment(window=self._now % self.window == 0)

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

    def _mean(self) -> Floats:
        """Requests of each look."""
        return self.kind.rate * self.kind.look * self._curve()

    def _probability_of(self, event: str) -> Floats:
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

    def _independent(self) -> Counts:
        """Requests of nobody: every event is a first one, and everybody is at risk."""
        shape = (self.number, self.looks)
        canary = self.rng.binomial(self._arrivals, self.q[:, None].astype(np.float64))
        requests = np.stack([self._arrivals - canary, canary], axis=2)
        found = np.zeros((*shape, 2, at.PLACES), np.int64)
        for places in (at.REQUESTS, at.ENTITIES, at.ENTITIES_ROLLOUT):
            found[..., places] = requests
        events, answered = {}, requests
        for place in FAILURES:
            if place in self._probability:
                events[place] = self.rng.binomial(requests, self._probability[place])
                answered = np.maximum(answered - events[place], 0)
        found[..., at.ANSWERED] = answered
        for place, event in enumerate(EVENTS):
            trials = answered if event in OF_ANSWERS else requests
            if place in self._probability and place not in FAILURES:
                events[place] = self.rng.binomial(trials, self._probability[place])
            for risk in (at.AT_RISK_STEP, at.AT_RISK_ROLLOUT, at.AT_RISK_WINDOW):
                found[..., risk.start + place] = trials
            for first in (at.TOTAL, at.STEP, at.ROLLOUT, at.WINDOW):
                found[..., first.start + place] = events.get(place, 0)
        return np.ascontiguousarray(np.moveaxis(found, 1, 0))

    # --- whose requests ------------------------------------------------------------------------------------

    def requests(self, begin: int, number: int) -> Requests:
        """The present segment's, of the streams from `begin` on."""
        kind, entities = self.kind, self.entities
        assert entities is not None
        arrivals = self._arrivals[begin : begin + number]
        cell = np.repeat(np.arange(number * self.looks) * 2, arrivals.ravel())
        entity = np.repeat(np.arange(number) * kind.entities, arrivals.sum(axis=1)) + self._drawn(len(cell))
        cell += entities.canary[begin : begin + number].reshape(-1)[entity]
        if kind.nameless:
            nobody = np.flatnonzero(self.rng.random(len(cell), np.float32) < kind.nameless)
            stream = cell[nobody] // (2 * self.looks)
            at_random = self.rng.random(len(nobody)) < self.q[begin + stream]
            cell[nobody] = cell[nobody] // 2 * 2 + at_random
            entity[nobody] = -1
        found = Requests(number, self.looks, cell, entity, {}, all_named=not kind.nameless)
        found.events = {place: self._happens(place, found, begin) for place in kind.active}
        return self._with_bursts(found, begin) if kind.bursts else found

    def _drawn(self, number: int) -> Integers:
        """Entities by their traffic: its distribution function over the ranks is (k/N)^(1 - tail)."""
        kind = self.kind
        u = self.rng.random(number)
        return (kind.entities * (u ** (1.0 / (1.0 - kind.tail)) if kind.tail else u)).astype(np.int64)

    def _happens(self, place: int, these: Requests, begin: int) -> Integers:
        """Which requests have the event: of those that would at the largest probability, so many as have theirs."""
        probability = self._probability[place][begin : begin + these.streams].ravel()
        most = math.ceil(probability.max() * _GRAIN) / _GRAIN
        drawn = np.flatnonzero(self.rng.random(len(these.cell), np.float32) < np.float32(most))
        rows = drawn[self.rng.random(len(drawn)) * most < probability[these.cell[drawn]]]
        if EVENTS[place] in self.kind.only_nameless:
            rows = these.nameless(rows)
        if self.entities is not None and EVENTS[place] in self.entities.sick:
            sick = self.entities.sick[EVENTS[place]][begin : begin + these.streams].reshape(-1)
            ill = (these.cell % 2 == CANARY) & (these.entity >= 0) & sick[these.entity]
            rows = np.union1d(rows, np.flatnonzero(ill))
        return np.asarray(rows)

    def _with_bursts(self, these: Requests, begin: int) -> Requests:
        """Each event of a kind with bursts is followed by others of the same entity, one request after the other. Those
        that the segment has no room for come at the beginning of the next one."""
        kind, entities = self.kind, self.entities
        assert entities is not None
        size, bits = np.ones(len(these.cell), np.int64), np.zeros(len(these.cell), np.uint8)
        for event, length in kind.bursts.items():
            place = EVENTS.index(event)
            rows = these.events[place]
            size[rows] = np.maximum(size[rows], length)
            bits[rows] |= np.uint8(1 << place)
        first = np.flatnonzero(size > 1)
        further = size[first] - 1
        source = np.repeat(first, further)
        number = 1 + np.arange(len(source)) - np.repeat(np.cumsum(further) - further, further)
        new = np.zeros(len(source), _REST)
        stream = these.cell[source] // (2 * self.looks)
        new["stream"], new["arm"], new["events"] = stream + begin, these.cell[source] % 2, bits[source]
        new["look"] = these.look(source) + (number * kind.gap if kind.gap else number // 10)
        new["entity"] = np.where(these.entity[source] < 0, -1, these.entity[source] - stream * kind.entities)
        left = self._last_rest
        left = left[(left["stream"] >= begin) & (left["stream"] < begin + these.streams)]
        rest = np.concatenate([left, new])
        later = rest["look"] >= self.looks
        self._rest = np.concatenate([self._rest, rest[later]])
        self._rest["look"][len(self._rest) - int(later.sum()) :] -= self.looks
        rest = rest[~later]
        stream = rest["stream"] - begin
        entity = np.where(rest["entity"] < 0, -1, rest["entity"] + stream * kind.entities)
        canary = entities.canary[begin : begin + these.streams].reshape(-1)
        arm = np.where(entity < 0, rest["arm"], canary[entity])
        cell = np.concatenate([these.cell, (stream * self.looks + rest["look"]) * 2 + arm])
        before = len(these.cell)
        events = {
            place: np.concatenate([rows, before + np.flatnonzero(rest["events"] & (1 << place))])
            for place, rows in these.events.items()
        }
        whole = np.concatenate([these.entity, entity])
        return Requests(these.streams, self.looks, cell, whole, events, in_order=False, all_named=these.all_named)


def segments(kind: Kind) -> int:
    return math.ceil(kind.seconds / SEGMENT)
