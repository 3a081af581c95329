"""The outcomes of a gate, and the decision that follows from several of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from serinus.core.examination import GateResult, Outcome

SHOWN = 20
"""The largest number of row indices that are kept as evidence. The count is always complete."""


def passed(gate: str, summary: str, **evidence: Any) -> GateResult:
    """Returns the result of a gate that passed."""
    return GateResult(gate, Outcome.PASS, summary, evidence)


def failed(gate: str, summary: str, **evidence: Any) -> GateResult:
    """Returns the result of a gate that failed."""
    return GateResult(gate, Outcome.FAIL, summary, evidence)


def undecided(gate: str, summary: str, *, blocking: bool, **evidence: Any) -> GateResult:
    """Returns an inconclusive result.

    With `blocking`, the rollout continues only where the spec accepts it. It is False where there was nothing to judge
    by, so that a model without an evaluation set or golden rows can be deployed, and the result says so.
    """
    return GateResult(gate, Outcome.INCONCLUSIVE, summary, {**evidence, "blocking": blocking})


def decide(results: Iterable[GateResult], accepts: Collection[str] = ()) -> tuple[bool, str]:
    """Returns whether the release may have traffic, and why.

    `accepts` is that of the plan. `inconclusive-<gate>`, or the word that a result names as its `accept`, accepts an
    inconclusive result. A gate that failed is never accepted here.
    """
    results = tuple(results)
    for result in results:
        if result.outcome is Outcome.FAIL:
            return False, f"gate {result.gate} failed: {result.summary}"
    for result in results:
        word = result.evidence.get("accept", f"inconclusive-{result.gate}")
        if result.outcome is Outcome.INCONCLUSIVE and result.evidence.get("blocking", True) and word not in accepts:
            hint = f"Provide what it needs, or accept it in the spec: gates.accept: [{word}]."
            return False, f"gate {result.gate} could not decide: {result.summary} {hint}"
    open_ones = [result.gate for result in results if result.outcome is Outcome.INCONCLUSIVE]
    text = f"{sum(result.outcome is Outcome.PASS for result in results)} gates passed"
    return True, text + (f"; not judged: {', '.join(open_ones)}" if open_ones else "")
