"""Columns that may be left out, and features that are categories: compiled, and proven like all else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
from compiling_models import NUMBERS, TEXTS, assert_proven, compile_it, nullable, payments
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.model.compiled import read
from serinus_runtime.trials import prove
from serinus_runtime.values.payload import Table

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return payments()


def test_columns_that_the_model_can_do_without_may_be_left_out(data: pd.DataFrame, tmp_path: Path) -> None:
    artifact = nullable(data, tmp_path, "drop")
    assert_proven(artifact)
    model = read(artifact.parent / "compiled", artifact)
    frame = pd.DataFrame({"amount": [12.5, 400.0], "country": ["FR", None]})
    asked = model.bind(Table(("country", "amount"), [["FR", 12.5], [None, 400.0]]))
    np.testing.assert_allclose(
        model.predict(asked).result, mlflow.pyfunc.load_model(str(artifact)).predict(frame), rtol=1e-12
    )
    with pytest.raises(ModelFailure, match="it needs country"):
        model.predict(model.bind(Table(("amount",), [[12.5]])))


def test_an_empty_text_of_csv_is_refused_because_an_imputer_may_tell_it_from_null(
    data: pd.DataFrame, tmp_path: Path
) -> None:
    inputs = data[["amount", "country"]].astype({"country": object})
    inputs.loc[::5, "country"] = None
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    columns = ColumnTransformer([("n", "passthrough", ["amount"]), ("t", texts, ["country"])])
    artifact = compile_it(make_pipeline(columns, LogisticRegression()), inputs, data["fraud"], tmp_path, "predict")
    model = read(artifact.parent / "compiled", artifact)

    def score(country: float | None) -> float:
        return float(model.predict(model.bind(Table(("amount", "country"), [[12.5, country]]))).result[0])

    assert score(None) == pytest.approx(
        float(
            mlflow.pyfunc.load_model(str(artifact)).predict(
                pd.DataFrame({"amount": [12.5], "country": np.array([None], dtype=object)})
            )[0]
        )
    )
    with pytest.raises(RequestError, match="column 'country' takes string: an empty field of CSV was sent"):
        score(math.nan)


def test_columns_that_are_left_out_are_proven_alone_and_together(data: pd.DataFrame, tmp_path: Path) -> None:
    inputs = data[[*NUMBERS, *TEXTS]].astype(dict.fromkeys(TEXTS, object))
    inputs.loc[::5, ["distance", *TEXTS]] = None
    columns = ColumnTransformer([("n", StandardScaler(), ["amount", "age"])])
    artifact = compile_it(make_pipeline(columns, LogisticRegression()), inputs, data["fraud"], tmp_path, "predict")
    assert_proven(artifact)
    found = {tuple(left_out) for left_out in json.loads((tmp_path / "compiled" / "proof.json").read_text())["left_out"]}
    assert {(), (2,), (3,), (4,), (2, 3, 4)} < found
    plan = json.loads((tmp_path / "compiled" / "plan.json").read_text())
    assert [column["instead"] for column in plan["columns"]] == [None, None, [None], [None], [None]]


def test_a_proof_asks_without_the_columns_as_a_caller_does(data: pd.DataFrame, tmp_path: Path) -> None:
    artifact = nullable(data, tmp_path, "drop")
    directory = tmp_path / "compiled"
    plan = json.loads((directory / "plan.json").read_text())
    plan["columns"][2]["instead"] = None
    (directory / "plan.json").write_text(json.dumps(plan))
    left_out = json.loads((directory / "proof.json").read_text())["left_out"]
    assert prove.prove(directory, artifact)["refusals"] == [i for i, columns in enumerate(left_out) if columns]


# --- categories ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shops(data: pd.DataFrame) -> pd.DataFrame:
    """`kind`: whole numbers; `code`: the same, sometimes missing; `country`: texts, sometimes missing. Trees part them
    into sets of several."""
    random = np.random.default_rng(1)
    frame = data[["amount", "country"]].assign(kind=random.integers(0, 60, 400), code=random.integers(0, 9, 400) * 1.0)
    risky = (frame["kind"] % 7 < 3) & (frame["code"] % 3 > 0) | (frame["country"] == "IT")
    frame.loc[::8, "code"] = np.nan
    frame.loc[::9, "country"] = None
    return frame.assign(fraud=risky.astype(int))


def light(*categories: int) -> Any:
    """With sets of several categories, which LightGBM makes of so few rows only when asked to."""
    sets: dict[str, Any] = {"min_child_samples": 5, "min_data_per_group": 5, "cat_smooth": 1}
    return lightgbm.LGBMClassifier(n_estimators=20, verbose=-1, categorical_feature=list(categories), **sets)


@pytest.mark.parametrize("flavor", ["sklearn", "lightgbm"])
@pytest.mark.parametrize("missing", [True, False])
def test_lightgbm_with_categories_answers_and_refuses_alike(
    shops: pd.DataFrame, tmp_path: Path, flavor: str, missing: bool
) -> None:
    inputs = shops[["amount", "kind", "code"]]
    model = light(1, 2)
    method = "predict_proba" if flavor == "sklearn" else "predict"
    artifact = compile_it(model, inputs if missing else inputs.fillna(0), shops["fraud"], tmp_path, method, flavor)
    assert "==" in {split["decision_type"] for split in splits_of(model)}
    assert_proven(artifact)


def splits_of(model: Any) -> list[dict[str, Any]]:
    waiting = [tree["tree_structure"] for tree in model.booster_.dump_model()["tree_info"]]
    found = []
    while waiting:
        node = waiting.pop()
        if "decision_type" in node:
            found.append(node)
            waiting += [node["left_child"], node["right_child"]]
    return found


def test_lightgbm_takes_a_category_without_its_fraction(shops: pd.DataFrame, tmp_path: Path) -> None:
    inputs = shops[["amount", "code"]]
    model = light(1)
    artifact = compile_it(model, inputs, shops["fraud"], tmp_path, "predict_proba")
    compiled = read(tmp_path / "compiled", artifact)
    odd = [2.0, 2.9, 3.1, -0.5, 0.0, -1.0, -1.5, 99.0, 2**31 + 2.0, 2**32 + 2.0, 1e300, None]
    frame = pd.DataFrame({"amount": 80.0, "code": np.array(odd, dtype="float64")})
    expected = model.predict_proba(frame)
    assert len(np.unique(expected)) > 4
    np.testing.assert_allclose(compiled.predict_rows([[80.0, code] for code in odd]), expected, atol=1e-15)


def encoded() -> Any:
    texts = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("t", texts, ["country"]), ("n", "passthrough", ["amount", "kind"])])
    return make_pipeline(columns, light(0, 2))


HISTOGRAM = [
    (
        "numbers and texts",
        lambda: HistGradientBoostingClassifier(categorical_features=["country", "code"], max_iter=20),
    ),
    ("by their place", lambda: HistGradientBoostingClassifier(categorical_features=[1, 2], max_iter=20)),
    ("of a regression", lambda: HistGradientBoostingRegressor(categorical_features=["country", "kind"], max_iter=20)),
]


@pytest.mark.parametrize("make", [case[1] for case in HISTOGRAM], ids=[case[0] for case in HISTOGRAM])
def test_histogram_boosting_with_categories_answers_and_refuses_alike(
    shops: pd.DataFrame, tmp_path: Path, make: Callable[[], Any]
) -> None:
    model = make()
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    inputs = shops[["amount", "country", "kind", "code"]]
    inputs = inputs if "country" in np.ravel(model.categorical_features) else inputs.drop(columns="country")
    artifact = compile_it(model, inputs, shops["fraud"], tmp_path, method)
    assert any(tree.nodes["is_categorical"].any() for stage in model._predictors for tree in stage)
    assert_proven(artifact)


def test_histogram_boosting_of_nothing_but_categories_answers_and_refuses_alike(
    shops: pd.DataFrame, tmp_path: Path
) -> None:
    model = HistGradientBoostingClassifier(categorical_features=["country"], max_iter=5)
    assert_proven(compile_it(model, shops[["country"]], shops["fraud"], tmp_path, "predict_proba"))


def test_a_pipeline_that_numbers_texts_for_lightgbm_answers_and_refuses_alike(
    shops: pd.DataFrame, tmp_path: Path
) -> None:
    inputs = shops[["amount", "country", "kind"]]
    assert_proven(compile_it(encoded(), inputs, shops["fraud"], tmp_path, "predict_proba"))
