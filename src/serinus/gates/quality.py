"""Quality: recall at the alert budget on labelled rows, paired with the champion on the same frauds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serinus.core.values import GateResult
from serinus.gates.evidence import QualityEvidence, Scores
from serinus.gates.intervals import by_chance, cases_needed, paired_difference, wilson
from serinus.gates.results import failed, passed, undecided
from serinus.gates.threshold import alert_threshold

CHANCE = 0.025
"""One-sided, as the upper end of a 95 % interval: what chance would catch with a larger probability shows nothing."""
LABELS = 'This answers labels, not scores; log it with `pyfunc_predict_fn="predict_proba"`.'
TIED = "Is the score rounded, or cut off at its upper end?"
TOO_GOOD = 0.10
"""So many points of recall more than the champion are seldom earned: labels may have leaked into the features."""


def quality(evidence: QualityEvidence) -> GateResult:
    """Each release alerts on its own top `budget` of the rows. Fails a release that answers labels where a ranking is
    asked, or that catches no more than chance would at the same number of alerts. Else passes when the lower bound of
    the difference in recall is above -margin, fails when the upper one is below it, and otherwise cannot decide and
    says how many frauds it would take.
    """
    if evidence.error:
        return undecided("quality", f"Could not be judged: {evidence.error}", blocking=True)
    if evidence.labels is None:
        return undecided("quality", "Not judged: there is no labelled evaluation set.", blocking=False)
    rows = len(evidence.labels)
    for name, scores in (("candidate", evidence.candidate), ("champion", evidence.champion)):
        if scores is not None and len(scores) != rows:
            return failed("quality", f"The {name} gave {len(scores)} scores for {rows} labelled rows.", rows=rows)
    known = np.array([label is not None and math.isfinite(label) for label in evidence.labels], dtype=bool)
    frauds = np.array([label is not None and label > 0.5 for label in evidence.labels], dtype=bool)
    if not frauds.any() or not (known & ~frauds).any():
        only = "frauds" if frauds.any() else "no frauds"
        return undecided("quality", f"The evaluation set holds {only}: recall says nothing.", blocking=True, rows=rows)
    missing = sum(_missing(score) for score in evidence.candidate)
    if missing:
        return failed("quality", f"{missing} of {rows} labelled rows got no finite score.", rows=rows, missing=missing)
    candidate = _caught(evidence.candidate, known, frauds, evidence.budget)
    useless = _no_better_than_chance(evidence, known, candidate)
    if useless is not None:
        return useless
    if evidence.champion is None:
        return _first(evidence, candidate)
    if all(_missing(score) for score in evidence.champion):
        return undecided("quality", "The champion gave no scores to compare with.", blocking=True, rows=rows)
    return _compared(_Paired(evidence, candidate, _caught(evidence.champion, known, frauds, evidence.budget)))


def _missing(score: float | None) -> bool:
    return score is None or not math.isfinite(score)


def _caught(scores: Scores, known: NDArray[np.bool_], frauds: NDArray[np.bool_], budget: float) -> NDArray[np.bool_]:
    """Of the frauds: which ones are among the release's alerts. Rows without a label take part in none of it."""
    values = np.array([math.nan if score is None else score for score in scores], dtype=float)[known]
    threshold = alert_threshold([float(value) for value in values], budget)
    return values[frauds[known]] >= threshold


def _no_better_than_chance(
    evidence: QualityEvidence, known: NDArray[np.bool_], caught: NDArray[np.bool_]
) -> GateResult | None:
    """None: the candidate's alerts hold more frauds than rows drawn at random would."""
    scores = np.array(evidence.candidate, dtype=float)[known]
    distinct = len(np.unique(scores))
    rows, frauds, hits, budget = len(scores), len(caught), int(caught.sum()), evidence.budget
    alerts = int((scores >= alert_threshold([float(score) for score in scores], budget)).sum())
    details = {
        "frauds": frauds, "rows": rows, "alerts": alerts, "caught": hits, "budget": budget, "distinct": distinct,
        "source": evidence.source,
    }  # fmt: skip
    if evidence.ranked and distinct <= 2:
        said = "The score has the same value" if distinct == 1 else "The score has two values"
        return failed("quality", f"{said} on {rows} labelled rows, and cannot rank them. {LABELS}", **details)
    if not alerts:
        return _without_alerts(rows, budget, distinct, details)
    probability = by_chance(rows, frauds, alerts, hits)
    details["by_chance"] = probability
    text = (
        f"{alerts} alerts ({alerts / rows:.2%} of {rows} rows) caught {hits} of {frauds} frauds, "
        f"{alerts * frauds / rows:.1f} would be caught by chance"
    )
    if hits * rows <= alerts * frauds:
        return failed("quality", f"No better than chance: {text}.", **details)
    if probability > CHANCE:
        text = f"Not shown to be better than chance: {text}. It takes an evaluation set with more frauds."
        return undecided("quality", text, blocking=True, **details)
    return None


def _without_alerts(rows: int, budget: float, distinct: int, details: dict[str, object]) -> GateResult:
    least = math.ceil(1 / budget) if budget > 0 else None
    if least is None or rows < least:
        wanted = "" if least is None else f" It takes at least {least:,} labelled rows."
        text = f"The budget of {budget:.2%} allows no alert among {rows} labelled rows.{wanted}"
        return undecided("quality", text, blocking=True, **details)
    why = LABELS if distinct <= 2 else TIED
    text = (
        f"No row can alert within the budget: more than {budget:.2%} of the {rows} labelled rows share the highest "
        f"score. {why}"
    )
    return failed("quality", text, **details)


def _first(evidence: QualityEvidence, caught: NDArray[np.bool_]) -> GateResult:
    hits, frauds = int(caught.sum()), len(caught)
    low, high = wilson(hits, frauds)
    text = (
        f"Recall {hits / frauds:.1%} (95 %: {low:.1%} to {high:.1%}) on {frauds} frauds at {evidence.budget:.2%} alerts"
    )
    return passed(
        "quality",
        f"{text}; nothing is live to compare with.",
        frauds=frauds,
        rows=len(evidence.candidate),
        recall=hits / frauds,
        recall_low=low,
        recall_high=high,
        budget=evidence.budget,
        source=evidence.source,
    )


@dataclass(frozen=True, slots=True)
class _Paired:
    evidence: QualityEvidence
    candidate: NDArray[np.bool_]
    champion: NDArray[np.bool_]

    @property
    def frauds(self) -> int:
        return len(self.candidate)

    @property
    def gained(self) -> int:
        """Frauds that only the candidate catches."""
        return int((self.candidate & ~self.champion).sum())

    @property
    def lost(self) -> int:
        """Frauds that only the champion catches."""
        return int((self.champion & ~self.candidate).sum())

    @property
    def difference(self) -> float:
        return (self.gained - self.lost) / self.frauds


def _compared(pair: _Paired) -> GateResult:
    evidence, margin = pair.evidence, pair.evidence.margin
    low, high = paired_difference(pair.gained, pair.lost, pair.frauds)
    recall, recall_was = float(pair.candidate.mean()), float(pair.champion.mean())
    details = {
        "frauds": pair.frauds,
        "rows": len(evidence.candidate),
        "recall": recall,
        "champion_recall": recall_was,
        "difference": pair.difference,
        "difference_low": low,
        "difference_high": high,
        "only_candidate": pair.gained,
        "only_champion": pair.lost,
        "margin": margin,
        "budget": evidence.budget,
        "source": evidence.source,
    }
    seen = (
        f"Recall {recall:.1%} against the champion's {recall_was:.1%} on {pair.frauds} frauds at {evidence.budget:.2%} "
        f"alerts: {_points(pair.difference)} points (95 %: {_points(low)} to {_points(high)})"
    )
    if high < -margin:
        return failed("quality", f"{seen}, worse than the {margin:.1%} that may be lost.", **details)
    if pair.difference >= TOO_GOOD:
        text = f"{seen}. So much better is suspect: have labels leaked into the features?"
        return undecided("quality", text, blocking=True, suspect="leakage", **details)
    if low > -margin:
        return passed("quality", f"{seen}; {margin:.1%} may be lost.", **details)
    needed = cases_needed(pair.gained, pair.lost, pair.frauds, margin)
    details["frauds_needed"] = math.ceil(needed) if math.isfinite(needed) else None
    about = f"about {math.ceil(needed):,} frauds" if math.isfinite(needed) else "more frauds than can be told"
    return undecided(
        "quality", f"{seen}. To tell whether {margin:.1%} are lost takes {about}.", blocking=True, **details
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
