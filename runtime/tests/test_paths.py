"""The shorter ways to predict, on models logged by ordinary MLflow code: proven, or not used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost
from mlflow.models import infer_signature
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from serinus_runtime.artifact.loading import Loaded
from serinus_runtime.artifact.signature import Column, Param, Signature
from serinus_runtime.base.errors import ModelFailure
from serinus_runtime.model.model import Model
from serinus_runtime.values.payload import Table

NUMBERS = ["amount", "age", "distance"]


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    random = np.random.default_rng(7)
    frame = pd.DataFrame(random.normal(size=(300, 3)), columns=NUMBERS)
    frame["country"] = random.choice(["FR", "DE", "IT"], size=300)
    frame["hour"] = random.integers(0, 24, size=300)
    frame["fraud"] = (frame["amount"] + frame["age"] > 1).astype("int64")
    return frame


def sklearn_numbers(data: pd.DataFrame, path: Path) -> None:
    inputs = data[NUMBERS]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs, data["fraud"])
    mlflow.sklearn.save_model(
        model, path, pyfunc_predict_fn="predict_proba", input_example=inputs.head(3),
        signature=infer_signature(inputs, model.predict_proba(inputs)), pip_requirements=["scikit-learn"],
    )  # fmt: skip


def sklearn_mixed(data: pd.DataFrame, path: Path) -> None:
    inputs = data[[*NUMBERS, "country", "hour"]]
    columns = ColumnTransformer([("n", StandardScaler(), [*NUMBERS, "hour"]), ("c", OneHotEncoder(), ["country"])])
    model = make_pipeline(columns, LogisticRegression()).fit(inputs, data["fraud"])
    mlflow.sklearn.save_model(
        model, path, pyfunc_predict_fn="predict_proba", input_example=inputs.head(3),
        signature=infer_signature(inputs, model.predict_proba(inputs)), pip_requirements=["scikit-learn"],
    )  # fmt: skip


def xgboost_classifier(data: pd.DataFrame, path: Path) -> None:
    inputs = data[[*NUMBERS, "hour"]]
    model = xgboost.XGBClassifier(n_estimators=10).fit(inputs, data["fraud"])
    mlflow.xgboost.save_model(
        model, path, input_example=inputs.head(3), signature=infer_signature(inputs, model.predict(inputs)),
        pip_requirements=["xgboost-cpu"],
    )  # fmt: skip


def xgboost_booster(data: pd.DataFrame, path: Path) -> None:
    inputs = data[NUMBERS]
    matrix = xgboost.DMatrix(inputs, data["fraud"])
    model = xgboost.train({"objective": "binary:logistic"}, matrix, 10)
    mlflow.xgboost.save_model(
        model, path, input_example=inputs.head(3), signature=infer_signature(inputs, model.predict(matrix)),
        pip_requirements=["xgboost-cpu"],
    )  # fmt: skip


KINDS = [
    (sklearn_numbers, NUMBERS, "matrix"),
    (sklearn_mixed, [*NUMBERS, "country", "hour"], "direct"),
    (xgboost_classifier, [*NUMBERS, "hour"], "matrix"),
    (xgboost_booster, NUMBERS, "matrix"),
]


@pytest.mark.parametrize(("save", "names", "way"), KINDS)
def test_the_quickest_proven_way_gives_mlflows_own_answers(
    data: pd.DataFrame, tmp_path: Path, save: Callable[[pd.DataFrame, Path], None], names: list[str], way: str
) -> None:
    save(data, tmp_path / "m")
    model = Model.read(tmp_path / "m")
    assert model.way == way
    assert model.notes == []
    rows = data[names].to_numpy(dtype=object).tolist()
    answer = model.predict(model.bind(Table(tuple(names), rows)))
    expected = mlflow.pyfunc.load_model(str(tmp_path / "m")).predict(data[names])
    assert type(answer.result) is type(expected)
    np.testing.assert_allclose(np.asarray(answer.result), np.asarray(expected), rtol=1e-9)
    alone = model.predict(model.bind(Table(tuple(names), rows[:1]))).result
    np.testing.assert_allclose(np.asarray(alone)[0], np.asarray(expected)[0], rtol=1e-9)


@pytest.mark.parametrize(("save", "names", "way"), KINDS)
def test_what_was_proven_once_is_used_by_the_next_worker_without_a_proof(
    data: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    save: Callable[[pd.DataFrame, Path], None],
    names: list[str],
    way: str,
) -> None:
    save(data, tmp_path / "m")
    first = Model.read(tmp_path / "m")
    monkeypatch.setattr("serinus_runtime.model.model.choose", lambda *_: pytest.fail("proven again"))
    second = Model.read(tmp_path / "m", proven=first.proven)
    assert (second.way, second.proven) == (way, first.proven)
    rows = data[names].to_numpy(dtype=object).tolist()
    answers = [model.predict(model.bind(Table(tuple(names), rows))).result for model in (first, second)]
    np.testing.assert_array_equal(*map(np.asarray, answers))


@pytest.mark.parametrize("name", ["", "matrix-labels", "data matrix-7", "data x", "data data"])
def test_a_way_that_goes_by_no_such_name_is_proven_anew(data: pd.DataFrame, tmp_path: Path, name: str) -> None:
    sklearn_numbers(data, tmp_path / "m")
    assert Model.read(tmp_path / "m", proven=name).proven == "data matrix-model"


def test_what_the_public_way_refuses_is_not_answered_by_the_shorter_one(data: pd.DataFrame, tmp_path: Path) -> None:
    sklearn_numbers(data, tmp_path / "m")
    model = Model.read(tmp_path / "m")
    with pytest.raises(ModelFailure, match="ValueError"):
        model.predict(model.bind(Table(tuple(NUMBERS), [[None, 1.0, 2.0]])))


def test_an_example_in_the_older_format_warms_up_as_well(data: pd.DataFrame, tmp_path: Path) -> None:
    xgboost_booster(data, tmp_path / "m")
    (tmp_path / "m" / "serving_input_example.json").unlink()
    assert Model.read(tmp_path / "m").way == "matrix"
    shutil.rmtree(tmp_path / "m")
    xgboost_booster(data, tmp_path / "m")
    for name in ("serving_input_example.json", "input_example.json"):
        (tmp_path / "m" / name).unlink()
    model = Model.read(tmp_path / "m")
    assert model.way == "mlflow"
    assert any("no input example" in note for note in model.notes)


SIGNATURE = Signature((Column("amount", "double"), Column("count", "long")))
EXAMPLE = {"dataframe_split": {"columns": ["amount", "count"], "data": [[1.5, 2], [2.5, 3]]}}


def total(data: Any) -> Any:
    values = data.to_numpy() if isinstance(data, pd.DataFrame) else data
    return values.sum(axis=1)


def warmed(public: Callable[[Any], Any], direct: Callable[[Any], Any]) -> Model:
    model = Model(Loaded(public, direct, direct, "mlflow.sklearn"), SIGNATURE)
    model.warm_up(EXAMPLE)
    return model


def test_a_way_that_differs_on_rows_near_the_example_is_not_used() -> None:
    def clipped(data: Any) -> Any:
        return np.minimum(total(data), 5.4)

    model = warmed(total, clipped)
    assert model.way == "mlflow"
    assert any("it is used" in note for note in model.notes)


def test_a_way_that_differs_on_missing_numbers_only_is_not_used() -> None:
    model = warmed(total, lambda data: np.nan_to_num(total(data)))
    assert model.way == "mlflow"


def test_a_model_that_needs_column_names_gets_a_data_frame() -> None:
    def by_name(data: Any) -> Any:
        return data["amount"].to_numpy()

    assert warmed(by_name, by_name).way == "direct"


def test_whole_numbers_that_a_matrix_cannot_hold_go_as_a_data_frame() -> None:
    kinds: list[type] = []
    model = LinearRegression().fit(pd.DataFrame({"amount": [1.0, 2.0, 4.0], "count": [1, 5, 2]}), [1.0, 2.0, 3.0])

    def kept(data: Any) -> Any:
        kinds.append(type(data))
        return model.predict(data)

    served = Model(Loaded(model.predict, kept, model, "mlflow.sklearn"), SIGNATURE)
    served.warm_up(EXAMPLE)
    assert served.way == "matrix"
    for count, kind in ((2**53, np.ndarray), (2**53 + 1, pd.DataFrame)):
        served.predict(served.bind(Table(("amount", "count"), [[0.0, count]])))
        assert kinds[-1] is kind


def test_a_model_with_params_is_asked_by_its_public_way() -> None:
    def public(data: Any, params: Any = None) -> Any:
        return total(data) * (params or {}).get("factor", 1)

    signature = Signature(SIGNATURE.columns, params=(Param("factor", "double"),))
    model = Model(Loaded(public, total, total, "tests"), signature)
    model.warm_up(EXAMPLE)
    assert model.way == "mlflow"
    bound = model.bind(Table(None, [[1.0, 2]]))
    assert model.predict(bound, {"factor": 10}).result.tolist() == [30.0]


def test_a_broken_example_is_told_at_load(
    make_artifact: Callable[..., Path], tmp_path: Path, adds_up_code: str
) -> None:
    from serinus_runtime.base.errors import StartFailure

    artifact = make_artifact(tmp_path / "m", adds_up_code)
    for text, says in (
        ("{", "cannot be read"),
        (json.dumps({"dataframe_split": {"columns": ["amount"], "data": [[1]]}}), "'hour' takes long"),
    ):
        (artifact / "serving_input_example.json").write_text(text)
        with pytest.raises(StartFailure, match=says):
            Model.read(artifact)
