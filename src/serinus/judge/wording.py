"""What the judge saw, in words and as JSON."""

from __future__ import annotations

import math
from typing import Any

from serinus.core.values import ArmCounts, Role
from serinus.judge.evidence import first_in_step
from serinus.judge.metrics import Evidence, ratio_of


def as_json(evidence: Evidence) -> dict[str, Any]:
    """One metric of `Assessment.metrics`. What is infinite or unknown is None."""
    case = evidence.case
    estimate, low, high = ratio_of(case)
    needs = evidence.needs()
    return {
        "name": evidence.name,
        "state": evidence.state,
        "rare": case.metric.rare,
        "weight": case.now.weight,
        "canary": _counts(evidence, case.now.canary),
        "champion": _counts(evidence, case.now.champion),
        "ratio": _finite(estimate),
        "ratio_low": _finite(low),
        "ratio_high": _finite(high),
        "rho_ok": case.tolerance.rho_ok,
        "rho_bad": case.tolerance.rho_bad,
        "budget": case.limit,
        "e_bad": e_value(evidence.log_bad),
        "e_bad_without_burst": e_value(evidence.log_bad_without_burst),
        "e_good": e_value(evidence.log_good),
        "bound_bad": evidence.bound_bad,
        "bound_good": 1.0 / case.policy.beta,
        "needs": math.ceil(needs) if math.isfinite(needs) else None,
        "summary": summary(evidence),
    }


def not_judged(name: str, why: str) -> dict[str, Any]:
    return {"name": name, "state": "not judged", "summary": f"{name}: not judged, {why}"}


def summary(evidence: Evidence) -> str:
    """`errors: 37 of 2,104 canary requests against 3 of 40,201 of the champion (ratio 235, tolerated up to 1.5)`."""
    case = evidence.case
    canary, champion = _counts(evidence, case.now.canary), _counts(evidence, case.now.champion)
    counts = f"{canary['events']:,} of {canary['of']:,} canary requests"
    counts += f" against {champion['events']:,} of {champion['of']:,} of the champion"
    if (canary["events"], champion["events"]) != (canary["first"], champion["first"]):
        counts += f", by entity {canary['first']:,} against {champion['first']:,}"
    if case.metric.suspect is Role.CANARY:
        tolerated = f"tolerated up to {case.tolerance.rho_ok:g}"
    else:
        tolerated = f"tolerated down to {1 / case.tolerance.rho_ok:g}"
    return f"{evidence.name}: {counts} (ratio {_ratio(evidence)}, {tolerated})"


def verdict_against(evidence: Evidence) -> str:
    return f"{summary(evidence)}; e-value {e_value(evidence.log_bad):,.4g}, bound {evidence.bound_bad:,.0f}"


def e_value(log_value: float) -> float:
    """Capped where a float ends."""
    return math.exp(min(log_value, 700.0))


def about(number: float) -> str:
    """Rounded up to two figures: `about 3,100`."""
    if not math.isfinite(number):
        return "more than can be told yet"
    unit = 10 ** max(0, len(str(math.ceil(number))) - 2)
    return f"about {math.ceil(number / unit) * unit:,}"


def duration(seconds: float) -> str:
    """In the largest unit of which there is at least one: `21 minutes`."""
    for name, unit in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= unit:
            number = f"{seconds / unit:.1f}".removesuffix(".0")
            return f"{number} {name.removesuffix('s') if number == '1' else name}"
    return f"{math.ceil(seconds)} seconds" if seconds > 1.0 else "1 second"


def _counts(evidence: Evidence, arm: ArmCounts | None) -> dict[str, int]:
    metric = evidence.case.metric
    if arm is None:
        return {"events": 0, "first": 0, "of": 0}
    return {
        "events": getattr(arm, metric.event),
        "first": first_in_step(arm, metric.event),
        "of": metric.trials(arm),
    }


def _ratio(evidence: Evidence) -> str:
    estimate, low, high = ratio_of(evidence.case)
    if math.isnan(estimate):
        return "unknown"
    text = f"{estimate:.3g}" if math.isfinite(estimate) else "infinite"
    upper = f"{high:.3g}" if math.isfinite(high) else "any"
    return f"{text}, 95 % interval {low:.3g} to {upper}"


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
