"""Which of what MLflow's protocol answers is the score: the worker's own rule."""

from __future__ import annotations

from typing import Any

import pytest

from serinus.targets.asking.scorer import _chosen


@pytest.mark.parametrize(
    ("predictions", "score_output", "scores"),
    [
        ([0.25, 0.5], None, [0.25, 0.5]),
        ([[0.25, 0.75], [0.5, 0.5]], None, [0.75, 0.5]),
        ([{"label": "fraud", "score": 0.5}], None, [None]),
        ([{"label": "fraud", "score": 0.5}], "score", [0.5]),
        ([{"score": 0.5, "other": 1.0}, {"other": 1.0}], None, [0.5, None]),
        ({"score": [0.5, 1.0], "rank": [1, 2]}, None, [0.5, 1.0]),
        ({"score": [[0.25, 0.5]], "rank": [1]}, "score", [0.5]),
        (["fraud", "ok"], None, [None, None]),
    ],
)
def test_the_score_of_a_row_is_the_value_under_its_name_or_under_the_first(
    predictions: Any, score_output: str | None, scores: list[float | None]
) -> None:
    rows = predictions if isinstance(predictions, list) else []
    assert _chosen(predictions, score_output, rows) == scores
