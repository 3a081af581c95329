"""Recall at the alert budget, and the threshold that spends the budget."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.core.errors import InvalidInput
from serinus.core.examination import Outcome
from serinus.gates import QualityEvidence, alert_threshold, quality
from serinus.gates.intervals import Z, by_chance, cases_needed, live_rate, paired_difference, wilson

ROWS, FRAUDS = 20_000, 300


def sets(caught: int):
    """Scores whose top percent holds the first `caught` of the frauds."""
    scores = np.linspace(0.0, 0.5, ROWS)
    scores[-FRAUDS:] = 0.01
    scores[ROWS - FRAUDS : ROWS - FRAUDS + caught] = 0.9
    return scores.tolist()


LABELS = [0.0] * (ROWS - FRAUDS) + [1.0] * FRAUDS


def judged(caught: int, caught_by_champion: int | None, **changes):
    given = {
        "labels": LABELS,
        "candidate": sets(caught),
        "champion": None if caught_by_champion is None else sets(caught_by_champion),
        "budget": 0.01,
        **changes,
    }
    return quality(QualityEvidence(**given))


def test_a_model_that_catches_the_same_frauds_passes() -> None:
    result = judged(180, 180)
    assert result.outcome is Outcome.PASS
    assert result.evidence["recall"] == result.evidence["champion_recall"] == pytest.approx(0.6)
    assert result.evidence["difference_low"] > -0.05
    json.dumps(dict(result.evidence))


def test_a_clearly_worse_model_fails_and_a_better_one_passes() -> None:
    worse = judged(120, 180)
    assert (worse.outcome, worse.evidence["only_champion"]) == (Outcome.FAIL, 60)
    assert "-20.0 points" in worse.summary
    assert judged(195, 180).outcome is Outcome.PASS


def test_in_between_the_gate_cannot_decide_and_says_how_many_frauds_it_takes() -> None:
    result = judged(168, 180)
    assert (result.outcome, result.evidence["blocking"]) == (Outcome.INCONCLUSIVE, True)
    assert result.evidence["frauds_needed"] > FRAUDS
    assert "frauds" in result.summary


def test_what_is_too_good_is_suspected_of_a_leak() -> None:
    result = judged(200, 110, budget=0.02)
    assert result.outcome is Outcome.PASS, "90 of 190 misses: 47 %"
    result = judged(210, 110, budget=0.02)
    assert (result.outcome, result.evidence["suspect"]) == (Outcome.INCONCLUSIVE, "leakage")
    assert "removes 53% of the champion's misses" in result.summary
    few_misses = judged(296, 285, budget=0.02)
    assert few_misses.evidence["suspect"] == "leakage", "3.7 points more, which are 73 % of the misses"


def test_the_paired_interval_is_narrower_than_that_of_two_samples() -> None:
    low, high = paired_difference(9, 9, 281)
    independent = 2 * Z * math.sqrt(2 * 0.8 * 0.2 / 281)
    assert high - low < 0.5 * independent
    assert low < 0 < high


def test_intervals_match_published_examples() -> None:
    # Wilson, 81 of 263: Newcombe 1998, table I. Paired: Bonett and Price's formula by hand for 14 and 2 of 100.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    d, n = (15 - 3) / 102, 102
    half = Z * math.sqrt((18 / 102 - d * d) / n)
    assert paired_difference(14, 2, 100) == pytest.approx((d - half, d + half))
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_paired_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(2)
    draws = rng.multinomial(281, [0.08, 0.05, 0.87], size=2000)
    ends = [paired_difference(int(gained), int(lost), 281) for gained, lost, _ in draws]
    covered = np.mean([low <= 0.03 <= high for low, high in ends])
    assert 0.935 <= covered <= 0.98


def test_the_number_of_frauds_needed_grows_with_disagreement_and_nearness() -> None:
    assert cases_needed(10, 10, 300, 0.05) < cases_needed(30, 30, 300, 0.05)
    assert cases_needed(10, 10, 300, 0.05) < cases_needed(10, 22, 300, 0.05)


def test_a_first_deployment_passes_with_its_interval_shown() -> None:
    result = judged(180, None)
    assert result.outcome is Outcome.PASS
    assert result.evidence["recall_low"] < 0.6 < result.evidence["recall_high"]
    assert "no champion to compare with" in result.summary


def test_without_labels_the_gate_does_not_block() -> None:
    result = quality(QualityEvidence(None))
    assert (result.outcome, result.evidence["blocking"]) == (Outcome.INCONCLUSIVE, False)
    assert quality(QualityEvidence(None, error="no column 'label'")).evidence["blocking"] is True


@pytest.mark.parametrize("labels", [[0.0] * 10, [1.0] * 10, [None] * 10, []])
def test_a_set_of_one_class_decides_nothing(labels) -> None:
    result = quality(QualityEvidence(labels, [0.5] * len(labels), [0.5] * len(labels)))
    assert (result.outcome, result.evidence["blocking"]) == (Outcome.INCONCLUSIVE, True)


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_a_candidate_without_a_score_for_every_row_fails(missing) -> None:
    scores = sets(180)
    scores[5] = missing
    result = judged(180, 180, candidate=scores)
    assert (result.outcome, result.evidence["missing"]) == (Outcome.FAIL, 1)
    assert judged(180, 180, candidate=scores[:-1]).outcome is Outcome.FAIL


@pytest.mark.parametrize("missing", [1, 3, ROWS])
def test_a_champion_without_a_score_for_every_row_decides_nothing(missing: int) -> None:
    result = judged(180, 180, champion=[math.nan] * missing + sets(180)[missing:])
    assert (result.outcome, result.evidence["champion_missing"]) == (Outcome.INCONCLUSIVE, missing)


def test_rows_whose_label_is_not_known_take_no_part() -> None:
    labels = [*LABELS[:-1], None]
    assert judged(180, 180, labels=labels).evidence["frauds"] == FRAUDS - 1


# --- no better than chance --------------------------------------------------------------------------------


@pytest.mark.parametrize("champion", [None, 180])
@pytest.mark.parametrize(("name", "score"), [("labels", lambda n: float(n % 100 == 0)), ("a constant", lambda n: 0.5)])
def test_answers_that_cannot_rank_are_refused_with_the_way_to_log_scores(champion, name, score) -> None:
    result = judged(180, champion, candidate=[score(n) for n in range(ROWS)])
    assert (result.outcome, result.evidence["blocking"]) == (Outcome.INCONCLUSIVE, True), name
    assert 'The model answers labels, not scores; log it with `pyfunc_predict_fn="predict_proba"`.' in result.summary


def test_labels_are_refused_however_well_they_fit() -> None:
    perfect = judged(180, None, candidate=LABELS, budget=0.05)
    assert (perfect.outcome, perfect.evidence["blocking"]) == (Outcome.INCONCLUSIVE, True)
    assert "two values" in perfect.summary


def test_a_champion_that_answers_labels_cannot_be_compared_with() -> None:
    result = judged(180, 180, champion=[float(n % 1000 == 0) for n in range(ROWS)])
    assert (result.outcome, result.evidence["blocking"]) == (Outcome.INCONCLUSIVE, True)
    assert "The score of the champion has two values" in result.summary


def test_two_values_may_be_where_the_spec_fixes_the_threshold() -> None:
    fixed = judged(180, None, candidate=LABELS, budget=0.05, ranked=False)
    assert (fixed.outcome, fixed.evidence["recall"]) == (Outcome.PASS, 1.0)


def test_three_scores_that_leave_no_row_to_alert_are_refused() -> None:
    scores = [float(n % 50 == 0) + float(n % 25 == 0) for n in range(ROWS)]
    result = judged(180, None, candidate=scores)
    assert (result.outcome, result.evidence["blocking"]) == (Outcome.INCONCLUSIVE, True)
    assert "No row of the candidate can alert within the budget: more than 1.00%" in result.summary


@pytest.mark.parametrize("champion", [None, "as bad", "good"])
@pytest.mark.parametrize("seed", range(5))
def test_scores_at_random_never_pass(seed: int, champion: str | None) -> None:
    rng = np.random.default_rng(seed)
    other = {None: None, "as bad": rng.random(ROWS).tolist(), "good": sets(180)}[champion]
    result = judged(0, None, candidate=rng.random(ROWS).tolist(), champion=other)
    assert result.outcome is not Outcome.PASS
    assert "better than chance" in result.summary
    assert result.evidence["blocking" if result.outcome is Outcome.INCONCLUSIVE else "alerts"]


def test_a_set_with_more_frauds_than_alerts_still_tells_ranking_from_chance() -> None:
    rng = np.random.default_rng(0)
    labels = [1.0] * 1000 + [0.0] * 1000
    good = [*rng.normal(2, 1, 1000).tolist(), *rng.normal(0, 1, 1000).tolist()]
    bad = {"at random": rng.normal(0, 1, 2000).tolist(), "upside down": [-s for s in good], "constant": [0.0] * 2000}
    for name, scores in bad.items():
        found = quality(QualityEvidence(labels, scores, good))
        assert found.outcome is not Outcome.PASS, name
    assert quality(QualityEvidence(labels, good)).outcome is Outcome.PASS


def test_a_recall_that_the_budget_bounds_shows_no_difference() -> None:
    """With as many frauds as others, 0.5 % of the rows hold 1 % of the frauds at most."""
    rng = np.random.default_rng(0)
    labels = [1.0] * 1000 + [0.0] * 1000
    good = [*rng.normal(2, 1, 1000).tolist(), *rng.normal(0, 1, 1000).tolist()]
    for candidate in (good, rng.normal(0, 1, 2000).tolist(), [-score for score in good]):
        result = quality(QualityEvidence(labels, candidate, good))
        assert (result.outcome, result.evidence["blocking"]) == (Outcome.INCONCLUSIVE, True)
        assert "no release can catch more than 1.0% of the frauds" in result.summary


def test_a_champion_at_the_bound_of_the_budget_hides_what_else_is_missed() -> None:
    result = judged(200, 200)
    assert result.outcome is Outcome.INCONCLUSIVE
    assert "no release can catch more than 66.7% of the frauds" in result.summary
    assert judged(185, 185).outcome is Outcome.PASS


def test_a_champion_that_catches_little_lets_nothing_pass() -> None:
    little = judged(58, 58)
    assert (little.outcome, little.evidence["blocking"]) == (Outcome.INCONCLUSIVE, True)
    assert "The champion catches 19.3% of 300 frauds" in little.summary
    assert judged(58, 58, margin=0.02).outcome is Outcome.PASS


def test_a_budget_that_every_row_is_within_says_nothing() -> None:
    assert judged(180, 180, budget=1.0).outcome is Outcome.INCONCLUSIVE


def test_copies_of_rows_and_rows_of_one_entity_count_as_what_they_are() -> None:
    alone = judged(174, 180)
    assert alone.outcome is Outcome.PASS
    copies = [*range(ROWS - FRAUDS), *(ROWS + n // 10 for n in range(FRAUDS))]
    clustered = judged(174, 180, clusters=copies)
    assert clustered.evidence["design_effect"] > 3
    assert clustered.outcome is Outcome.INCONCLUSIVE
    assert clustered.evidence["frauds_needed"] > FRAUDS
    assert judged(174, 180, clusters=list(range(ROWS))).evidence["design_effect"] == pytest.approx(1.0, abs=0.01)


def test_a_comparison_without_differences_counts_copies_once() -> None:
    result = judged(180, 180, clusters=[0] * ROWS)
    assert result.evidence["design_effect"] == FRAUDS
    assert result.outcome is Outcome.INCONCLUSIVE


def test_the_live_rate_of_a_threshold_is_as_uncertain_as_its_rows_are_few() -> None:
    # By the quantiles of the beta distribution with k and n - k + 1, from tables.
    assert live_rate(2, 400) == pytest.approx((0.000606, 0.013850), abs=2e-6)
    assert live_rate(100, 20_000) == pytest.approx((0.004070, 0.006023), abs=2e-6)
    assert live_rate(0, 400) == pytest.approx((0.0, 1 - 0.025 ** (1 / 400)))


def test_a_threshold_from_few_rows_says_how_uncertain_it_is() -> None:
    labels = [1.0] * 40 + [0.0] * 360
    scores = [*np.linspace(0.6, 0.9, 40).tolist(), *np.linspace(0.0, 0.5, 360).tolist()]
    few = quality(QualityEvidence(labels, scores, budget=0.01))
    assert few.evidence["live_rate"] == pytest.approx([0.00273, 0.02176], abs=1e-5)
    assert "rests on 4 of 400 rows: between 0.27% and 2.18% of live rows may alert (95%)" in few.summary
    assert "The threshold rests on" not in judged(180, 180).summary
    fixed = quality(QualityEvidence(labels, scores, budget=0.01, ranked=False))
    assert "The threshold rests on" not in fixed.summary


def test_a_threshold_from_tied_rows_says_how_many_alert() -> None:
    labels = [1.0] * 40 + [0.0] * 360
    tied = [*[0.9] * 10, *[0.8] * 40, *np.linspace(0.0, 0.5, 350).tolist()]
    result = quality(QualityEvidence(labels, tied, budget=0.1))
    assert "Rows share scores, so only 10 of the 40 that the budget allows alert." in result.summary
    assert result.evidence["alerts"] == 10


@pytest.mark.parametrize(
    ("live", "told"),
    [
        (None, False),
        ((9_000, 9), False),
        ((100_000, 1_000), False),
        ((100_000, 1_300), False),
        ((100_000, 300), True),
        ((100_000, 2_000), True),
    ],
)
def test_a_champion_whose_live_alert_rate_is_not_that_of_the_evaluation_rows_is_told_of(live, told) -> None:
    scores = sets(180)
    labels = [0.0] * (ROWS - FRAUDS) + [1.0] * FRAUDS
    result = quality(QualityEvidence(labels, scores, scores, budget=0.01, live=live))
    assert ("the evaluation rows differ from live traffic" in result.summary) == told
    assert result.evidence["champion_live_rate"] == (live and live[1] / live[0])


def test_one_of_two_frauds_by_chance_is_not_shown_and_more_frauds_are_asked_for() -> None:
    labels = [1.0, 1.0] + [0.0] * 198
    scores = [0.99, *np.linspace(0, 0.9, 199).tolist()]
    result = quality(QualityEvidence(labels, scores, budget=0.1))
    assert (result.outcome, result.evidence["blocking"]) == (Outcome.INCONCLUSIVE, True)
    assert result.evidence["by_chance"] == pytest.approx(1 - (180 * 179) / (200 * 199))
    assert "An evaluation set with more frauds is needed." in result.summary


def test_a_set_too_small_for_one_alert_says_how_many_rows_it_takes() -> None:
    result = quality(QualityEvidence([1.0, 0.0] * 20, np.linspace(0, 1, 40).tolist()))
    assert (result.outcome, result.evidence["blocking"]) == (Outcome.INCONCLUSIVE, True)
    assert (
        "allows no alert among 40 labelled rows. The evaluation set needs at least 200 labelled rows." in result.summary
    )


def test_the_tail_by_chance_is_the_hypergeometric_one() -> None:
    # By hand: 5 of 10 are cases, 4 are drawn; at least 3 cases: (10 * 5 + 5) / 210.
    assert by_chance(10, 5, 4, 3) == pytest.approx(55 / 210)
    assert by_chance(10, 5, 4, 0) == pytest.approx(1.0)
    assert by_chance(10, 8, 4, 2) == pytest.approx(1.0)  # two are cases whatever is drawn


def test_the_threshold_spends_the_budget() -> None:
    scores = [i / 1000 for i in range(1000)]
    assert alert_threshold(scores, 0.005) == 0.995
    assert alert_threshold(scores, 1.0) == 0.0


def test_rows_with_one_score_alert_together_or_not_at_all() -> None:
    assert alert_threshold([0.9, 0.8, 0.8, 0.1], 0.5) == 0.9
    assert alert_threshold([0.9, 0.8, 0.8, 0.1], 0.75) == 0.8
    assert alert_threshold([0.5, 0.5], 0.5) == math.nextafter(0.5, 1.0)
    assert alert_threshold([0.5, 0.4], 0.0) == math.nextafter(0.5, 1.0)


def test_rows_without_a_score_count_but_never_alert() -> None:
    assert alert_threshold([None, math.nan, 0.2, 0.9], 0.25) == 0.9
    for empty in ([], [None], [math.nan]):
        with pytest.raises(InvalidInput):
            alert_threshold(empty, 0.1)
    with pytest.raises(InvalidInput):
        alert_threshold([0.5], 1.5)


@given(
    st.lists(st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=60),
    st.floats(0, 1),
)
def test_the_budget_is_never_exceeded(scores: list[float | None], budget: float) -> None:
    if all(score is None for score in scores):
        return
    threshold = alert_threshold(scores, budget)
    alerts = sum(score is not None and score >= threshold for score in scores)
    assert alerts <= budget * len(scores) + 1e-6


def test_a_score_that_is_cut_off_at_its_upper_end_is_not_called_a_label() -> None:
    result = judged(180, None, candidate=[min(0.9, n / ROWS) for n in range(ROWS)])
    assert (result.outcome, result.evidence["blocking"]) == (Outcome.INCONCLUSIVE, True)
    assert "Is the score rounded, or cut off at its upper end?" in result.summary
    assert "labels, not scores" not in result.summary
