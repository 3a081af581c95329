"""The gate `asked`: the release answers through the router, by each of its protocols, as the model itself does."""

from __future__ import annotations

from dataclasses import asdict

from serinus.core.examination import GateResult
from serinus.gates.evidence import AskedEvidence, ProtocolCheck
from serinus.gates.results import SHOWN, failed, passed, undecided

UNASKED = "unasked"
"""The value of `gates.accept` for models for which no request can be made."""


def asked(evidence: AskedEvidence) -> GateResult:
    """Fails where a protocol gives no answer, or one that differs from the model's own `predict`.

    The result is inconclusive where no request can be made.
    """
    details = {
        "source": evidence.source,
        "rows": evidence.rows,
        "answers": evidence.answers,
        "protocols": [_as_json(check) for check in evidence.checks],
    }
    if evidence.refused:
        return failed("asked", f"The model does not answer {evidence.source}: {evidence.reason}", **details)
    tried = [check for check in evidence.checks if not check.unasked]
    if not evidence.source or not tried:
        why = evidence.reason or "none of its protocols can carry any of the rows"
        text = f"The model could not be asked: {why.rstrip('.')}. Log it with an input example."
        return undecided("asked", text, blocking=True, accept=UNASKED, **details)
    if evidence.answers != evidence.rows and not evidence.together:
        given = f"{_many(evidence.answers, 'answer')} to {_rows(evidence.rows)}"
        text = (
            f"Asked with {evidence.source}, the model gives {given}. "
            "If the rows of a request belong together, set serving.rows: together in the spec."
        )
        return failed("asked", text, **details)
    with_rows = f"Asked through the router with {evidence.source} ({_rows(evidence.rows)})"
    bad = [_said(check, evidence.rows) for check in tried if check.error or check.differing]
    if bad:
        return failed("asked", f"{with_rows}: {'; '.join(bad)}.", **details)
    by = ", ".join(check.protocol for check in tried)
    as_itself = " as the model itself does" if evidence.compared else ""
    left = [f" It was not asked by {check.protocol}: {check.unasked}." for check in evidence.checks if check.unasked]
    return passed("asked", f"{with_rows}, it answers{as_itself} by {by}.{''.join(left)}", **details)


def _said(check: ProtocolCheck, rows: int) -> str:
    if check.error:
        return f"{check.protocol} gave no answer ({check.error.rstrip('.')})"
    return f"{check.protocol} answered {len(check.differing)} of {rows} rows differently from the model's own predict"


def _rows(count: int) -> str:
    return _many(count, "row")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _as_json(check: ProtocolCheck) -> dict[str, object]:
    return {**asdict(check), "differing": list(check.differing[:SHOWN])}
