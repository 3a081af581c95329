"""XGBoost's C interface gives what `inplace_predict` gives."""

import numpy as np
import pytest

xgboost = pytest.importorskip("xgboost")

from serinus_runtime.model.boosting import dense_predict  # noqa: E402


def trained(objective, classes):
    random = np.random.default_rng(3)
    rows = random.normal(size=(300, 5))
    labels = random.integers(0, classes, 300)
    extra = {"num_class": classes} if classes > 2 else {}
    return xgboost.train({"objective": objective, "max_depth": 3, **extra}, xgboost.DMatrix(rows, label=labels), 10)


@pytest.mark.parametrize(("objective", "classes"), [("binary:logistic", 2), ("multi:softprob", 3)])
@pytest.mark.parametrize("kind", ["float64", "float32"])
def test_predictions_are_the_same_numbers_with_missing_values_and_for_any_number_of_rows(objective, classes, kind):
    booster = trained(objective, classes)
    predict = dense_predict(booster)
    assert predict is not None
    rows = np.random.default_rng(4).normal(size=(40, 5)).astype(kind)
    rows[::3, 2] = np.nan
    for batch in (rows, rows[:1], rows[::2]):
        expected = booster.inplace_predict(batch)
        found = predict(batch)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_an_answer_stays_what_it_was_when_the_next_one_is_asked_for():
    booster = trained("binary:logistic", 2)
    predict = dense_predict(booster)
    assert predict is not None
    rows = np.random.default_rng(5).normal(size=(2, 5))
    first = predict(rows[:1])
    kept = first.copy()
    predict(rows[1:])
    np.testing.assert_array_equal(first, kept)


def test_a_matrix_that_xgboost_cannot_read_is_an_error_and_not_a_score():
    predict = dense_predict(trained("binary:logistic", 2))
    assert predict is not None
    with pytest.raises(ValueError, match="refused"):
        predict(np.zeros((1, 5), dtype="complex128"))
