"""The judge's evidence in words and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from serinus.core.evidence import ArmCounts
from serinus.core.routing import Role
from serinus.judge.evidence import StepEvidence, first_in_step
from serinus.judge.mixture import log_mean
from serinus.judge.weighing import Evidence, ratio_of


def as_json(evidence: Evidence) -> dict[str, Any]:
    """Returns one metric of `Assessment.metrics`. Infinite and unknown figures are None."""
    case = evidence.case
    estimate, low, high = ratio_of(case)
    needs = evidence.needs()
    return {
        "name": evidence.name,
        "state": "held back" if evidence.held_back else evidence.state,
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
        "evidence": statistics(evidence),
    }


def not_judged(name: str, why: str) -> dict[str, Any]:
    """Returns the JSON of a metric that is not judged."""
    return {"name": name, "state": "not judged", "summary": f"{name}: not judged, {why}"}


def summary(evidence: Evidence) -> str:
    """Returns a text for people who know the model: `errors: 37 of 2,104 canary requests (1.76%) against 3 of 40,201 of
    the champion (0.00746%), tolerated up to 1.5 times the champion's rate and unacceptable from 0.1% of requests`."""
    return _summary(evidence, (evidence.case.now,))


def _summary(evidence: Evidence, steps: Sequence[StepEvidence]) -> str:
    canary = _sum(evidence, [step.canary for step in steps])
    champion = _sum(evidence, [step.champion for step in steps])
    counts = f"{canary['events']:,} of {canary['of']:,} canary requests{_rate(canary)}"
    counts += f" against {champion['events']:,} of {champion['of']:,} of the champion{_rate(champion)}"
    where = " in all steps" if len(steps) > 1 else ""
    return f"{evidence.name}: {counts}{where}, {_tolerated(evidence)}{_burst(evidence)}"


def statistics(evidence: Evidence) -> str:
    """Returns a text for statisticians: `ratio 235 (95% interval 80 to 900); e-value against it 4,100 of 1,000, for it
    0.4 of 20`."""
    canary, champion = (_counts(evidence, arm) for arm in (evidence.case.now.canary, evidence.case.now.champion))
    entities = ""
    if (canary["events"], champion["events"]) != (canary["first"], champion["first"]):
        entities = f"{canary['first']:,} against {champion['first']:,} entities; "
    bad = f"against it {figure(e_value(evidence.log_bad))} of {evidence.bound_bad:,.0f}"
    good = f"for it {figure(e_value(evidence.log_good))} of {1.0 / evidence.case.policy.beta:,.0f}"
    return f"{entities}{_ratio(evidence)}; e-value {bad}, {good}"


def verdict_against(evidence: Evidence) -> str:
    """Returns why the rollout is aborted and how certain that is, with the counts of all steps where these decide."""
    case = evidence.case
    steps = (*case.history, case.now) if _by_rollout(evidence) else (case.now,)
    sure = f"A release within tolerance is aborted in at most {_percent(case.policy.alpha)} of rollouts"
    numbers = f"e-value {figure(e_value(evidence.log_bad))}, bound {evidence.bound_bad:,.0f}"
    ratio = f"{_ratio(evidence)}; " if len(steps) == 1 else ""
    return f"{_summary(evidence, steps)}. {sure} ({ratio}{numbers})"


def _by_rollout(evidence: Evidence) -> bool:
    """Whether the steps together, more than this one, have shown the degradation."""
    memory, stages = evidence.memory, evidence.case.stages
    return log_mean(memory.carried) > log_mean(memory.restarting.logs) - math.log(stages)


def e_value(log_value: float) -> float:
    """Returns the e-value, at most the largest float."""
    return math.exp(min(log_value, 700.0))


def about(number: float) -> str:
    """Returns the number rounded up to two figures: `about 3,100`."""
    if not math.isfinite(number):
        return "an unknown number of"
    unit = 10 ** max(0, len(str(math.ceil(number))) - 2)
    return f"about {math.ceil(number / unit) * unit:,}"


def figure(number: float) -> str:
    """Returns the number with three figures and without an exponent."""
    if number >= 1e6:
        return "over 1,000,000"
    return f"{number:,.0f}" if number >= 1000.0 else f"{number:.3g}" if number >= 0.001 else f"{number:.0f}"


def duration(seconds: float) -> str:
    """Returns the duration in the largest unit of which there is at least one: `21 minutes`."""
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


def _sum(evidence: Evidence, arms: Sequence[ArmCounts | None]) -> dict[str, int]:
    counted = [_counts(evidence, arm) for arm in arms]
    return {name: sum(one[name] for one in counted) for name in counted[0]}


def _ratio(evidence: Evidence) -> str:
    estimate, low, high = ratio_of(evidence.case)
    if math.isnan(estimate):
        return "ratio unknown"
    if math.isinf(estimate):
        return f"ratio at least {figure(low)} with 95% confidence, because the champion has none"
    if math.isinf(high):
        return f"ratio {figure(estimate)}, at least {figure(low)} with 95% confidence"
    return f"ratio {figure(estimate)}, 95% interval {figure(low)} to {figure(high)}"


def _rate(counts: dict[str, int]) -> str:
    return f" ({_percent(counts['events'] / counts['of'])})" if counts["of"] else ""


def _percent(share: float) -> str:
    """Returns the share with three figures: `1.76%` or `0.00746%`."""
    return f"{100.0 * share:.3g}%" if share >= 1e-7 else "0%"


def _tolerated(evidence: Evidence) -> str:
    case, tolerance = evidence.case, evidence.case.tolerance
    if case.metric.suspect is not Role.CANARY:
        least = f"{1 / tolerance.rho_bad:g} times"
        return f"tolerated down to {1 / tolerance.rho_ok:g} times the champion's rate and unacceptable from {least}"
    limit = f"{tolerance.rho_bad:g} times"
    if case.metric.rare and case.limit is not None:
        limit = f"{_percent(case.limit)} of requests"
    return f"tolerated up to {tolerance.rho_ok:g} times the champion's rate and unacceptable from {limit}"


def _burst(evidence: Evidence) -> str:
    return "; one burst accounts for the excess, which alone aborts nothing" if evidence.held_back else ""


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
