"""A shorter way to predict is used where the model's own making is a reason for it, and answers to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost
from mlflow.models import infer_signature
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from serinus_runtime.artifact.loading import Loaded
from serinus_runtime.artifact.signature import Column, Signature
from serinus_runtime.base.errors import RequestError
from serinus_runtime.model.model import Model
from serinus_runtime.model.paths import EXTREMES, variants
from serinus_runtime.model.shortcuts import matrix_shortcuts, passes_enforcement, signs_of
from serinus_runtime.values.frames import Frames
from serinus_runtime.values.payload import Table

NAMES = list("abcd")
ODD = [0.0, -0.0, -999.0, -998.0, 1e-45, 5e-324, 16777217.0, float(2**31), float(2**53), 3e38, None]


def numbers(kind: str = "float64") -> pd.DataFrame:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(400, 4)), columns=NAMES)
    return (frame * (1000 if kind == "int64" else 1)).astype(kind)


def label(frame: pd.DataFrame) -> pd.Series:
    noise = np.random.default_rng(1).normal(size=len(frame)) * frame["a"].std()
    return (frame["a"] + frame["b"] * 0.5 + noise > 0).astype(int)


def saved(model: Any, frame: pd.DataFrame, path: Path, flavor: str, method: str = "predict") -> Model:
    how = {"pyfunc_predict_fn": method, "serialization_format": "cloudpickle"} if flavor == "sklearn" else {}
    given = xgboost.DMatrix(frame) if isinstance(model, xgboost.Booster) else frame
    getattr(mlflow, flavor).save_model(
        model,
        path,
        signature=infer_signature(frame, getattr(model, method)(given)),
        input_example=frame.head(5),
        pip_requirements=["scikit-learn"],
        **how,
    )
    return Model.read(path)


def stopped_early(**how: Any) -> Any:
    frame = numbers()
    model = xgboost.XGBClassifier(n_estimators=200, early_stopping_rounds=5, max_depth=4, **how)
    wanted = label(frame)
    model.fit(frame[:300], wanted[:300], eval_set=[(frame[300:], wanted[300:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    return model


def with_signs(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(a=frame["a"].where(frame.index % 3 > 0, -999.0))


def fitted(model: Any, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame) -> Callable[[], Any]:
    return lambda: model.fit(change(numbers()), label(numbers()))


def booster() -> Any:
    return xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(numbers(), label(numbers())), 10)


KINDS = [
    ("labels of a model that was stopped early", stopped_early, "xgboost", "predict", "matrix-labels"),
    ("its probabilities", stopped_early, "sklearn", "predict_proba", "matrix-model"),
    (
        "labels where a number stands for a missing one",
        fitted(xgboost.XGBClassifier(n_estimators=20, missing=-999.0), with_signs),
        "xgboost",
        "predict",
        "matrix-labels",
    ),
    (
        "numbers where a number stands for a missing one",
        fitted(xgboost.XGBRegressor(n_estimators=20, missing=-999.0), with_signs),
        "xgboost",
        "predict",
        "matrix-values",
    ),
    ("a booster", booster, "xgboost", "predict", "matrix-booster"),
    (
        "several classes",
        lambda: xgboost.XGBClassifier(n_estimators=5).fit(numbers(), np.arange(400) % 3),
        "xgboost",
        "predict",
        "matrix-model",
    ),
    ("dart", fitted(xgboost.XGBClassifier(n_estimators=5, booster="dart")), "xgboost", "predict", "matrix-model"),
    ("lightgbm", fitted(lightgbm.LGBMClassifier(n_estimators=10, verbose=-1)), "lightgbm", "predict", "matrix-model"),
    (
        "a pipeline",
        fitted(make_pipeline(SimpleImputer(missing_values=-999.0), StandardScaler(), LogisticRegression())),
        "sklearn",
        "predict_proba",
        "matrix-model",
    ),
    ("trees", fitted(RandomForestClassifier(5)), "sklearn", "predict_proba", "matrix-model"),
]


@pytest.mark.parametrize(
    ("make", "flavor", "method", "proven"), [kind[1:] for kind in KINDS], ids=[k[0] for k in KINDS]
)
def test_a_shorter_way_answers_what_mlflow_answers_to_the_last_bit(
    tmp_path: Path, make: Callable[[], Any], flavor: str, method: str, proven: str
) -> None:
    model = saved(make(), numbers(), tmp_path / "m", flavor, method)
    assert proven in model.proven.split()
    public = mlflow.pyfunc.load_model(str(tmp_path / "m"))
    random = np.random.default_rng(5).normal(size=(1000, 4))
    odd = [[value, 0.1, 0.2, 0.3] for value in ODD] + [[0.1, value, value, 0.3] for value in ODD]
    for rows in (random.tolist(), odd):
        for batch in (rows, *([row] for row in rows[:40])):
            frame = pd.DataFrame(batch, columns=NAMES).astype("float64")
            try:
                expected = public.predict(frame)
            except ValueError:  # what scikit-learn refuses, as null
                continue
            found = model.predict(model.bind(Table(tuple(NAMES), batch))).result
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype


def subclass() -> Any:
    class Doubtful(LogisticRegression):
        def predict(self, X: Any) -> Any:  # noqa: N803
            return 1 - super().predict(X)

    return Doubtful()


def renamed() -> Any:
    kind = type("LogisticRegression", (LogisticRegression,), {"__module__": LogisticRegression.__module__})
    return kind()


def patched() -> Any:
    model = LogisticRegression()
    model.predict = lambda data: np.zeros(len(data))  # type: ignore[method-assign]
    return model


hashing = FunctionTransformer(lambda d: (d * 2654435761) % 1000)
WITHOUT = [
    ("whole-number arithmetic", make_pipeline(hashing, LinearRegression()), "int64"),
    ("whole numbers that nothing casts first", LinearRegression(), "int64"),
    ("a step that may look at names", make_pipeline(hashing, LinearRegression()), "float64"),
    ("a subclass", subclass(), "float64"),
    ("a class of the same name", renamed(), "float64"),
    ("steps that hand on frames", make_pipeline(StandardScaler(), LinearRegression()).set_output(transform="pandas"),
     "float64"),
    ("labels with nothing behind them", KMeans(3), "float64"),
    ("a model within another", CalibratedClassifierCV(LogisticRegression(), cv=2), "float64"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "kind"), [case[1:] for case in WITHOUT], ids=[case[0] for case in WITHOUT])
def test_without_a_reason_the_columns_keep_their_types(model: Any, kind: str) -> None:
    frame = numbers(kind)
    model.fit(frame, label(frame))
    columns = [Column(name, "long" if kind == "int64" else "double") for name in NAMES]
    assert matrix_shortcuts(Loaded(model.predict, model.predict, model, "mlflow.sklearn"), columns) == []


def test_a_method_of_the_objects_own_is_no_reason() -> None:
    frame = numbers()
    model = patched().fit(frame, label(frame))
    loaded = Loaded(model.predict, model.predict, model, "mlflow.sklearn")
    assert matrix_shortcuts(loaded, [Column(name, "double") for name in NAMES]) == []


@pytest.mark.parametrize("model", [make_pipeline(MinMaxScaler(), LinearRegression()), HistGradientBoostingClassifier()])
def test_whole_numbers_go_as_a_matrix_where_the_first_step_casts_them_itself(model: Any) -> None:
    frame = numbers("int64")
    model.fit(frame, label(frame))
    loaded = Loaded(model.predict, model.predict, model, "mlflow.sklearn")
    columns = [Column(name, "long") for name in NAMES]
    (shortcut,) = matrix_shortcuts(loaded, columns)
    frames = Frames(columns)
    for rows in ([[1, 2, 3, 4]], [[2**24 + 1, -(2**31), 2**53, -1]]):
        np.testing.assert_array_equal(shortcut.call(frames.matrix(rows)), model.predict(frames.frame(rows)))


def test_columns_in_another_order_than_in_training_are_no_reason() -> None:
    model = LinearRegression().fit(numbers(), label(numbers()))
    loaded = Loaded(model.predict, model.predict, model, "mlflow.sklearn")
    assert matrix_shortcuts(loaded, [Column(name, "double") for name in reversed(NAMES)]) == []


def test_hashed_ids_are_answered_as_mlflow_answers_them(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"merchant": random.integers(1, 5000, 300), "card": random.integers(1, 5000, 300)})
    model = make_pipeline(hashing, LinearRegression()).fit(frame, random.uniform(size=300))
    served = saved(model, frame, tmp_path / "m", "sklearn")
    public = mlflow.pyfunc.load_model(str(tmp_path / "m"))
    assert served.way == "direct"
    for pair in ((17, 23), (7000123, 30000000), (4000123456789, 5500001234567890)):
        found = served.predict(served.bind(Table(("merchant", "card"), [list(pair)]))).result
        np.testing.assert_array_equal(found, public.predict(pd.DataFrame([pair], columns=["merchant", "card"])))


def test_labels_are_checked_by_the_scores_behind_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All labels of the rows agree; the scores do not."""
    frame = numbers()
    model = stopped_early()
    mlflow.xgboost.save_model(
        model, tmp_path / "m", signature=infer_signature(frame, model.predict(frame)),
        input_example=pd.DataFrame([[3.0] * 4], columns=NAMES), pip_requirements=["xgboost-cpu"],
    )  # fmt: skip
    monkeypatch.setattr("serinus_runtime.model.shortcuts.best_rounds", lambda _: None)
    assert "matrix-labels" not in Model.read(tmp_path / "m").proven


def test_what_a_model_takes_for_missing_is_among_the_rows() -> None:
    pipeline = make_pipeline(SimpleImputer(missing_values=-7.0), xgboost.XGBClassifier(missing=-999.0))
    assert signs_of(pipeline) == [-7.0, -999.0]
    rows = variants(Frames([Column("a", "double"), Column("b", "long")]), [[0.5, 3]], signs_of(pipeline))
    assert [[-7.0, -7]] in rows
    assert [[-999.0, -999]] in rows


def test_ends_of_types_and_of_nanoseconds_are_among_the_rows() -> None:
    columns = [Column("a", "double"), Column("b", "long"), Column("c", "integer"), Column("t", "datetime")]
    rows = [row for batch in variants(Frames(columns), [[0.5, 3, 4, "2024-01-01"]], EXTREMES) for row in batch]
    assert {2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)} <= {row[1] for row in rows}
    assert {2**24 + 1, 2**31 - 1} <= {row[2] for row in rows}
    assert 2**31 + 1 not in {row[2] for row in rows}
    assert {5e-324, 1e-45, 1e308} <= {row[0] for row in rows}
    assert {"1677-09-21T00:12:44", "2262-04-11T23:47:16", "2300-01-01T00:00:00"} <= {row[3] for row in rows}


def test_code_of_an_authors_own_is_not_asked_for_extremes() -> None:
    """It may count up to a number that it is given."""
    seen: list[float] = []

    def predict(data: Any) -> Any:
        seen.extend(data["a"].tolist())
        return data["a"].to_numpy()

    served = Model(Loaded(predict, predict, None, "mlflow.pyfunc.model"), Signature((Column("a", "long"),)))
    served.warm_up({"dataframe_split": {"columns": ["a"], "data": [[7]]}})
    assert served.way == "direct"
    assert max(map(abs, seen)) < 10


def test_enforcement_is_passed_over_only_for_types_that_it_leaves_alone() -> None:
    loaded = Loaded(len, len, None, "mlflow.pyfunc.model")
    plain = ("double", "float", "integer", "long", "boolean", "string", "binary", "datetime")
    assert passes_enforcement(loaded, [Column(str(i), kind) for i, kind in enumerate(plain)])
    for kind in ("any", "array", "object", "map"):
        assert not passes_enforcement(loaded, [Column("a", "double"), Column("b", kind)])


class Metadata:
    def _is_type_hint_from_example(self) -> bool:
        return True


class Hinted:
    metadata = Metadata()

    def predict(self, data: Any) -> Any:
        return data


def test_a_model_that_is_given_its_rows_by_type_hints_is_asked_by_mlflow() -> None:
    assert not passes_enforcement(Loaded(Hinted().predict, len, None, "mlflow.pyfunc.model"), [Column("a", "double")])


def test_a_frame_is_what_enforcement_makes_of_it(tmp_path: Path) -> None:
    """Types, names, values and the layout in memory, which the last digits of sums depend on."""
    from mlflow.models.utils import _enforce_schema
    from mlflow.types import ColSpec, Schema

    rows: dict[str, list[Any]] = {
        "double": [1.5, None, -0.0], "float": [0.1, None, 3.0], "integer": [1, -5, 7], "long": [1, 2**60, -3],
        "boolean": [True, None, False], "string": ["a", None, "b"],
        "datetime": ["2024-01-02T03:04:05", None, "1970-01-01T00:00:00"],
    }  # fmt: skip
    together = [(kind,) for kind in rows] + [tuple(rows)] + [("double", "double"), ("double", "long")]
    for kinds in together:
        columns = [Column(f"{kind} {i}", kind, required=False) for i, kind in enumerate(kinds)]
        frame = Frames(columns).frame([list(row) for row in zip(*(rows[kind] for kind in kinds), strict=True)])
        schema = Schema([ColSpec(column.type, column.name, required=False) for column in columns])
        enforced = _enforce_schema(frame, schema)
        pd.testing.assert_frame_equal(frame, enforced, check_exact=True)
        assert frame.to_numpy().flags.f_contiguous == enforced.to_numpy().flags.f_contiguous


def test_a_matrix_holds_what_numpy_makes_of_the_frame() -> None:
    for kinds in (("double", "double"), ("double", "long"), ("float", "float"), ("integer", "double")):
        frames = Frames([Column(str(i), kind) for i, kind in enumerate(kinds)])
        rows = [[1, 2], [3, 2**31 - 1], [-5, 0]]
        matrix, array = frames.matrix(rows), np.asarray(frames.frame(rows))
        np.testing.assert_array_equal(matrix, array)
        assert (matrix.dtype, matrix.strides) == (array.dtype, array.strides)


def test_a_number_beyond_float32_is_refused_by_a_booster_as_by_its_own_predict(tmp_path: Path) -> None:
    from serinus_runtime.base.errors import ModelFailure

    served = saved(booster(), numbers(), tmp_path / "m", "xgboost")
    assert served.way == "matrix"
    with pytest.raises(ModelFailure, match="XGBoostError"):
        served.predict(served.bind(Table(tuple(NAMES), [[1e39, 0.0, 0.0, 0.0]])))
    with pytest.raises(RequestError):
        served.predict(served.bind(Table(tuple(NAMES), [["x", 0.0, 0.0, 0.0]])))
