"""Parts of the panel, each as the module of `serinus.judge` of the same name, for many streams at once."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from serinus.judge import bounded, levels, mixture, silences

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
_A = len(mixture.MULTIPLIERS)


class Restarting:
    """[stream, metric]"""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.logs = np.full((*shape, _A), math.log(0.5))
        self.starts = np.ones(shape, np.int64)
        self.since = np.zeros(shape, np.int64)

    def begin_step(self, streams: Integers) -> None:
        self.logs[streams] = math.log(0.5)
        self.starts[streams], self.since[streams] = 1, 0

    def add(self, gains: Floats, events: Integers) -> None:
        self.logs += gains
        self.since += events
        again = self.since >= mixture.BLOCK
        self.starts += again
        stake = -np.log(self.starts * (self.starts + 1.0))
        self.logs = np.where(again[..., None], np.logaddexp(self.logs, stake[..., None]), self.logs)
        self.since[again] = 0


class Bounded:
    """[stream, metric]"""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.carried = np.zeros((*shape, _A))
        self.restarting = Restarting(shape)
        self.window = np.full(shape, -1, np.int64)
        self.in_rollout = np.zeros((*shape, _A))
        self.in_step = np.zeros((*shape, _A))
        self.events = np.zeros(shape, np.int64)
        self.most = np.zeros(shape)

    def add(
        self,
        told: Booleans,
        in_rollout: Floats,
        in_step: Floats,
        events: Integers,
        times: tuple[Floats, Floats],
        most: Floats,
    ) -> None:
        """`told`: where there is a look; `times`: seconds since the step began, and those that the look took."""
        elapsed, seconds = (np.broadcast_to(one[:, None], told.shape) for one in times)
        most = np.broadcast_to(most[:, None], told.shape)
        window = np.floor(elapsed / bounded.SECONDS).astype(np.int64)
        seldom = told & (seconds > bounded.LOOK)
        self._close(told & (seldom | (window != self.window)), window, most)
        self.in_rollout += np.where(told[..., None], in_rollout, 0.0)
        self.in_step += np.where(told[..., None], in_step, 0.0)
        self.events += np.where(told, events, 0)
        self.most = np.where(told, most, self.most)
        self._close(seldom, window, most * seconds / bounded.LOOK)

    def _close(self, where: Booleans, window: Integers, most: Floats) -> None:
        here = where[..., None]
        self.carried += np.where(here, np.minimum(self.in_rollout, most[..., None]), 0.0)
        gains = np.where(here, np.minimum(self.in_step, most[..., None]), 0.0)
        self.restarting.add(gains, np.where(where, self.events, 0))
        self.in_rollout[where], self.in_step[where], self.events[where] = 0.0, 0.0, 0
        self.window = np.where(where, window, self.window)

    def whole(self) -> tuple[Floats, Floats]:
        most = self.most[..., None]
        return self.carried + np.minimum(self.in_rollout, most), self.restarting.logs + np.minimum(self.in_step, most)

    def begin_step(self, streams: Integers) -> None:
        most = self.most[streams][..., None]
        self.carried[streams] += np.minimum(self.in_rollout[streams], most)
        self.restarting.begin_step(streams)
        self.window[streams] = -1
        self.in_rollout[streams] = self.in_step[streams] = 0.0
        self.events[streams] = 0


def _exceeds(seen: Floats, expected: Floats) -> Booleans:
    allowed = levels.TIMES * expected
    return np.asarray(seen > allowed + 3.0 * np.sqrt(allowed) + 2.0)


class Levels:
    """[stream, metric, arm]; of what has none, nothing is asked."""

    _LEVEL, _OPEN, _HIGH = slice(0, 3), slice(3, 6), slice(6, 9)
    """Events, trials, seconds."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.known = np.zeros((*shape, 9))
        self.sank = np.zeros(shape, dtype=bool)

    @property
    def departs(self) -> Booleans:
        return np.asarray((self.known[..., 8] > 0.0) | self._above())

    def _above(self) -> Booleans:
        trials = self.known[..., 1]
        expected = (self.known[..., 0] + 1.0) / np.maximum(trials, 1.0) * self.known[..., 4]
        return np.asarray((trials > 0) & _exceeds(self.known[..., 3], expected))

    def add(self, told: Booleans, events: Integers, trials: Integers, seconds: Floats) -> None:
        new = np.stack([events, trials, np.broadcast_to(seconds, events.shape)], axis=-1)
        self.known[..., self._OPEN] += np.where(told[..., None], new, 0.0)
        self.sank &= ~told
        known = self.known[..., 1] > 0
        scale = self.known[..., 4] / np.maximum(self.known[..., 1], 1.0)
        expected = np.where(known, (self.known[..., 0] + 1.0) * scale, 0.0)
        open_events, open_seconds = self.known[..., 3], self.known[..., 5]
        enough = (open_events >= levels.ENOUGH) | (expected >= levels.ENOUGH) | (open_seconds >= levels.MOST)
        ends = told & (open_seconds >= levels.LEAST) & enough
        above = ends & known & _exceeds(open_events, expected)
        sinks = ends & known & ~above & _exceeds(self.known[..., 0] * scale, open_events + 1.0)
        present, level = self.known[..., self._OPEN].copy(), self.known[..., self._LEVEL].copy()
        high = self.known[..., self._HIGH] + present
        standing = above & (high[..., 2] > levels.STANDING)
        half = np.where(level[..., 2] > levels.REMEMBERED, 0.5, 1.0)[..., None]
        for where, found in (
            (ends & ~above, half * level + present),
            (sinks | (ends & ~known), present),
            (standing, high),
        ):
            self.known[..., self._LEVEL] = np.where(where[..., None], found, self.known[..., self._LEVEL])
        self.known[..., self._HIGH] = np.where((above & ~standing)[..., None], high, self.known[..., self._HIGH])
        self.known[ends & (~above | standing), self._HIGH] = 0.0
        self.known[ends, self._OPEN] = 0.0
        self.sank |= sinks

    def begin_step(self, streams: Integers) -> None:
        self.known[streams, ..., 3:] = 0.0
        self.sank[streams] = False


class Silences:
    """[stream, arm]"""

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
            self.entities = np.where(ends[:, None], entities, self.entities)
            self.ended = np.where(ends, was[:, arm], self.ended)
            expected = (other - self.others[:, arm]) * share[:, arm] >= silences.EXPECTED * share[:, 1 - arm]
            silent = told & ~heard & expected
            seconds = np.minimum(elapsed - self.since[:, arm], silences.LONGEST)
            self.silent[:, arm] = np.where(heard, 0.0, np.where(silent, seconds, self.silent[:, arm]))
            self.longest = np.where(silent, np.maximum(self.longest, seconds), self.longest)
            self.since[:, arm] = np.where(heard, elapsed, self.since[:, arm])
            self.others[:, arm] = np.where(heard, other, self.others[:, arm])
        self.requests = np.where(told[:, None], requests, self.requests)

    def begin_step(self, streams: Integers) -> None:
        for table in (self.requests, self.since, self.others, self.silent, self.longest, self.entities, self.ended):
            table[streams] = 0
