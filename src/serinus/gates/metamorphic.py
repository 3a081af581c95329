"""The gate `metamorphic`: changes that do not affect the meaning of a row do not change its score.

The method is by Chen, Cheung and Yiu (1998). It needs no labels. It finds state that is kept between requests, effects
of other rows in a batch, and types that are confused.
"""

from __future__ import annotations

from collections.abc import Sequence

from serinus.core.examination import GateResult
from serinus.gates.evidence import MetamorphicEvidence, Transformation, TransformationCheck
from serinus.gates.golden import max_difference, same
from serinus.gates.results import SHOWN, failed, passed, undecided

CURED = frozenset(
    {
        Transformation.TWICE,
        Transformation.ALONE,
        Transformation.BATCH,
        Transformation.COMPANY,
        Transformation.ORDER,
    }
)
"""Transformations whose failure does no harm where rows are served one at a time and uncached. The conversion of
integers is not among them, because callers send integers."""
TOGETHER = frozenset({Transformation.BATCH, Transformation.COMPANY, Transformation.ORDER})
"""Transformations that send rows in one request. For these, serving one row at a time also helps where there was no
answer."""


def metamorphic(evidence: MetamorphicEvidence) -> GateResult:
    """Fails where a score changes.

    Where serving one row at a time would help and the spec accepts that, the gate passes with the mark `one_at_a_time`,
    and the release must be served so.
    """
    if not evidence.checks:
        return undecided("metamorphic", "There are no rows to check with.", blocking=False, one_at_a_time=False)
    bad = [check for check in evidence.checks if check.failures or check.error]
    details = {"checks": [_as_json(check) for check in evidence.checks]}
    if not bad:
        names = ", ".join(check.transformation.value for check in evidence.checks)
        if evidence.together:
            text = f"Rows belong together (serving.rows: together) and get the same answers each time ({names})."
            return passed("metamorphic", text, one_at_a_time=False, **details)
        text = f"Each row gets the same answer in every request ({names})" + (
            ", served one row at a time." if evidence.one_at_a_time else "."
        )
        return passed("metamorphic", text, one_at_a_time=evidence.one_at_a_time, **details)
    curable = not evidence.together and all(_curable(check) for check in bad)
    said = "; ".join(_said(check) for check in bad)
    if curable and evidence.accepted:
        text = f"Accepted, and served one row at a time: {said}."
        return passed("metamorphic", text, one_at_a_time=True, **details)
    hint = _HINT if curable else ""
    return failed("metamorphic", f"{said}.{hint}", one_at_a_time=evidence.one_at_a_time, curable=curable, **details)


_HINT = (
    " Serve it one row at a time (gates.accept: [one-at-a-time]), or declare that the rows of a request belong "
    "together (serving.rows: together)."
)


def _curable(check: TransformationCheck) -> bool:
    return check.transformation in (TOGETHER if check.error else CURED)


def compare(
    transformation: Transformation, expected: Sequence[float | None], got: Sequence[float | None]
) -> TransformationCheck:
    """Returns the check of one transformation, from the scores before and after it."""
    if len(expected) != len(got):
        error = f"{len(got)} scores for {len(expected)} rows"
        return TransformationCheck(transformation, len(expected), error=error)
    failures = tuple(i for i, (a, b) in enumerate(zip(expected, got, strict=True)) if not same(a, b))
    return TransformationCheck(transformation, len(expected), max_difference(expected, got), failures)


def _said(check: TransformationCheck) -> str:
    if check.error:
        return f"{check.transformation.value}: {check.error}"
    return (
        f"{check.transformation.value}: {len(check.failures)} of {check.rows} rows got a different score "
        f"(by up to {check.max_difference:.3g})"
    )


def _as_json(check: TransformationCheck) -> dict[str, object]:
    return {
        "transformation": check.transformation.value,
        "rows": check.rows,
        "max_difference": check.max_difference,
        "failures": list(check.failures[:SHOWN]),
        "failing": len(check.failures),
        "error": check.error,
    }
