"""What is known of every entity of every stream, as bits of one number, so that a request looks it up once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from serinus.core.routing import WHOLE
from simulation.kinds import Kind

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

ASKED, ASKED_IN_ROLLOUT, NOW = np.uint32(1), np.uint32(2), np.uint32(4)
"""Whether it has had a request in the step and in the rollout, and whether it has an event in the present segment."""
STEP, ROLLOUT, WINDOW = 0, 1, 2
"""Scopes in which an entity has had an event."""
_SCOPES, _EVENTS = 3, 8


def had(scope: int, event: int) -> np.uint32:
    return np.uint32(1 << (_SCOPES + _EVENTS * scope + event))


_ALL = {scope: np.uint32(sum(int(had(scope, event)) for event in range(_EVENTS))) for scope in (STEP, ROLLOUT, WINDOW)}
HAD = _ALL[STEP] | _ALL[ROLLOUT] | _ALL[WINDOW]


class Entities:
    """Of `number` streams, one stream after the other."""

    def __init__(self, kind: Kind, number: int, rng: np.random.Generator) -> None:
        self.kind = kind
        shape = (number, kind.entities)
        self._place = rng.random(shape, dtype=np.float32)
        """By which an entity goes to an arm: the canary's below its weight."""
        self.canary = np.zeros(shape, dtype=bool)
        self.bits = np.zeros(shape, np.uint32)
        self.sick = {event: self._drawn_sick(share, rng) for event, share in kind.sick.items()}
        self._new: list[tuple[Integers, np.uint32, Integers]] = []
        """Entities, bit and looks: what the rollout has learnt in the present segment."""

    def _drawn_sick(self, share: float, rng: np.random.Generator) -> Booleans:
        """Of each stream so many of the canary's entities, in a random order, that they have this share of its
        traffic in the first step."""
        kind = self.kind
        ends = np.linspace(0.0, 1.0, kind.entities + 1) ** (1.0 - kind.tail)
        of_canary = self._place < kind.steps[0].weight / WHOLE
        traffic = np.where(of_canary, np.diff(ends), 0.0)
        order = rng.permuted(np.tile(np.arange(kind.entities), (len(traffic), 1)), axis=1)
        drawn = np.take_along_axis(traffic, order, axis=1)
        so_far = np.cumsum(drawn, axis=1) - drawn
        sick = np.zeros_like(of_canary)
        np.put_along_axis(sick, order, so_far < share * traffic.sum(axis=1, keepdims=True), axis=1)
        return sick

    def begin_segment(self, window: bool) -> None:
        """`window`: whether a window begins as well."""
        self._new.clear()
        if window:
            self.bits &= ~_ALL[WINDOW]

    def learn(self, begin: int, entities: Integers, bit: np.uint32, looks: Integers, in_rollout: bool) -> None:
        """Of `entities`, counted from those of the stream `begin` on, at `looks` of the segment."""
        entities = entities + begin * self.kind.entities
        self.bits.reshape(-1)[entities] |= bit
        if in_rollout and len(self.kind.steps) > 1:
            self._new.append((entities.astype(np.int32), bit, looks.astype(np.int16)))

    def begin_step(self, streams: Integers, q: npt.NDArray[np.float32], last_look: Integers) -> None:
        """`last_look`: the last of the segment that the step before has counted."""
        last = np.full(len(self.bits), np.iinfo(np.int64).max)
        last[streams] = last_look
        flat = self.bits.reshape(-1)
        for entities, bit, looks in self._new:
            flat[entities[looks > last[entities // self.kind.entities]]] &= ~bit
        self.bits[streams] &= ASKED_IN_ROLLOUT | _ALL[ROLLOUT]
        self.canary[streams] = self._place[streams] < q[:, None]

    def keep(self, streams: Integers) -> None:
        self._place, self.canary, self.bits = self._place[streams], self.canary[streams], self.bits[streams]
        self.sick = {event: sick[streams] for event, sick in self.sick.items()}
        self._new.clear()
