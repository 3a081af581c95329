"""Parts of the panel, each as the module of `serinus.judge` of the same name, for many streams at once.

The first axis of every array is that of the streams.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from serinus.judge import bounded, breaker, levels, mixture, silences
from simulation import counts as at
from simulation.counts import Counts
from simulation.kinds import CANARY, CHAMPION, EVENTS

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
_A = len(mixture.MULTIPLIERS)


class Part:
    rows: ClassVar[tuple[str, ...]]
    """Names of the arrays that have a row for each stream."""

    def keep(self, streams: Integers) -> None:
        """Only these go on, and have new numbers."""
        for name in self.rows:
            setattr(self, name, getattr(self, name)[streams])


class Restarting(Part):
    """[stream, metric]"""

    rows = ("logs", "starts", "since")

    def __init__(self, shape: tuple[int, int]) -> None:
        self.logs = np.full((*shape, _A), math.log(0.5))
        self.starts = np.ones(shape, np.int64)
        self.since = np.zeros(shape, np.int64)

    def begin_step(self, streams: Integers) -> None:
        self.logs[streams] = math.log(0.5)
        self.starts[streams], self.since[streams] = 1, 0

    def add(self, streams: Integers, metric: int, gains: Floats, events: Integers) -> None:
        self.logs[streams, metric] += gains
        self.since[streams, metric] += events
        again = streams[self.since[streams, metric] >= mixture.BLOCK]
        if len(again):
            self.starts[again, metric] += 1
            starts = self.starts[again, metric]
            stake = -np.log(starts * (starts + 1.0))
            self.logs[again, metric] = np.logaddexp(self.logs[again, metric], stake[:, None])
            self.since[again, metric] = 0


class Bounded(Part):
    """[stream, metric]"""

    rows = ("carried", "window", "in_rollout", "in_step", "events", "most")

    def __init__(self, shape: tuple[int, int]) -> None:
        self.carried = np.zeros((*shape, _A))
        self.restarting = Restarting(shape)
        self.window = np.full(shape, -1, np.int64)
        self.in_rollout = np.zeros((*shape, _A))
        self.in_step = np.zeros((*shape, _A))
        self.events = np.zeros(shape, np.int64)
        self.most = np.zeros(shape)

    def keep(self, streams: Integers) -> None:
        super().keep(streams)
        self.restarting.keep(streams)

    def begin_look(self, streams: Integers, metric: int, elapsed: Floats, seconds: Floats, most: Floats) -> None:
        """Before the gains of a look are added, which took `seconds` until `elapsed`; `most`: the log by which a
        window may grow."""
        window = np.floor(elapsed / bounded.SECONDS).astype(np.int64)
        ends = (seconds > bounded.LOOK) | (window != self.window[streams, metric])
        self._close(streams[ends], metric, window[ends], most[ends])
        self.most[streams, metric] = most

    def end_look(self, streams: Integers, metric: int, elapsed: Floats, seconds: Floats, most: Floats) -> None:
        """After they were added."""
        seldom = seconds > bounded.LOOK
        if seldom.any():
            window = np.floor(elapsed[seldom] / bounded.SECONDS).astype(np.int64)
            self._close(
                streams[seldom],
                metric,
                window,
                most[seldom] * np.minimum(seconds[seldom] / bounded.LOOK, bounded.IN_A_LOOK),
            )

    def _close(self, streams: Integers, metric: int, window: Integers, most: Floats) -> None:
        if not len(streams):
            return
        here = (streams, metric)
        self.carried[here] += np.minimum(self.in_rollout[here], most[:, None])
        self.restarting.add(streams, metric, np.minimum(self.in_step[here], most[:, None]), self.events[here])
        self.in_rollout[here], self.in_step[here], self.events[here] = 0.0, 0.0, 0
        self.window[here] = window

    def whole(self, streams: Integers, metrics: Integers) -> tuple[Floats, Floats]:
        here = (streams, metrics)
        most = self.most[here][:, None]
        carried = self.carried[here] + np.minimum(self.in_rollout[here], most)
        return carried, self.restarting.logs[here] + np.minimum(self.in_step[here], most)

    def begin_step(self, streams: Integers) -> None:
        most = self.most[streams][..., None]
        self.carried[streams] += np.minimum(self.in_rollout[streams], most)
        self.restarting.begin_step(streams)
        self.window[streams] = -1
        self.in_rollout[streams] = self.in_step[streams] = 0.0
        self.events[streams] = 0


def _windows_of(seconds: Floats) -> Floats:
    return np.maximum(np.minimum(seconds / bounded.LOOK, bounded.IN_A_LOOK), (seconds - bounded.LONG) / bounded.LOOK)


def _exceeds(seen: Floats, expected: Floats) -> Booleans:
    allowed = levels.TIMES * expected
    return np.asarray(seen > allowed + 3.0 * np.sqrt(allowed) + 2.0)


class Levels(Part):
    """[stream, column]: of slow answers and of alerts, each of the champion and of the canary."""

    rows = ("known", "departs")

    _EVENTS = (EVENTS.index("slow"), EVENTS.index("alerts"))
    _LEVEL, _OPEN, _HIGH = slice(0, 3), slice(3, 6), slice(6, 9)
    """Events, trials, seconds."""

    def __init__(self, number: int) -> None:
        self.known = np.zeros((number, 4, 9))
        self.departs = np.zeros((number, 4), dtype=bool)

    def of(self, event: int, arm: int) -> int:
        return 2 * self._EVENTS.index(event) + arm

    def add(self, streams: Integers, new: Counts, seconds: Floats) -> Booleans:
        """Adds a look to `streams`; which of their levels sank."""
        known = self.known[streams]
        for column, (event, arm) in enumerate((event, arm) for event in self._EVENTS for arm in (CHAMPION, CANARY)):
            trials = at.ANSWERED if EVENTS[event] == "alerts" else at.REQUESTS
            known[:, column, 3] += new[:, arm, at.TOTAL.start + event]
            known[:, column, 4] += new[:, arm, trials]
        known[..., 5] += seconds[:, None]
        has = known[..., 1] > 0
        expected = np.where(has, (known[..., 0] + 1.0) * known[..., 4] / np.maximum(known[..., 1], 1.0), 0.0)
        above = has & _exceeds(known[..., 3], expected)
        enough = (known[..., 3] >= levels.ENOUGH) | (expected >= levels.ENOUGH) | (known[..., 5] >= levels.MOST)
        ends = (known[..., 5] >= levels.LEAST) & enough
        departs = (known[..., 8] > 0.0) | above
        sank = np.zeros_like(ends)
        if ends.any():
            closed, sank[ends] = self._closed(known[ends], above[ends])
            known[ends] = closed
            departs[ends] = closed[:, 8] > 0.0
        self.known[streams], self.departs[streams] = known, departs
        return sank

    def _closed(self, known: Floats, above: Booleans) -> tuple[Floats, Booleans]:
        """Windows that end: what is known after them, and which have sunk below their level."""
        level, present = known[:, self._LEVEL], known[:, self._OPEN]
        has = level[:, 1] > 0
        scale = present[:, 1] / np.maximum(level[:, 1], 1.0)
        sank = has & ~above & _exceeds(level[:, 0] * scale, present[:, 0] + 1.0)
        high = known[:, self._HIGH] + present
        standing = above & (high[:, 2] > levels.STANDING)
        half = np.where(level[:, 2] > levels.REMEMBERED, 0.5, 1.0)[:, None]
        after = np.zeros_like(known)
        after[:, self._LEVEL] = np.where(above[:, None], level, half * level + present)
        for where, found in ((sank | ~has, present), (standing, high)):
            after[where, self._LEVEL] = found[where]
        stays = above & ~standing
        after[stays, self._HIGH] = high[stays]
        return after, sank

    def begin_step(self, streams: Integers) -> None:
        self.known[streams, :, 3:] = 0.0
        self.departs[streams] = False


class Silences(Part):
    """[stream, arm]"""

    rows = ("requests", "since", "others", "silent", "longest", "entities", "ended")

    def __init__(self, number: int) -> None:
        self.requests = np.zeros((number, 2), np.int64)
        self.since = np.zeros((number, 2))
        self.others = np.zeros((number, 2), np.int64)
        self.silent = np.zeros((number, 2))
        self.longest = np.zeros(number)
        self.entities = np.zeros((number, 2), np.int64)
        self.ended = np.zeros(number)

    def add(self, told: Booleans, requests: Integers, entities: Integers, elapsed: Floats, q: Floats) -> None:
        share = np.stack([1.0 - q, q], axis=1)
        was = self.silent.copy()
        for arm in (0, 1):
            other = requests[:, 1 - arm]
            heard = told & (requests[:, arm] > self.requests[:, arm])
            ends = heard & (was[:, arm] > silences.LONGER * self.ended)
            if ends.any():
                self.entities[ends], self.ended[ends] = entities[ends], was[ends, arm]
            expected = (other - self.others[:, arm]) * share[:, arm] >= silences.EXPECTED * share[:, 1 - arm]
            silent = told & ~heard & expected
            if silent.any():
                seconds = np.minimum(elapsed[silent] - self.since[silent, arm], silences.LONGEST)
                self.silent[silent, arm] = seconds
                self.longest[silent] = np.maximum(self.longest[silent], seconds)
            self.silent[heard, arm] = 0.0
            self.since[heard, arm] = elapsed[heard]
            self.others[heard, arm] = other[heard]
        self.requests[told] = requests[told]

    def begin_step(self, streams: Integers) -> None:
        for name in self.rows:
            getattr(self, name)[streams] = 0


class Breaker(Part):
    """[stream]"""

    rows = ("closed", "closed_at", "bad_seconds", "bad_requests", "tripped")

    def __init__(self, number: int) -> None:
        self.closed = np.zeros((number, 4), np.int64)
        """Asked and answered, of the canary and of the champion, at the last window that was closed."""
        self.closed_at = np.zeros(number)
        self.bad_seconds = np.zeros(number)
        self.bad_requests = np.zeros(number, np.int64)
        self.tripped = np.zeros(number, dtype=bool)

    def add(self, now: Counts, elapsed: Floats, active: Booleans, silence: Floats) -> None:
        these = np.flatnonzero(active & ~self.tripped & (elapsed - self.closed_at >= breaker.SECONDS))
        if not len(these):
            return
        arms = now[these]
        present = arms[:, (CANARY, CANARY, CHAMPION, CHAMPION), (at.REQUESTS, at.ANSWERED) * 2]
        new, seconds = present - self.closed[these], elapsed[these] - self.closed_at[these]
        closes = (new[:, 0] >= breaker.LEAST_REQUESTS) & (new[:, 2] >= breaker.LEAST_REQUESTS)
        bad = (new[:, 1] < breaker.CANARY_ANSWERS * new[:, 0]) & (new[:, 3] > breaker.CHAMPION_ANSWERS * new[:, 2])
        bad_seconds = np.where(bad, self.bad_seconds[these] + np.minimum(seconds, breaker.LONGEST), 0.0)
        bad_requests = np.where(bad, self.bad_requests[these] + new[:, 0], 0)
        enough = bad_seconds >= breaker.WINDOWS * breaker.SECONDS + silence[these]
        trips = closes & enough & (bad_requests >= breaker.LEAST_IN_ALL)
        chosen = these[closes]
        self.closed[chosen], self.closed_at[chosen] = present[closes], elapsed[chosen]
        self.bad_seconds[chosen], self.bad_requests[chosen] = bad_seconds[closes], bad_requests[closes]
        self.tripped[these[trips]] = True

    def begin_step(self, streams: Integers) -> None:
        self.closed[streams], self.closed_at[streams] = 0, 0.0
