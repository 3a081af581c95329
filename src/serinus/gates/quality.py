"""The gate `quality`: recall at the alert budget on labelled rows, compared with the champion on the same frauds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serinus.core.examination import GateResult
from serinus.gates.evidence import QualityEvidence, Scores
from serinus.gates.intervals import by_chance, cases_needed, design_effect, live_rate, paired_difference, wilson
from serinus.gates.results import failed, passed, undecided
from serinus.gates.threshold import alert_threshold

CHANCE = 0.025
"""One-sided, like the upper end of a 95% interval. A result that chance would reach with a larger probability shows
nothing."""
LABELS = 'The model answers labels, not scores; log it with `pyfunc_predict_fn="predict_proba"`.'
TIED = "Is the score rounded, or cut off at its upper end?"
TOO_GOOD = 0.5
"""The share of the champion's misses from which on an improvement is suspicious, because labels may have leaked."""
LEAST_RECALL = 4
"""The least recall, in multiples of the margin. Below it, even a release that catches hardly anything would be within
the margin."""
UNCERTAIN = 3.0
"""The ratio of the highest to the lowest live alert rate from which on the result mentions it: fewer than about 15
alerts."""
LIVE_REQUESTS = 10_000
"""The number of the champion's requests from which on its live alert rate is compared with the budget."""
OTHER = 1.5
"""The factor by which that rate must certainly miss the budget before the result mentions it."""
SATURATED = 0.95
"""The share of the highest recall that the budget allows, from which on recall cannot show a difference."""


def quality(evidence: QualityEvidence) -> GateResult:
    """Compares the recall of both releases, each alerting on its own top `budget` of the rows.

    The result is inconclusive where the rows cannot show a difference: the scores have only two values, no row or every
    row is within the budget, or the budget bounds the recall. A release fails that catches no more frauds than chance
    would with as many alerts. Otherwise the gate passes where the lower bound of the difference in recall is above
    -margin, and fails where the upper bound is below it. Else it is inconclusive and says how many frauds would be
    needed.
    """
    if evidence.error:
        return undecided("quality", f"The quality could not be judged: {evidence.error}", blocking=True)
    if evidence.labels is None:
        return undecided("quality", "The quality was not judged: there is no evaluation set.", blocking=False)
    rows = len(evidence.labels)
    for name, scores in (("candidate", evidence.candidate), ("champion", evidence.champion)):
        if scores is not None and len(scores) != rows:
            return failed("quality", f"The {name} gave {len(scores)} scores for {rows} labelled rows.", rows=rows)
    known = np.array([label is not None and math.isfinite(label) for label in evidence.labels], dtype=bool)
    frauds = np.array([label is not None and label > 0.5 for label in evidence.labels], dtype=bool)
    if not frauds.any() or not (known & ~frauds).any():
        only = "frauds" if frauds.any() else "no frauds"
        return undecided(
            "quality", f"The evaluation set holds {only}: recall cannot be measured.", blocking=True, rows=rows
        )
    missing = sum(_missing(score) for score in evidence.candidate)
    if missing:
        return failed("quality", f"{missing} of {rows} labelled rows got no finite score.", rows=rows, missing=missing)
    if (unranked := _cannot_rank(evidence, known)) is not None:
        return unranked
    if evidence.champion is not None and (missing := sum(_missing(score) for score in evidence.champion)):
        text = f"The champion gave no finite score for {missing:,} of {rows:,} labelled rows to compare with."
        return undecided("quality", text, blocking=True, rows=rows, champion_missing=missing)
    candidate = _caught(evidence.candidate, known, frauds, evidence.budget)
    if evidence.champion is None:
        return _no_better_than_chance(evidence, known, candidate) or _first(evidence, candidate)
    champion = _caught(evidence.champion, known, frauds, evidence.budget)
    bounds = _Bounds(evidence, int(known.sum()), champion)
    blind = bounds.by_budget() or _no_better_than_chance(evidence, known, candidate) or bounds.by_champion()
    if blind is not None:
        return blind
    clusters = None if evidence.clusters is None else np.asarray(evidence.clusters, dtype=np.int64)[frauds]
    return _compared(_Paired(evidence, candidate, champion, clusters))


def _missing(score: float | None) -> bool:
    return score is None or not math.isfinite(score)


def _caught(scores: Scores, known: NDArray[np.bool_], frauds: NDArray[np.bool_], budget: float) -> NDArray[np.bool_]:
    """Returns which of the frauds are among the release's alerts. Rows without a label are ignored."""
    values = np.array([math.nan if score is None else score for score in scores], dtype=float)[known]
    threshold = alert_threshold([float(value) for value in values], budget)
    return values[frauds[known]] >= threshold


def _cannot_rank(evidence: QualityEvidence, known: NDArray[np.bool_]) -> GateResult | None:
    """Returns a result where the scores cannot rank the rows, or where no row or every row is within the budget.

    None: the rows can be compared.
    """
    rows, budget = int(known.sum()), evidence.budget
    if budget > 0 and math.floor(budget * rows + 1e-9) >= rows:
        text = f"The budget of {budget:.2%} lets every one of {rows:,} labelled rows alert: recall cannot be measured."
        return undecided("quality", text, blocking=True, rows=rows, budget=budget)
    for name, scores in (("candidate", evidence.candidate), ("champion", evidence.champion or ())):
        pairs = zip(scores, known, strict=False)
        found = np.array([score for score, labelled in pairs if labelled and not _missing(score)], dtype=float)
        distinct = len(np.unique(found))
        if evidence.ranked and distinct in (1, 2):
            said = "the same value" if distinct == 1 else "two values"
            text = f"The score of the {name} has {said} on {rows:,} labelled rows, and cannot rank them. {LABELS}"
            return undecided("quality", text, blocking=True, rows=rows, budget=budget, distinct=distinct)
        if found.size and not (found >= alert_threshold([float(score) for score in found], budget)).any():
            return _without_alerts(name, rows, budget, distinct)
    return None


def _without_alerts(name: str, rows: int, budget: float, distinct: int) -> GateResult:
    least = math.ceil(1 / budget) if budget > 0 else None
    if least is None or rows < least:
        wanted = "" if least is None else f" The evaluation set needs at least {least:,} labelled rows."
        text = f"The budget of {budget:.2%} allows no alert among {rows} labelled rows.{wanted}"
    else:
        why = LABELS if distinct <= 2 else TIED
        text = (
            f"No row of the {name} can alert within the budget: more than {budget:.2%} of the {rows} labelled rows "
            f"share the highest score. {why}"
        )
    return undecided("quality", text, blocking=True, rows=rows, budget=budget, distinct=distinct)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Whether the champion's recall leaves room for a release to be measurably worse."""

    evidence: QualityEvidence
    rows: int
    champion: NDArray[np.bool_]

    @property
    def highest(self) -> float:
        """The recall of a release whose alerts are all frauds."""
        return min(1.0, math.floor(self.evidence.budget * self.rows + 1e-9) / len(self.champion))

    @property
    def least(self) -> float:
        return LEAST_RECALL * self.evidence.margin

    def by_budget(self) -> GateResult | None:
        recall = float(self.champion.mean())
        if self.highest < self.least:
            why = f"a margin of {self.evidence.margin:.1%} then shows nothing"
        elif self.highest < 1.0 and recall >= SATURATED * self.highest:
            why = f"the champion catches {recall:.1%}, so what else a release misses cannot be seen"
        else:
            return None
        text = (
            f"{len(self.champion) / self.rows:.2%} of the labelled rows are frauds and {self.evidence.budget:.2%} may "
            f"alert: no release can catch more than {self.highest:.1%} of the frauds, and {why}. Use an "
            f"evaluation set with the share of frauds that is found in production, or a larger budget."
        )
        return self._undecided(text)

    def by_champion(self) -> GateResult | None:
        recall, margin = float(self.champion.mean()), self.evidence.margin
        if recall >= self.least:
            return None
        text = (
            f"The champion catches {recall:.1%} of {len(self.champion):,} frauds. At a margin of {margin:.1%}, a "
            f"release that catches hardly anything would pass. Compare with a champion that catches "
            f"{self.least:.1%} or more, or use a smaller margin."
        )
        return self._undecided(text)

    def _undecided(self, text: str) -> GateResult:
        return undecided(
            "quality",
            text,
            blocking=True,
            frauds=len(self.champion),
            rows=self.rows,
            champion_recall=float(self.champion.mean()),
            highest_recall=self.highest,
            budget=self.evidence.budget,
            margin=self.evidence.margin,
            source=self.evidence.source,
        )


def _no_better_than_chance(
    evidence: QualityEvidence, known: NDArray[np.bool_], caught: NDArray[np.bool_]
) -> GateResult | None:
    """Returns a failure where the candidate's alerts hold no more frauds than rows drawn at random would. None: they
    do."""
    scores = np.array(evidence.candidate, dtype=float)[known]
    rows, frauds, hits, budget = len(scores), len(caught), int(caught.sum()), evidence.budget
    alerts = _alerts(scores, budget)
    probability = by_chance(rows, frauds, alerts, hits)
    details = {
        "frauds": frauds, "rows": rows, "alerts": alerts, "caught": hits, "budget": budget, "source": evidence.source,
        "by_chance": probability,
    }  # fmt: skip
    text = (
        f"{alerts} alerts ({alerts / rows:.2%} of {rows} rows) caught {hits} of {frauds} frauds, "
        f"{alerts * frauds / rows:.1f} would be caught by chance"
    )
    if hits * rows <= alerts * frauds:
        return failed("quality", f"No better than chance: {text}.", **details)
    if probability > CHANCE:
        text = f"Not shown to be better than chance: {text}. An evaluation set with more frauds is needed."
        return undecided("quality", text, blocking=True, **details)
    return None


def _alerts(scores: NDArray[np.float64], budget: float) -> int:
    return int((scores >= alert_threshold([float(score) for score in scores], budget)).sum())


@dataclass(frozen=True, slots=True)
class _LiveRate:
    """The interval of the live alert rate at the threshold that the evaluation rows give."""

    evidence: QualityEvidence
    rows: int
    alerts: int
    low: float
    high: float

    @staticmethod
    def of(evidence: QualityEvidence) -> _LiveRate:
        scores = np.array(evidence.candidate, dtype=float)
        alerts = _alerts(scores, evidence.budget)
        return _LiveRate(evidence, len(scores), alerts, *live_rate(alerts, len(scores)))

    @property
    def details(self) -> dict[str, object]:
        live = self.evidence.live
        return {
            "alerts": self.alerts,
            "live_rate": [self.low, self.high],
            "champion_live_rate": live[1] / live[0] if live and live[0] else None,
        }

    @property
    def text(self) -> str:
        """Returns a sentence about the uncertainty of the alert rate. Empty where there are enough rows, or the spec
        sets a threshold."""
        if not self.evidence.ranked:
            return ""
        return "".join((self._by_rows(), self._by_ties(), self._by_champion()))

    def _by_rows(self) -> str:
        if self.high < UNCERTAIN * self.low:
            return ""
        between = f"between {self.low:.2%} and {self.high:.2%} of live rows may alert"
        return f" The threshold rests on {self.alerts:,} of {self.rows:,} rows: {between} (95%)."

    def _by_ties(self) -> str:
        allowed = math.floor(self.evidence.budget * self.rows + 1e-9)
        if self.alerts >= allowed:
            return ""
        return f" Rows share scores, so only {self.alerts:,} of the {allowed:,} that the budget allows alert."

    def _by_champion(self) -> str:
        live, budget = self.evidence.live, self.evidence.budget
        if live is None or live[0] < LIVE_REQUESTS:
            return ""
        low, high = wilson(live[1], live[0])
        if low <= OTHER * budget and high >= budget / OTHER:
            return ""
        return (
            f" The champion's threshold was set by the same rule, and {live[1] / live[0]:.2%} of its {live[0]:,} live "
            f"rows alert, not {budget:.2%}: the evaluation rows differ from live traffic, and the candidate's "
            "alert rate will, too."
        )


def _first(evidence: QualityEvidence, caught: NDArray[np.bool_]) -> GateResult:
    hits, frauds = int(caught.sum()), len(caught)
    low, high = wilson(hits, frauds)
    live = _LiveRate.of(evidence)
    interval = f"95% interval: {low:.1%} to {high:.1%}"
    text = f"Recall {hits / frauds:.1%} ({interval}) on {frauds} frauds at {evidence.budget:.2%} alerts"
    return passed(
        "quality",
        f"{text}; there is no champion to compare with.{live.text}",
        frauds=frauds,
        rows=len(evidence.candidate),
        recall=hits / frauds,
        recall_low=low,
        recall_high=high,
        **live.details,
        budget=evidence.budget,
        source=evidence.source,
    )


@dataclass(frozen=True, slots=True)
class _Paired:
    evidence: QualityEvidence
    candidate: NDArray[np.bool_]
    champion: NDArray[np.bool_]
    clusters: NDArray[np.int64] | None = None
    """The cluster of each fraud."""

    @property
    def effect(self) -> float:
        """The factor by which frauds that depend on each other increase the variance of the difference."""
        return design_effect(self.candidate.astype(float) - self.champion.astype(float), self.clusters)

    @property
    def frauds(self) -> int:
        return len(self.candidate)

    @property
    def gained(self) -> int:
        """The number of frauds that only the candidate catches."""
        return int((self.candidate & ~self.champion).sum())

    @property
    def lost(self) -> int:
        """The number of frauds that only the champion catches."""
        return int((self.champion & ~self.candidate).sum())

    @property
    def difference(self) -> float:
        return (self.gained - self.lost) / self.frauds

    @property
    def misses_removed(self) -> float:
        """The share of the champion's misses that the candidate catches, less its own new misses."""
        missed = int((~self.champion).sum())
        return (self.gained - self.lost) / missed if missed else 0.0


def _compared(pair: _Paired) -> GateResult:
    evidence, margin = pair.evidence, pair.evidence.margin
    effect = pair.effect
    gained, lost, frauds = pair.gained / effect, pair.lost / effect, pair.frauds / effect
    low, high = paired_difference(gained, lost, frauds)
    recall, recall_was = float(pair.candidate.mean()), float(pair.champion.mean())
    live = _LiveRate.of(evidence)
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
        "misses_removed": pair.misses_removed,
        "design_effect": effect,
        **live.details,
        "margin": margin,
        "budget": evidence.budget,
        "source": evidence.source,
    }
    seen = (
        f"Recall {recall:.1%} against the champion's {recall_was:.1%} on {pair.frauds} frauds at {evidence.budget:.2%} "
        f"alerts: {_points(pair.difference)} points (95% interval: {_points(low)} to {_points(high)})"
    )
    if effect > 1.0:
        seen += f", with frauds that depend on each other counted as {frauds:,.0f}"
    if high < -margin:
        return failed("quality", f"{seen}, worse than the {margin:.1%} that may be lost.", **details)
    if pair.misses_removed >= TOO_GOOD and low > 0.0:
        text = (
            f"{seen}. It removes {pair.misses_removed:.0%} of the champion's misses, which is suspect: have labels "
            f"leaked into the features?"
        )
        return undecided("quality", text, blocking=True, suspect="leakage", **details)
    if low > -margin:
        return passed("quality", f"{seen}; {margin:.1%} may be lost.{live.text}", **details)
    needed = effect * cases_needed(gained, lost, frauds, margin)
    details["frauds_needed"] = math.ceil(needed) if math.isfinite(needed) else None
    about = f"about {math.ceil(needed):,} frauds" if math.isfinite(needed) else "an unknown number of frauds"
    return undecided(
        "quality",
        f"{seen}. The evaluation set needs {about} to show whether more than {margin:.1%} is lost.",
        blocking=True,
        **details,
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
