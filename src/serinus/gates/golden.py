"""The gate `golden`: the served scores equal the recorded ones, or those of the model's own `predict`, row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence

from serinus.core.examination import GateResult
from serinus.gates.evidence import GoldenEvidence, Scores
from serinus.gates.results import SHOWN, failed, passed, undecided

TOLERANCE = 1e-6
"""The tolerance of a score, absolute or relative, whichever is larger. Rounding to single precision stays within it,
and a changed feature exceeds it."""


def golden(evidence: GoldenEvidence) -> GateResult:
    """Fails where a score differs or falls on the other side of the alert threshold. Rows are named by index only."""
    if evidence.unavailable:
        return undecided("golden", f"The training path gave no scores: {evidence.error}", blocking=True)
    what = "golden rows" if evidence.recorded else "rows"
    if evidence.error:
        return failed("golden", f"The {what} were not answered: {evidence.error}")
    if not evidence.reference:
        return undecided("golden", "There are no golden rows.", blocking=False)
    rows = len(evidence.reference)
    if len(evidence.served) != rows:
        return failed("golden", f"The release gave {len(evidence.served)} scores for {rows} {what}.", rows=rows)
    differ = [i for i, (was, now) in enumerate(_pairs(evidence)) if not same(was, now)]
    flipped = _flipped(evidence)
    details = {
        "rows": rows,
        "differ": differ[:SHOWN],
        "differing": len(differ),
        "flipped": flipped[:SHOWN],
        "max_difference": max_difference(evidence.reference, evidence.served),
        "without_score": sum(score is None for score in evidence.reference),
    }
    if differ or flipped:
        other = "than at training time" if evidence.recorded else "than the model's own predict gives them"
        text = f"{len(differ)} of {rows} {what} {'gets' if len(differ) == 1 else 'get'} a different score {other}"
        text += f", {len(flipped)} a different decision (largest difference {details['max_difference']:.3g})."
        return failed("golden", text, **details)
    alike = "as at training time" if evidence.recorded else "the score that the model's own predict gives them"
    return passed("golden", f"{rows} {what} are served {alike}.", **details)


def same(one: float | None, other: float | None) -> bool:
    """Whether two scores are equal within the tolerance. Two missing scores are equal."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def max_difference(one: Scores, other: Scores) -> float:
    """Returns the largest difference over the rows that have a score on both sides."""
    both = [abs(a - b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return max(both, default=0.0)


def _pairs(evidence: GoldenEvidence) -> Sequence[tuple[float | None, float | None]]:
    return list(zip(evidence.reference or (), evidence.served, strict=True))


def _flipped(evidence: GoldenEvidence) -> list[int]:
    threshold = evidence.threshold
    if threshold is None:
        return []
    return [
        i
        for i, (was, now) in enumerate(_pairs(evidence))
        if was is not None and now is not None and (was >= threshold) != (now >= threshold)
    ]
