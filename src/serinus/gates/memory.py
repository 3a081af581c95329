"""The gate `memory`: the worker is within its budget after the requests of the other gates."""

from __future__ import annotations

from serinus.core.examination import GateResult
from serinus.gates.evidence import MemoryEvidence
from serinus.gates.results import failed, passed, undecided

MB = 2**20


def memory(evidence: MemoryEvidence) -> GateResult:
    """Fails where the worker's proportional set size (PSS) is over the budget."""
    used, budget = evidence.used_bytes, evidence.budget_bytes
    if used is None:
        text = "The worker's memory could not be read."
        return undecided("memory", text, blocking=budget is not None, budget_bytes=budget)
    details = {"used_bytes": used, "budget_bytes": budget}
    if budget is None:
        return passed("memory", f"{used / MB:,.0f} MiB; no budget is set.", **details)
    if used > budget:
        return failed("memory", f"{used / MB:,.0f} MiB, over the budget of {budget / MB:,.0f} MiB.", **details)
    return passed("memory", f"{used / MB:,.0f} MiB of {budget / MB:,.0f} MiB.", **details)
