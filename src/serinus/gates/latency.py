"""The gate `latency`: single rows on an unloaded release, within the budget and well within the timeout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from serinus.core.examination import GateResult
from serinus.gates.evidence import LatencyEvidence
from serinus.gates.results import failed, passed, undecided

LEAST = 30
"""The least number of requests. Fewer say nothing about a 99th percentile."""
_FEW = 5
"""The number of requests that suffices where none was answered in time."""
SLOW_MS = 1.0
"""Rows that take less time, in milliseconds, are not worth batching."""
_WORTH = 2.0
"""The gain in throughput from which on batching pays."""


def latency(evidence: LatencyEvidence) -> GateResult:
    """Fails where the 99th percentile is over the budget, or one request in a hundred would time out."""
    took = sorted(1000 * seconds for seconds in evidence.seconds)
    hopeless = len(took) >= _FEW and took[0] > evidence.timeout_ms
    if len(took) < LEAST and not hopeless:
        return undecided("latency", f"Only {len(took)} of at least {LEAST} requests were timed.", blocking=bool(took))
    p50, p99 = percentile(took, 0.50), percentile(took, 0.99)
    details: dict[str, Any] = {
        "requests": len(took),
        "p50_ms": round(p50, 3),
        "p99_ms": round(p99, 3),
        "max_ms": round(took[-1], 3),
        "budget_ms": evidence.budget_ms,
        "timeout_ms": evidence.timeout_ms,
    }
    if evidence.batches:
        details["batching"] = batching(p50, evidence.batches)
    seen = f"99% of {len(took)} requests took at most {p99:.1f} ms (median {p50:.1f})"
    if p99 > evidence.timeout_ms:
        needed = details["needed_timeout_ms"] = timeout_needed(p99)
        advice = f"The model needs `serving.timeout: {needed}ms` or more"
        if p99 > evidence.budget_ms:
            advice += f", and `gates.latency_p99: {needed}ms`"
        text = f"{seen}, over the timeout of {evidence.timeout_ms:g} ms. {advice}."
        return failed("latency", text, **details)
    if p99 > evidence.budget_ms:
        return failed("latency", f"{seen}, over the budget of {evidence.budget_ms:g} ms.", **details)
    return passed("latency", f"{seen}; the budget is {evidence.budget_ms:g} ms.", **details)


def batching(alone_ms: float, batches: Mapping[int, Sequence[float]]) -> str:
    """Returns a sentence that says whether `serving.batch` would help: whether many rows in one request take less time
    than one by one."""
    milliseconds = {rows: 1000 * median(seconds) for rows, seconds in batches.items()}
    rows, gain = max(((rows, alone_ms * rows / took) for rows, took in milliseconds.items()), key=lambda pair: pair[1])
    times = ", ".join(_time(count, took) for count, took in {1: alone_ms, **milliseconds}.items())
    helps = gain >= _WORTH and alone_ms >= SLOW_MS
    advice = (
        "`serving.batch: {delay: 2ms}` would help where many requests arrive at once"
        if helps
        else "batching would not help"
    )
    return f"{advice}: {times}; {rows} together are {gain:.1f} times as fast as one by one."


def timeout_needed(p99_ms: float) -> int:
    """Returns a timeout in milliseconds that leaves room for a busy machine: 1.5 times the 99th percentile, rounded up
    to two digits."""
    wanted = 1.5 * p99_ms
    unit = 10 ** max(0, math.floor(math.log10(wanted)) - 1) if wanted > 0 else 1
    return max(1, math.ceil(wanted / unit) * unit)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Returns a percentile by the nearest rank, which is a value that was observed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _time(rows: int, milliseconds: float) -> str:
    took = f"{milliseconds:,.0f}" if milliseconds >= 1000 else f"{milliseconds:.3g}"
    return f"{rows} row{'' if rows == 1 else 's'} {took} ms"
