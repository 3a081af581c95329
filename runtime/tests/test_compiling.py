"""Models of every kind that can be compiled, logged by ordinary MLflow code: the graph answers and refuses alike."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost
from compiling_models import NUMBERS, TEXTS, assert_proven, compile_it, mixed, nullable, one_hot, payments
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OrdinalEncoder, StandardScaler

from serinus_runtime.artifact.loading import example_of
from serinus_runtime.artifact.signature import Column, read_mlmodel
from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.compiling.graph import Demands, Unsupported
from serinus_runtime.compiling.rows import edge_rows
from serinus_runtime.model.compiled import Damaged, digest_of, read
from serinus_runtime.trials import prove
from serinus_runtime.values.payload import Table

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return payments()


SKLEARN = [
    ("logistic regression", lambda: make_pipeline(StandardScaler(), LogisticRegression()), "predict_proba", False),
    ("principal components", lambda: make_pipeline(MinMaxScaler(), PCA(2), LogisticRegression()), "predict", False),
    ("ridge", lambda: make_pipeline(StandardScaler(), Ridge()), "predict", False),
    ("random forest", lambda: RandomForestClassifier(10, random_state=0), "predict_proba", False),
    ("forest of a regression", lambda: RandomForestRegressor(10, random_state=0), "predict", False),
    ("gradient boosting", lambda: GradientBoostingClassifier(n_estimators=10), "predict_proba", False),
    ("histogram boosting", lambda: HistGradientBoostingClassifier(max_iter=10), "predict_proba", True),
    ("isolation forest", lambda: IsolationForest(n_estimators=10, random_state=0), "predict", False),
    ("isotonic", lambda: CalibratedClassifierCV(RandomForestClassifier(5), method="isotonic", cv=2), "predict", False),
    ("calibrated", lambda: CalibratedClassifierCV(xgboost.XGBClassifier(n_estimators=5), cv=2), "predict_proba", True),
    ("lightgbm", lambda: lightgbm.LGBMClassifier(n_estimators=10, verbose=-1), "predict_proba", True),
]


@pytest.mark.parametrize(
    ("make", "method", "missing"), [case[1:] for case in SKLEARN], ids=[case[0] for case in SKLEARN]
)
def test_a_model_of_numbers_answers_and_refuses_alike(
    data: pd.DataFrame, tmp_path: Path, make: Callable[[], Any], method: str, missing: bool
) -> None:
    inputs = data[[*NUMBERS, "hour"]]
    artifact = compile_it(make(), inputs if missing else inputs.fillna(0.5), data["fraud"], tmp_path, method)
    assert_proven(artifact)


MIXED = [
    ("one-hot", lambda: mixed(LogisticRegression(max_iter=500), one_hot())),
    ("one-hot that refuses", lambda: mixed(LogisticRegression(max_iter=500), one_hot(handle_unknown="error"))),
    ("one-hot that drops", lambda: mixed(LogisticRegression(max_iter=500), one_hot(drop="first"))),
    (
        "one-hot with infrequent categories",
        lambda: mixed(
            LogisticRegression(max_iter=500), one_hot(handle_unknown="infrequent_if_exist", max_categories=2)
        ),
    ),
    (
        "one-hot that ignores beside infrequent categories",
        lambda: mixed(LogisticRegression(max_iter=500), one_hot(max_categories=2)),
    ),
    (
        "one-hot of nothing but infrequent categories",
        lambda: mixed(
            LogisticRegression(max_iter=500), one_hot(handle_unknown="infrequent_if_exist", min_frequency=390)
        ),
    ),
    (
        "ordinal",
        lambda: mixed(
            lightgbm.LGBMClassifier(n_estimators=10, verbose=-1),
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        ),
    ),
    (
        "ordinal with NaN",
        lambda: mixed(
            xgboost.XGBClassifier(n_estimators=10),
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
        ),
    ),
    ("forest", lambda: mixed(RandomForestClassifier(5, random_state=0), one_hot())),
]


@pytest.mark.parametrize("make", [case[1] for case in MIXED], ids=[case[0] for case in MIXED])
def test_a_pipeline_of_texts_and_numbers_answers_and_refuses_alike(
    data: pd.DataFrame, tmp_path: Path, make: Callable[[], Any]
) -> None:
    inputs = data[[*NUMBERS, "hour", *TEXTS]]
    assert_proven(compile_it(make(), inputs, data["fraud"], tmp_path, "predict_proba"))


BOOSTED = [
    (lambda: xgboost.XGBClassifier(n_estimators=20), "xgboost"),
    (lambda: xgboost.XGBRegressor(n_estimators=20), "xgboost"),
    (lambda: "xgboost", "xgboost"),
    (lambda: lightgbm.LGBMClassifier(n_estimators=20, verbose=-1), "lightgbm"),
    (lambda: "lightgbm", "lightgbm"),
]


@pytest.mark.parametrize(("make", "flavor"), BOOSTED)
def test_a_boosted_model_answers_and_refuses_alike(
    data: pd.DataFrame, tmp_path: Path, make: Callable[[], Any], flavor: str
) -> None:
    inputs = data[[*NUMBERS, "hour"]]
    assert_proven(compile_it(make(), inputs, data["fraud"], tmp_path, "predict", flavor))


def test_columns_that_may_be_null_answer_and_refuse_alike(data: pd.DataFrame, tmp_path: Path) -> None:
    artifact = nullable(data, tmp_path, "passthrough")
    assert_proven(artifact)
    null = read(artifact.parent / "compiled", artifact).predict_row([12.5, None, True])
    frame = pd.DataFrame({"amount": [12.5], "country": [None], "online": [True]})
    np.testing.assert_allclose(null, mlflow.pyfunc.load_model(str(artifact)).predict(frame), rtol=1e-12)


def test_columns_of_float32_are_rounded_as_the_model_gets_them(data: pd.DataFrame, tmp_path: Path) -> None:
    inputs = data[[*NUMBERS, "hour"]].astype(dict.fromkeys(NUMBERS, "float32"))
    model = lightgbm.LGBMClassifier(n_estimators=10, verbose=-1)
    artifact = compile_it(model, inputs, data["fraud"], tmp_path, "predict_proba")
    assert_proven(artifact)
    model_of_it = read(artifact.parent / "compiled", artifact)
    rows: list[list[Any]] = [[0.1, 40.123456789, None, 3], [3.2e38, 40.0, 1.0, 3]]
    one_by_one = np.concatenate([model_of_it.predict_row(row) for row in rows])
    np.testing.assert_allclose(one_by_one, model_of_it.predict_rows(rows), rtol=1e-12)
    for ask in (model_of_it.predict_row, lambda row: model_of_it.predict_rows([rows[0], row])):
        with pytest.raises(RequestError, match="column 'age' takes float: a number is out of range"):
            ask([0.1, 1e300, None, 3])


def test_columns_of_nothing_but_float32_answer_and_refuse_alike(data: pd.DataFrame, tmp_path: Path) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=10, verbose=-1)
    assert_proven(compile_it(model, data[NUMBERS].astype("float32"), data["fraud"], tmp_path, "predict_proba"))


def test_xgboosts_margins_are_the_same_to_the_last_bit(data: pd.DataFrame, tmp_path: Path) -> None:
    model = xgboost.XGBRegressor(n_estimators=100, max_depth=6)
    artifact = compile_it(model, data[NUMBERS], data["amount"], tmp_path, "predict", "xgboost")
    assert prove.prove(tmp_path / "compiled", artifact)["largest"] == 0


def test_every_column_of_a_tree_is_put_on_both_sides_of_its_splits() -> None:
    columns = [Column("hour", "long"), Column("amount", "double"), Column("new", "boolean")]
    demands = Demands(splits={0: [1234.5], 1: [0.1], 2: [0.5]})
    rows = edge_rows(columns, [[7, 1.0, True]], demands, {})
    assert {1234, 1235} <= {row[0] for row in rows if type(row[0]) is int}
    assert {0.1, math.nextafter(0.1, 1), math.nextafter(0.1, 0)} <= {row[1] for row in rows}
    assert {type(row[2]) for row in rows} == {bool}


# --- what a proof finds -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(data: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs = data[[*NUMBERS, "hour", *TEXTS]]
    model = mixed(LogisticRegression(max_iter=500), one_hot(handle_unknown="error"))
    return compile_it(model, inputs, data["fraud"], tmp_path_factory.mktemp("kept"), "predict_proba")


@pytest.fixture
def pipeline(kept: Path, tmp_path: Path) -> Path:
    """A copy, whose files a test may damage."""
    shutil.copytree(kept.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / kept.name


def test_a_proof_names_the_rows_that_differ(pipeline: Path) -> None:
    directory = pipeline.parent / "compiled"
    answers = np.load(directory / "answers.npy")
    answers[7] += 3e-6
    np.save(directory / "answers.npy", answers)
    proof = prove.prove(directory, pipeline)
    assert proof["differing"] == [7]
    assert proof["largest"] == pytest.approx(3e-6, rel=0.01)


def test_a_proof_names_the_rows_that_only_one_of_the_two_refuses(pipeline: Path) -> None:
    directory = pipeline.parent / "compiled"
    plan = json.loads((directory / "plan.json").read_text())
    for column in plan["columns"]:
        column["unseen"] = True
    (directory / "plan.json").write_text(json.dumps(plan))
    rows = json.loads((directory / "proof.json").read_text())["rows"]
    refused = prove.prove(directory, pipeline)["refusals"]
    assert refused
    for number in refused:
        assert rows[number][4] not in ("FR", "DE", "IT") or rows[number][5] not in ("web", "pos")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()), "FunctionTransformer"),
        (lambda: RandomForestClassifier(3, class_weight="balanced").set_params(max_features=1), ""),
    ],
)
def test_what_is_not_known_for_certain_is_not_written(
    data: pd.DataFrame, tmp_path: Path, make: Callable[[], Any], says: str
) -> None:
    inputs = data[[*NUMBERS, "hour"]].fillna(0.5)
    if not says:
        assert_proven(compile_it(make(), inputs, data["fraud"], tmp_path, "predict_proba"))
        return
    with pytest.raises(Unsupported, match=says):
        compile_it(make(), inputs, data["fraud"], tmp_path, "predict_proba")


# --- serving ------------------------------------------------------------------------------------------------

GOOD = [12.5, 40.0, 3.0, 7, "FR", "web"]


def test_a_row_is_refused_as_an_uncompiled_model_refuses_it(pipeline: Path) -> None:
    model = read(pipeline.parent / "compiled", pipeline)
    assert model.way == "onnx"
    assert model.predict_row(GOOD).shape == (1, 2)
    for column, value, error in (
        (0, "12", RequestError),
        (0, True, RequestError),
        (0, 10**400, RequestError),
        (3, None, RequestError),
        (3, 1 << 70, RequestError),
        (3, 1.5, RequestError),
        (4, None, RequestError),
        (4, "fr", ModelFailure),
        (4, 1, RequestError),
    ):
        row = list(GOOD)
        row[column] = value
        with pytest.raises(error) as caught:
            model.predict_row(row)
        assert str(value) not in str(caught.value) or value in (True, 1)


def test_rows_together_answer_as_each_does_alone_and_missing_numbers_are_filled(pipeline: Path) -> None:
    model = read(pipeline.parent / "compiled", pipeline)
    rows = [GOOD, [None, 40, 3.0, 7, "DE", "pos"], [12.5, 40.0, None, 7.0, "IT", "web"]]
    together = model.predict_rows(rows)
    alone = np.concatenate([model.predict_row(row) for row in rows])
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    assert len(set(together[:, 1])) == 3


def test_an_answer_is_not_changed_by_the_next_one(pipeline: Path) -> None:
    model = read(pipeline.parent / "compiled", pipeline)
    first = model.predict_row(GOOD)
    kept = first.tolist()
    model.predict_row([900.0, 20.0, 1.0, 2, "IT", "pos"])
    assert first.tolist() == kept


def test_the_outputs_are_named_and_shaped_as_the_uncompiled_ones(pipeline: Path) -> None:
    from serinus_runtime.model.model import Model

    compiled, original = read(pipeline.parent / "compiled", pipeline), Model.read(pipeline)
    assert [output[:3] for output in compiled.seen] == [output[:3] for output in original.seen]
    assert compiled.signature == original.signature
    example = example_of(pipeline, read_mlmodel(pipeline))
    assert example is not None


def test_a_score_that_is_not_there_is_told_at_load(pipeline: Path) -> None:
    from serinus_runtime.base.errors import StartFailure

    with pytest.raises(StartFailure, match="there is no output 'risk'"):
        read(pipeline.parent / "compiled", pipeline, score_output="risk")


def test_a_damaged_graph_is_told_at_load(pipeline: Path) -> None:
    from serinus_runtime.base.errors import StartFailure

    graph = pipeline.parent / "compiled" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-100])
    with pytest.raises(StartFailure, match="compiled model"):
        read(pipeline.parent / "compiled", pipeline)


def test_columns_whose_names_are_numbers_are_compiled_and_asked_for_as_strings(tmp_path: Path) -> None:
    numbered = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)))
    artifact = compile_it(
        LogisticRegression(), numbered, (numbered[0] > numbered[2]).astype(int), tmp_path, "predict_proba"
    )
    model = read(artifact.parent / "compiled", artifact)
    wanted = mlflow.pyfunc.load_model(str(artifact)).predict(numbered.head(1))
    bound = model.bind(Table(("2", "1", "0"), [numbered.iloc[0, ::-1].tolist()]))
    assert model.predict(bound).result == pytest.approx(wanted, rel=1e-9)


def test_files_that_are_not_those_that_were_proven_are_found_before_they_answer(pipeline: Path) -> None:
    """A graph that loads all the same: one bit of a weight is another."""
    directory = pipeline.parent / "compiled"
    digest = digest_of(directory)
    assert read(directory, pipeline, digest=digest).way == "onnx"
    graph = bytearray((directory / "model.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (directory / "model.onnx").write_bytes(graph)
    with pytest.raises(Damaged, match="not those that were proven"):
        read(directory, pipeline, digest=digest)
    (directory / "plan.json").unlink()
    with pytest.raises(Damaged, match="cannot be read"):
        read(directory, pipeline, digest=digest)
