"""The recheck: whether the faster ways to predict have given the answers of the model itself.

It is not a gate, because it examines releases that have traffic.
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
"""The ways to predict that replace the model's own `predict`, as `Placement.way` names them."""
# By datatype of the output, 0 for any other. Absolute or relative to the model's own score, whichever is smaller.
_GRAPH_TOLERANCE = {"FP64": 1e-6, "FP32": 1e-6, "FP16": 1e-3}
_SAME_CODE_TOLERANCE = {"FP64": 1e-9, "FP32": 1e-6, "FP16": 1e-3}
"""The tolerance for ways that run the same code with another memory layout or batch, where the last digits may differ.
Actual faults are far larger."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """The difference between two answers to one request. `flipped` is the number of rows that are decided
    differently."""

    rows: int
    flipped: int
    largest: float
    """Absolute or relative to the model's own score, whichever is smaller. Infinite where only one side has a
    number."""


class Verdict(StrEnum):
    """The cause of a deviation."""

    SHORTCUT = "shortcut"
    """The faster way gives wrong answers."""
    NONDETERMINISTIC = "nondeterministic"
    """The model itself gives different answers to the same request, so that nothing follows."""
    UNREPEATED = "unrepeated"
    """The release does not repeat the deviation, and the record may be incomplete."""


def deviation(way: str, served: Scores, own: OwnAnswer | None, threshold: float | None) -> Deviation | None:
    """Returns by how much an answer deviates from the model's own. None: they agree.

    `own` None: the model did not answer, although the faster way did. A row deviates where it differs by more than the
    tolerance of its way and datatype, or falls on the other side of `threshold`.
    """
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
    """Returns the cause of a deviation from `own`.

    `again` is the answer of a second process. `repeated` says whether the release still deviates when it is asked again
    without the router. None: it cannot be asked. A graph depends on its inputs alone, so a complete record needs no
    repetition, and the answer may come from a cache or a worker that is gone. Python code may depend on the time.
    """
    if (own is None) is not (again is None) or (own and again and deviation(way, own.scores, again, threshold)):
        return Verdict.NONDETERMINISTIC
    if repeated or (whole(request) and (way == GRAPH or repeated is None)):
        return Verdict.SHORTCUT
    return Verdict.UNREPEATED


def whole(request: AnsweredRequest) -> bool:
    """Whether the record holds exactly what was sent. null may stand for a number that is not finite, and U+FFFD for a
    byte that is not text."""
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
