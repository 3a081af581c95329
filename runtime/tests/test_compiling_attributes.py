"""Every attribute of an estimator that can change an answer is taken into account by its graph, or refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import numpy as np
import onnx
import pandas as pd
import pytest
import xgboost
from compiling_models import NUMBERS, assert_proven, compile_it, payments
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from serinus_runtime.artifact.signature import Column
from serinus_runtime.compiling import known
from serinus_runtime.compiling.forests import forest_probabilities
from serinus_runtime.compiling.graph import Demands, Graph, Unsupported
from serinus_runtime.compiling.rows import edge_rows, most_splits
from serinus_runtime.model.compiled import read
from serinus_runtime.trials import prove

pytestmark = pytest.mark.long

NAMES = [*NUMBERS, "hour"]


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return payments()


def stopped(model: Any) -> Any:
    """Fits with the second half for early stopping, and with a bad learning rate, so that the best round is not the
    last one."""
    fit = model.fit

    def with_evaluation(inputs: Any, label: Any) -> Any:
        del model.fit
        sets: dict[str, Any] = {"eval_set": [(inputs[200:], label[200:])]}
        if isinstance(model, xgboost.XGBModel):
            sets["verbose"] = False
        return fit(inputs[:200], label[:200], **sets)

    model.fit = with_evaluation
    return model


def light(**how: Any) -> Any:
    return lightgbm.LGBMClassifier(**{"n_estimators": 10, "verbose": -1, **how})


def boosted(**how: Any) -> Any:
    return xgboost.XGBClassifier(**{"n_estimators": 10, **how})


def texts(**how: Any) -> Any:
    encoder = OneHotEncoder(handle_unknown="ignore")
    return ColumnTransformer([("t", encoder, ["country", "channel"])], remainder="passthrough", **how)


# --- taken into account -------------------------------------------------------------------------------------

HONOURED = [
    ("xgboost missing", lambda: boosted(missing=-999.0), "predict_proba", "sklearn"),
    ("xgboost missing, by its own flavor", lambda: boosted(missing=-999.0), "predict", "xgboost"),
    ("xgboost missing of a regression", lambda: xgboost.XGBRegressor(n_estimators=5, missing=3), "predict", "sklearn"),
    ("xgboost missing 0", lambda: boosted(missing=0), "predict_proba", "sklearn"),
    ("xgboost missing 0.1, which is no float32", lambda: boosted(missing=0.1), "predict_proba", "sklearn"),
    (
        "xgboost stopped early",
        lambda: stopped(boosted(n_estimators=99, early_stopping_rounds=3, learning_rate=1)),
        "predict_proba",
        "sklearn",
    ),
    (
        "xgboost stopped early, by its own flavor",
        lambda: stopped(boosted(n_estimators=99, early_stopping_rounds=3, learning_rate=1)),
        "predict",
        "xgboost",
    ),
    ("xgboost parallel trees", lambda: boosted(num_parallel_tree=3, subsample=0.5), "predict_proba", "sklearn"),
    ("xgboost base score", lambda: boosted(base_score=0.2), "predict_proba", "sklearn"),
    ("xgboost class weight", lambda: boosted(scale_pos_weight=9), "predict", "sklearn"),
    ("xgboost poisson", lambda: xgboost.XGBRegressor(n_estimators=5, objective="count:poisson"), "predict", "sklearn"),
    (
        "lightgbm stopped early",
        lambda: stopped(light(n_estimators=99, early_stopping_round=3, learning_rate=1)),
        "predict_proba",
        "sklearn",
    ),
    (
        "lightgbm stopped early, by its own flavor",
        lambda: stopped(light(n_estimators=99, early_stopping_round=3, learning_rate=1)),
        "predict",
        "lightgbm",
    ),
    ("lightgbm class weight", lambda: light(class_weight="balanced"), "predict_proba", "sklearn"),
    ("lightgbm without missing values", lambda: light(use_missing=False), "predict_proba", "sklearn"),
    (
        "an imputer's sign",
        lambda: make_pipeline(SimpleImputer(missing_values=3.0, add_indicator=True), light()),
        "predict_proba",
        "sklearn",
    ),
    (
        "an imputer's constant",
        lambda: make_pipeline(SimpleImputer(strategy="constant", fill_value=-5.0), LogisticRegression()),
        "predict_proba",
        "sklearn",
    ),
    (
        "a scaler that clips",
        lambda: make_pipeline(MinMaxScaler((2, 3), clip=True), Ridge()),
        "predict",
        "sklearn",
    ),
    ("labels at exactly 0", lambda: GradientBoostingClassifier(n_estimators=3), "predict", "sklearn"),
    ("labels of histogram boosting", lambda: HistGradientBoostingClassifier(max_iter=3), "predict", "sklearn"),
    ("labels of outliers", lambda: IsolationForest(n_estimators=5, contamination=0.2), "predict", "sklearn"),
    ("class weights", lambda: RandomForestClassifier(5, class_weight={0: 1, 1: 9}), "predict_proba", "sklearn"),
    (
        "stochastic labels",
        lambda: make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", average=True)),
        "predict",
        "sklearn",
    ),
]


@pytest.mark.parametrize(("make", "method", "flavor"), [c[1:] for c in HONOURED], ids=[c[0] for c in HONOURED])
def test_what_changes_an_answer_is_taken_into_account(
    data: pd.DataFrame, tmp_path: Path, make: Callable[[], Any], method: str, flavor: str
) -> None:
    inputs = data[NAMES].fillna(3.0)
    inputs.loc[::5, "age"] = -999.0
    model = make()
    artifact = compile_it(model, inputs, data["fraud"], tmp_path, method, flavor)
    assert_proven(artifact)
    compiled = read(tmp_path / "compiled", artifact)
    odd = [-999.0, -998.0, 3.0, 0.0, 0.1, 1e-46, 16777217.0]
    rows = [[value, 40.0, value, 7] for value in odd] + [[80.0, value, 3.0, 7] for value in odd]
    frame = pd.DataFrame(rows, columns=NAMES).astype(inputs.dtypes)
    expected = mlflow.pyfunc.load_model(str(artifact)).predict(frame)
    np.testing.assert_allclose(compiled.predict_rows(rows), expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("final", [lambda: boosted(), lambda: light()])
@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_what_a_sparse_matrix_leaves_out_is_missing_for_xgboost_alone(
    data: pd.DataFrame, tmp_path: Path, final: Callable[[], Any], threshold: float
) -> None:
    inputs = data[["country", "channel", "hour", "amount"]].assign(hour=data["hour"] % 3)
    model = make_pipeline(texts(sparse_threshold=threshold), final())
    assert_proven(compile_it(model, inputs, data["fraud"], tmp_path, "predict_proba"))


def test_xgboosts_labels_are_proven_on_their_margins(data: pd.DataFrame, tmp_path: Path) -> None:
    artifact = compile_it(boosted(), data[NAMES], data["fraud"], tmp_path, "predict", "xgboost")
    proof = prove.prove(tmp_path / "compiled", artifact)
    assert proof["margins"] > proof["own"] + 100
    margins = np.load(tmp_path / "compiled" / "margins.npy")
    margins[11] += 1e-5
    np.save(tmp_path / "compiled" / "margins.npy", margins)
    proof = prove.prove(tmp_path / "compiled", artifact)
    assert proof["differing"] == []
    assert proof["behind"] == [11]


def test_probabilities_of_xgboost_are_the_same_to_the_last_bit(data: pd.DataFrame, tmp_path: Path) -> None:
    model = boosted(n_estimators=60, max_depth=6)
    artifact = compile_it(model, data[NAMES], data["fraud"], tmp_path, "predict_proba")
    assert prove.prove(tmp_path / "compiled", artifact)["largest"] == 0


# --- refused ------------------------------------------------------------------------------------------------


class Doubtful(xgboost.XGBClassifier):
    def predict_proba(self, X: Any, *more: Any, **how: Any) -> Any:  # noqa: N803
        return super().predict_proba(X, *more, **how)[:, ::-1]


def with_its_own(model: Any, name: str) -> Any:
    """Answers by a method that is set on the object once it is fitted."""
    fit = model.fit

    def and_patch(inputs: Any, label: Any) -> Any:
        del model.fit
        fit(inputs, label)
        setattr(model, name, constant)
        return model

    model.fit = and_patch
    return model


def constant(inputs: Any) -> Any:
    return np.full((len(inputs), 2), 0.5)


def with_attribute(model: Any, name: str, value: Any) -> Any:
    setattr(model, name, value)
    return model


REFUSED = [
    ("xgboost missing inf", lambda: boosted(missing=np.inf), "XGBClassifier.missing=inf"),
    ("xgboost dart", lambda: boosted(booster="dart"), "XGBClassifier.booster=dart"),
    ("xgboost linear", lambda: boosted(booster="gblinear"), "XGBClassifier.booster=gblinear"),
    ("xgboost of a subclass", lambda: Doubtful(n_estimators=3), "the model Doubtful"),
    ("xgboost with its own method", lambda: with_its_own(boosted(), "predict_proba"), "predict_proba of its own"),
    ("xgboost random forest", lambda: xgboost.XGBRFClassifier(n_estimators=3), "the model XGBRFClassifier"),
    ("xgboost with what nobody knows", lambda: with_attribute(boosted(), "shift", 3), "XGBClassifier.shift=3"),
    (
        "lightgbm that stops early in predict",
        lambda: light(pred_early_stop=True),
        "LGBMClassifier.pred_early_stop=True",
    ),
    ("lightgbm from another round", lambda: light(start_iteration_predict=3), "start_iteration_predict=3"),
    ("lightgbm up to a round", lambda: light(num_iteration_predict=3), "num_iteration_predict=3"),
    ("lightgbm linear trees", lambda: light(linear_tree=True), "LGBMClassifier.linear_tree=True"),
    ("lightgbm zero as missing", lambda: light(zero_as_missing=True), "zero_as_missing"),
    (
        "lightgbm random forest",
        lambda: light(boosting_type="rf", bagging_freq=1, bagging_fraction=0.5),
        "the mean of its trees",
    ),
    ("a function", lambda: make_pipeline(FunctionTransformer(np.log1p), light()), "a FunctionTransformer"),
    (
        "a check",
        lambda: make_pipeline(FunctionTransformer(validate=True), light()),
        "FunctionTransformer.validate=True",
    ),
    (
        "frames between steps",
        lambda: make_pipeline(StandardScaler(), LogisticRegression()).set_output(transform="pandas"),
        "_sklearn_output_config",
    ),
    (
        "metadata that is routed",
        lambda: with_attribute(LogisticRegression(), "_metadata_request", {"predict": "x"}),
        "LogisticRegression._metadata_request",
    ),
    ("monotonic trees", lambda: RandomForestClassifier(3, monotonic_cst=[1, 0, 0, 0]), "monotonic_cst"),
    (
        "codes of another type",
        lambda: make_pipeline(OrdinalEncoder(dtype=np.int32), light()),
        "OrdinalEncoder.dtype",
    ),
]


@pytest.mark.parametrize(("make", "says"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_is_not_taken_into_account_is_refused_by_name(
    data: pd.DataFrame, tmp_path: Path, make: Callable[[], Any], says: str
) -> None:
    with pytest.raises(Unsupported, match=says):
        compile_it(make(), data[NAMES].fillna(3.0), data["fraud"], tmp_path, "predict_proba")


@pytest.mark.parametrize(
    ("make", "method"),
    [
        (lambda: make_pipeline(StandardScaler(), light()), "predict_proba"),
        (lambda: make_pipeline(SimpleImputer(), light()), "predict_proba"),
        (lambda: LinearRegression(), "predict"),
    ],
)
def test_steps_that_would_compute_in_float32_are_refused(
    data: pd.DataFrame, tmp_path: Path, make: Callable[[], Any], method: str
) -> None:
    inputs = data[NUMBERS].fillna(3.0).astype("float32")
    with pytest.raises(Unsupported, match="of nothing but float32"):
        compile_it(make(), inputs, data["fraud"], tmp_path, method)


def test_estimators_within_others_are_looked_at_as_well(data: pd.DataFrame, tmp_path: Path) -> None:
    inner = CalibratedClassifierCV(boosted(missing=np.inf), cv=2)
    with pytest.raises(Unsupported, match=r"XGBClassifier\.missing=inf"):
        compile_it(inner, data[NAMES], data["fraud"], tmp_path, "predict_proba")


def test_a_class_of_a_known_name_is_not_the_known_class() -> None:
    fake = type("LogisticRegression", (LogisticRegression,), {"__module__": LogisticRegression.__module__})
    with pytest.raises(Unsupported, match="a class of its own named LogisticRegression"):
        known.check(fake())


def test_a_method_that_was_replaced_in_the_library_is_not_the_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogisticRegression, "predict_proba", constant)
    with pytest.raises(Unsupported, match="LogisticRegression with a predict_proba of its own"):
        known.check(LogisticRegression())


def test_a_version_that_was_not_tried_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sklearn.__version__", "99.1.0")
    with pytest.raises(Unsupported, match=r"sklearn 99\.1, with which the compiler was not tried"):
        known.check(LogisticRegression())


def test_a_setting_of_scikit_learn_that_changes_what_steps_get_is_refused() -> None:
    import sklearn

    with sklearn.config_context(transform_output="pandas"), pytest.raises(Unsupported, match="transform_output=pandas"):
        known.check(LogisticRegression())


# --- rows of the proof --------------------------------------------------------------------------------------


def test_signs_and_categories_that_a_model_names_are_among_the_rows() -> None:
    columns = [Column("age", "double"), Column("hour", "long")]
    graph = Graph(columns)
    block = graph.input()
    for feature in block.features:
        graph.names(feature, -999.0)
    rows = edge_rows(columns, [[0.5, 3]], graph.demands, {})
    assert {-999.0, np.nextafter(-999.0, 0)} <= {row[0] for row in rows if row[0] is not None}
    assert -999 in {row[1] for row in rows}


def test_a_sign_is_found_behind_a_scaler() -> None:
    graph = Graph([Column("age", "double")])
    moved = graph.affine(graph.affine(graph.input(), "Sub", [10.0]), "Div", [4.0])
    graph.names(moved.features[0], 2.0)
    assert graph.demands.named == {0: [18.0]}


def test_the_ends_of_types_are_among_the_rows() -> None:
    columns = [Column("a", "double"), Column("b", "long"), Column("c", "integer")]
    rows = edge_rows(columns, [[0.5, 3, 4]], Demands(), {})
    for end in (2**24, 2**31, 2**53, 2**63):
        assert {float(end), np.nextafter(end, 0), float(np.nextafter(np.float32(end), np.float32(np.inf)))} <= {
            row[0] for row in rows if row[0] is not None
        }
    for end in (2**24, 2**31, 2**53):
        assert {end - 1, end, end + 1, -end - 1} <= {row[1] for row in rows}
    assert {2**63 - 1, -(2**63)} <= {row[1] for row in rows}
    assert {2**24 + 1, 2**31 - 1, -(2**31)} <= {row[2] for row in rows}
    assert max(row[2] for row in rows) < 2**31
    assert {5e-324, 1e-45, 1e308, float("inf"), float("-inf")} <= {row[0] for row in rows if row[0] is not None}
    assert any(row[0] == 0 and np.signbit(row[0]) for row in rows if row[0] is not None)


def test_every_split_is_stood_on_and_beside() -> None:
    columns = [Column("a", "double"), Column("b", "long")]
    splits = np.random.default_rng(0).normal(size=400).tolist()
    rows = edge_rows(columns, [[0.5, 3]], Demands(splits={0: splits, 1: [7.5]}), {})
    found = {row[0] for row in rows if row[0] is not None}
    for split in splits:
        assert {split, float(np.float32(split)), np.nextafter(split, 9), np.nextafter(split, -9)} <= found
    assert {7, 8} <= {row[1] for row in rows}


def test_rows_come_to_every_split_of_a_tree(data: pd.DataFrame) -> None:
    inputs = data[NAMES].fillna(3.0)
    tree = DecisionTreeClassifier(random_state=0).fit(inputs, np.random.default_rng(0).integers(0, 2, len(inputs)))
    columns = [Column(name, "long" if name == "hour" else "double") for name in NAMES]
    graph = Graph(columns)
    forest_probabilities(graph, graph.input(), tree)
    base = inputs.head(2).to_numpy().tolist()
    rows = edge_rows(columns, base, graph.demands, {})
    frame = pd.DataFrame([row for row in rows if None not in row], columns=NAMES).clip(-1e38, 1e38)
    passed = np.asarray(tree.decision_path(frame).sum(axis=0)).ravel()
    assert tree.tree_.node_count > 100
    assert (passed > 0).mean() > 0.97


def test_a_wrong_threshold_deep_within_a_tree_is_found(data: pd.DataFrame, tmp_path: Path) -> None:
    """Moved by one step of float32, in the graph only."""
    model = boosted(n_estimators=3, max_depth=6)
    artifact = compile_it(model, data[NUMBERS], data["fraud"], tmp_path, "predict_proba")
    graph = onnx.load(str(tmp_path / "compiled" / "model.onnx"))
    (trees,) = [node for node in graph.graph.node if node.op_type == "TreeEnsemble"]
    attributes = {attribute.name: attribute for attribute in trees.attribute}
    splits = onnx.numpy_helper.to_array(attributes["nodes_splits"].t).copy()
    found = 0
    for place in range(1, len(splits), 7):
        moved = splits.copy()
        moved[place] = np.nextafter(moved[place], np.float32(np.inf))
        attributes["nodes_splits"].t.CopyFrom(onnx.numpy_helper.from_array(moved, attributes["nodes_splits"].t.name))
        (tmp_path / "compiled" / "model.onnx").write_bytes(graph.SerializeToString())
        found += bool(prove.prove(tmp_path / "compiled", artifact)["differing"])
    assert found >= 0.9 * len(range(1, len(splits), 7))


def test_of_too_many_splits_a_part_is_taken_and_counted(
    data: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus_runtime.compiling.rows.MOST_AT_SPLITS", 12)
    assert most_splits(Column("a", "double")) == 2
    artifact = compile_it(boosted(), data[NUMBERS], data["fraud"], tmp_path, "predict_proba")
    proof = prove.prove(tmp_path / "compiled", artifact)
    assert proof["at_splits"] == 6 < proof["splits"]


# --- what stays compiled ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flavor", "method"), [("xgboost", "predict"), ("sklearn", "predict_proba")])
def test_a_plain_xgboost_classifier_stays_compiled(
    data: pd.DataFrame, tmp_path: Path, flavor: str, method: str
) -> None:
    assert_proven(compile_it(boosted(), data[NAMES], data["fraud"], tmp_path, method, flavor))


def test_the_pipeline_of_the_benchmark_stays_compiled(data: pd.DataFrame, tmp_path: Path) -> None:
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
            ("categories", OneHotEncoder(handle_unknown="ignore"), ["country", "channel"]),
        ]
    )
    model = make_pipeline(columns, light(max_depth=6, random_state=0, n_jobs=1))
    artifact = compile_it(model, data[[*NUMBERS, "country", "channel"]], data["fraud"], tmp_path, "predict_proba")
    assert_proven(artifact)
    assert json.loads((tmp_path / "compiled" / "proof.json").read_text())["splits"] > 10


@pytest.mark.parametrize("first", ["passthrough", FunctionTransformer()], ids=["passthrough", "function"])
def test_columns_in_another_order_than_the_training_are_refused_behind_steps_that_know_no_names(
    data: pd.DataFrame, tmp_path: Path, first: Any
) -> None:
    columns = ColumnTransformer([("n", StandardScaler(), ["amount", "age"])])
    pipeline = Pipeline([("first", first), ("columns", columns), ("last", LogisticRegression())])
    pipeline.fit(data[["amount", "age", "hour"]], data["fraud"])
    pipeline.fit = lambda *_: pipeline
    with pytest.raises(Unsupported, match="are not those of the training, in their order"):
        compile_it(pipeline, data[["age", "amount", "hour"]], data["fraud"], tmp_path, "predict_proba")


def test_logarithms_of_probabilities_are_refused(data: pd.DataFrame, tmp_path: Path) -> None:
    """Beyond a margin of 36, `log(1 - p)` is -inf or not by the last bit of `p`, which rows need not come to."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    with pytest.raises(Unsupported, match="predict_log_proba of Pipeline"):
        compile_it(pipeline, data[["amount", "age"]], data["fraud"], tmp_path, "predict_log_proba")
