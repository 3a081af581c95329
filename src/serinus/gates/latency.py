"""Latency: single rows, unloaded, within the budget and well within the timeout."""

from __future__ import annotations

import math
from collections.abc import Sequence

from serinus.core.values import GateResult
from serinus.gates.evidence import LatencyEvidence
from serinus.gates.results import failed, passed, undecided

LEAST = 30
"""Fewer requests say nothing of a 99th percentile."""


def latency(evidence: LatencyEvidence) -> GateResult:
    """Fails where the 99th percentile is over the budget, or one request in a hundred would time out."""
    took = sorted(1000 * seconds for seconds in evidence.seconds)
    if len(took) < LEAST:
        return undecided("latency", f"Only {len(took)} of at least {LEAST} requests were timed.", blocking=bool(took))
    p50, p99 = percentile(took, 0.50), percentile(took, 0.99)
    details = {
        "requests": len(took),
        "p50_ms": round(p50, 3),
        "p99_ms": round(p99, 3),
        "max_ms": round(took[-1], 3),
        "budget_ms": evidence.budget_ms,
        "timeout_ms": evidence.timeout_ms,
    }
    seen = f"99 % of {len(took)} requests took at most {p99:.1f} ms (median {p50:.1f})"
    if p99 > evidence.timeout_ms:
        return failed("latency", f"{seen}, over the timeout of {evidence.timeout_ms:g} ms.", **details)
    if p99 > evidence.budget_ms:
        return failed("latency", f"{seen}, over the budget of {evidence.budget_ms:g} ms.", **details)
    return passed("latency", f"{seen}; the budget is {evidence.budget_ms:g} ms.", **details)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank: a value that was seen."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
