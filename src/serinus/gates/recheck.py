"""Recheck: whether what a shorter way has answered is what the model itself answers.

Not a gate before traffic, but the same question of what has traffic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from serinus.core.predictions import AnsweredRequest, OwnAnswer
from serinus.gates.evidence import Scores

GRAPH = "onnx"
SHORT_WAYS = frozenset({GRAPH, "matrix", "direct"})
"""Ways to predict that stand for the model's own predict, as `Placement.way` names them."""
# By datatype of the output; 0 for any other. Absolute or relative to the model's own score, whichever is smaller.
_GRAPH_TOLERANCE = {"FP64": 1e-6, "FP32": 1e-6, "FP16": 1e-3}
_SAME_CODE_TOLERANCE = {"FP64": 1e-9, "FP32": 1e-6, "FP16": 1e-3}
"""Of ways that run the same code on another layout of memory and, in batches, beside other rows: last digits may
differ. What a shortcut gets wrong is larger by far."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """By how much the answers to one request differ. `flipped`: rows that are decided otherwise."""

    rows: int
    flipped: int
    largest: float
    """Absolute or relative to the model's own, whichever is smaller; infinite where only one side has a number."""


class Verdict(StrEnum):
    SHORTCUT = "shortcut"
    """The shorter way answers wrong."""
    NONDETERMINISTIC = "nondeterministic"
    """The model itself answers the same request in different ways, so that nothing follows."""
    UNREPEATED = "unrepeated"
    """The release does not do it again, and the record may not hold all that it was asked."""


def deviation(way: str, served: Scores, own: OwnAnswer | None, threshold: float | None) -> Deviation | None:
    """None: they agree. `own` None: the model does not answer, where the shorter way did. A row differs beyond the
    tolerance of its way and datatype, or, however little, where it falls on the other side of `threshold`."""
    if own is None:
        return Deviation(len(served), 0, math.inf)
    tolerance = (_GRAPH_TOLERANCE if way == GRAPH else _SAME_CODE_TOLERANCE).get(own.datatype, 0.0)
    pairs = list(zip(served, own.scores, strict=True))
    distances = [_distance(was, should) for was, should in pairs]
    flipped = [_alerts(was, threshold) != _alerts(should, threshold) for was, should in pairs]
    differing = [i for i, distance in enumerate(distances) if flipped[i] or not distance <= tolerance]
    if not differing:
        return None
    return Deviation(len(differing), sum(flipped), max(distances[i] for i in differing))


def conclude(
    way: str,
    request: AnsweredRequest,
    own: OwnAnswer | None,
    again: OwnAnswer | None,
    repeated: bool | None,
    threshold: float | None,
) -> Verdict:
    """Of an answer that deviates from `own`. `again`: of a second process. `repeated`: whether the release, asked
    once more past the router, still deviates; None: it cannot be asked.

    A graph has nothing but its inputs to go by: what it has answered to a request that the record holds whole needs
    no repetition, and may come from a cache or from a worker that is gone. Python code may look at the clock.
    """
    if (own is None) is not (again is None) or (own and again and deviation(way, own.scores, again, threshold)):
        return Verdict.NONDETERMINISTIC
    if repeated or (whole(request) and (way == GRAPH or repeated is None)):
        return Verdict.SHORTCUT
    return Verdict.UNREPEATED


def whole(request: AnsweredRequest) -> bool:
    """Whether the record holds exactly what was asked: null may have been a number that is not finite, and U+FFFD a
    byte that is no text."""
    return all(map(_is_whole, request.rows))


def _is_whole(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_whole, value))
    return value is not None and not (isinstance(value, str) and "\ufffd" in value)


def _alerts(score: float | None, threshold: float | None) -> bool:
    return threshold is not None and score is not None and score >= threshold


def _distance(one: float | None, other: float | None) -> float:
    if one is None or other is None:
        return 0.0 if one is other else math.inf
    if one == other:
        return 0.0
    distance = abs(one - other) / max(1.0, abs(other))
    return distance if math.isfinite(distance) else math.inf
