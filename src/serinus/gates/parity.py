"""The gate `parity`: a compiled model gives the answers, the refusals and the alerts of its model."""

from __future__ import annotations

from collections.abc import Sequence

from serinus.core.errors import InvalidInput
from serinus.core.examination import GateResult
from serinus.gates.evidence import ParityEvidence, Scores
from serinus.gates.results import SHOWN, failed, passed
from serinus.gates.threshold import alert_threshold


def parity(evidence: ParityEvidence) -> GateResult:
    """Fails where an answer, a refusal or an alert of one row differs.

    Rows are named by number only: first the model's own, then those at the edges.
    """
    flipped = flips(evidence.original, evidence.compiled, evidence.threshold, evidence.budget)
    found = {
        "get a different answer": evidence.differing,
        "have a different margin behind the answer": evidence.behind,
        "are rejected by only one of the two": evidence.refusals,
        "get a different answer in a batch than alone": evidence.alone,
        "lie on the other side of the alert threshold": flipped,
    }
    details = {
        "rows": evidence.rows,
        "own": evidence.own,
        "largest": evidence.largest,
        "margins": evidence.margins,
        "splits": evidence.splits,
        "at_splits": evidence.at_splits,
        "differ": list(evidence.differing[:SHOWN]),
        "behind": list(evidence.behind[:SHOWN]),
        "refusals": list(evidence.refusals[:SHOWN]),
        "alone": list(evidence.alone[:SHOWN]),
        "flipped": list(flipped[:SHOWN]),
    }
    bad = [f"{len(rows)} {what} (rows {_named(rows)})" for what, rows in found.items() if rows]
    whole = f"{evidence.rows} rows were compared, {evidence.own} of which are the model's own:"
    if bad:
        text = f"{whole} {'; '.join(bad)}; the largest difference is {evidence.largest:.3g}."
        return failed("parity", text, **details)
    text = f"{whole} all are answered and decided alike (largest difference {evidence.largest:.3g})."
    if evidence.at_splits < evidence.splits:
        text += f" They reach {evidence.at_splits} of the {evidence.splits} splits of its trees."
    return passed("parity", text, **details)


def flips(original: Scores, compiled: Scores, threshold: float | None, budget: float) -> Sequence[int]:
    """Returns the rows that alert for one of the two only.

    Without a threshold, each side gets the one that the gates derive from the scores of these rows.
    """
    if not original:
        return []
    try:
        one = alert_threshold(original, budget) if threshold is None else threshold
        other = alert_threshold(compiled, budget) if threshold is None else threshold
    except InvalidInput:  # No row has a score, so no row can alert.
        return []
    return [
        i
        for i, (was, now) in enumerate(zip(original, compiled, strict=True))
        if (was is not None and was >= one) != (now is not None and now >= other)
    ]


def _named(rows: Sequence[int]) -> str:
    shown = ", ".join(str(row) for row in rows[:5])
    return f"{shown}, ..." if len(rows) > 5 else shown
