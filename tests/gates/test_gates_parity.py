"""A compiled model passes only where it answers, refuses and decides as the model does."""

from __future__ import annotations

from typing import Any

import pytest

from serinus.core.examination import Outcome
from serinus.gates import ParityEvidence, parity

SCORES = (0.1, 0.2, 0.3, None, 0.9)


def evidence(**changed: Any) -> ParityEvidence:
    return ParityEvidence(**{"rows": 100, "own": 5, "original": SCORES, "compiled": SCORES, "budget": 0.2, **changed})


def test_no_difference_passes_and_says_on_how_many_rows() -> None:
    result = parity(evidence(largest=3e-16))
    assert result.outcome is Outcome.PASS
    assert result.summary == (
        "100 rows were compared, 5 of which are the model's own: all are answered and decided alike (largest "
        "difference 3e-16)."
    )


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"differing": [7, 9]}, "2 get a different answer (rows 7, 9)"),
        ({"refusals": [60]}, "1 are rejected by only one of the two (rows 60)"),
        ({"alone": list(range(9))}, "9 get a different answer in a batch than alone (rows 0, 1, 2, 3, 4, ...)"),
    ],
)
def test_one_row_that_differs_fails_and_is_named(changed: dict[str, Any], says: str) -> None:
    result = parity(evidence(**changed))
    assert result.outcome is Outcome.FAIL
    assert says in result.summary


def test_a_score_on_the_other_side_of_the_specs_threshold_fails_however_small_the_difference() -> None:
    moved = (0.1, 0.2, 0.3 + 1e-12, None, 0.9)
    threshold = 0.3 + 1e-13
    result = parity(evidence(compiled=moved, threshold=threshold))
    assert result.outcome is Outcome.FAIL
    assert result.evidence["flipped"] == [2]
    assert parity(evidence(compiled=moved, threshold=0.5)).outcome is Outcome.PASS


def test_without_a_threshold_each_gets_its_own_and_the_same_rows_must_alert() -> None:
    moved = tuple(None if score is None else score + 1e-9 for score in SCORES)
    assert parity(evidence(compiled=moved)).outcome is Outcome.PASS
    swapped = (0.1, 0.2, 0.9, None, 0.3)
    assert parity(evidence(compiled=swapped)).evidence["flipped"] == [2, 4]


def test_a_score_that_only_one_of_the_two_has_is_another_decision() -> None:
    without = (0.1, 0.2, 0.3, None, None)
    assert parity(evidence(compiled=without, threshold=0.5)).evidence["flipped"] == [4]


def test_rows_without_any_score_decide_nothing() -> None:
    assert parity(evidence(original=(None,), compiled=(None,))).outcome is Outcome.PASS
