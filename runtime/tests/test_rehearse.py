"""A model's first question, in a confined process: with which rows, what it answers, and what it warns of."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost
import yaml
from mlflow.models import infer_signature
from mlflow.types import ColSpec, Schema, TensorSpec
from mlflow.types.schema import Array, DataType, Object, Property
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from serinus_runtime.trials.rehearse import rehearsal

SOURCE = Path(__file__).resolve().parent.parent / "src"
START = f"import sys; sys.path.append({str(SOURCE)!r}); from serinus_runtime.trials.rehearse import main; main()"
HIDDEN = "import sys; sys.modules['mlflow'] = None; " + START
FRAME = pd.DataFrame({"amount": [1.0, 2.0, 3.0, 90.0], "hour": [1.0, 2.0, 3.0, 4.0]})
LABEL = np.array([0, 0, 0, 1])


def rehearsed(artifact: Path, given: Any = None, **how: Any) -> Any:
    """As the control plane reads it."""
    source = None if given is None else {"source": "the golden rows", **given}
    return json.loads(json.dumps(rehearsal(artifact, source, **how)))


def saved(directory: Path, model: Any, save: Any = mlflow.sklearn.save_model, **how: Any) -> Path:
    save(model, str(directory / "model"), pip_requirements=[], **how)
    return directory / "model"


# --- with which rows --------------------------------------------------------------------------------------


def test_the_input_example_comes_first_and_no_more_of_it_than_is_asked_for(adds_up: Path, tmp_path: Path) -> None:
    given = {"columns": ["amount", "hour", "country"], "rows": [[5.0, 5, "DE"]]}
    found = rehearsed(adds_up, given)
    assert (found["source"], found["rows"], found["answers"]) == ("the input example", 1, [[15.5]])
    assert found["document"] == {"dataframe_split": {"columns": given["columns"], "data": [[12.5, 3, "FR"]]}}
    assert [(tensor["name"], tensor["datatype"]) for tensor in found["tensors"]] == [
        ("amount", "FP64"),
        ("hour", "INT64"),
        ("country", "BYTES"),
    ]


def test_without_an_example_the_rows_that_are_given_are_asked(
    make_artifact: Callable[..., Path], adds_up_code: str, tmp_path: Path
) -> None:
    artifact = make_artifact(tmp_path / "m", adds_up_code, example=None)
    given = {"columns": ["amount", "hour", "country"], "rows": [[5.0, 5, "DE"], [float("nan"), 1, "FR"]] * 40}
    found = rehearsed(artifact, given, most_rows=3)
    assert (found["source"], found["answers"]) == ("the golden rows", [[10.0], [None], [10.0]])


def test_without_any_rows_they_are_made_from_the_signature(
    make_artifact: Callable[..., Path], adds_up_code: str, tmp_path: Path
) -> None:
    found = rehearsed(make_artifact(tmp_path / "m", adds_up_code, example=None))
    assert (found["source"], found["refused"], found["answers"]) == (
        "rows for its signature",
        False,
        [[2.0], [0.0], [50.5]],
    )


def test_of_rows_that_were_made_those_are_kept_that_the_model_takes(
    make_artifact: Callable[..., Path], adds_up_code: str, tmp_path: Path
) -> None:
    picky = adds_up_code.replace(
        "        return", '        assert (data["country"] == "b").all(), "SECRET"\n        return'
    )
    found = rehearsed(make_artifact(tmp_path / "m", picky, example=None))
    assert (found["rows"], found["answers"]) == (1, [[0.0]])
    assert found["document"]["dataframe_split"]["data"] == [[0.0, 0, "b"]]


RAISES = """
class Model:
    def predict(self, data, params=None):
        raise ValueError("SECRET")

def _load_pyfunc(path):
    return Model()
"""


@pytest.mark.parametrize("signature", [True, False])
def test_what_raises_on_everything_was_never_asked(
    make_artifact: Callable[..., Path], tmp_path: Path, signature: bool
) -> None:
    artifact = make_artifact(tmp_path / "m", RAISES, example=None, signature=signature)
    found = rehearsed(artifact)
    assert (found["document"], found["answers"], found["refused"]) == (None, [], False)
    said = "its own predict raised ValueError on rows for its signature" if signature else "without an input example"
    assert said in found["reason"]
    assert "SECRET" not in json.dumps(found)


def test_what_raises_on_its_own_example_refuses_what_it_must_answer(
    make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    found = rehearsed(make_artifact(tmp_path / "m", RAISES))
    assert (found["refused"], found["source"]) == (True, "the input example")
    assert "SECRET" not in json.dumps(found)


def test_a_window_over_the_rows_has_fewer_answers_than_rows(
    make_artifact: Callable[..., Path], adds_up_code: str, tmp_path: Path
) -> None:
    window = adds_up_code.replace('data["hour"].to_numpy(dtype="float64")', "0.0").replace(
        "        return data", "        return data.mean(numeric_only=True).to_frame().T"
    )
    found = rehearsed(make_artifact(tmp_path / "m", window, example=None))
    assert (found["rows"], len(found["answers"])) == (3, 1)


def test_the_answer_of_a_confined_process_is_one_line_whatever_the_model_prints(
    make_artifact: Callable[..., Path], adds_up_code: str, tmp_path: Path
) -> None:
    artifact = make_artifact(tmp_path / "m", "print('{}')\n" + adds_up_code, example=None)
    content = {"artifact": str(artifact), "rows": None, "scratch": str(tmp_path / "s"), "confine": True}
    (tmp_path / "config.json").write_text(json.dumps(content))
    command = [sys.executable, "-I", "-c", HIDDEN, str(tmp_path / "config.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert json.loads(done.stdout)["answers"] == [[2.0], [0.0], [50.5]], done.stderr


# --- of estimators ----------------------------------------------------------------------------------------


def test_an_estimator_knows_the_columns_that_it_was_fitted_with(tmp_path: Path) -> None:
    model = LogisticRegression().fit(FRAME, LABEL)
    found = rehearsed(saved(tmp_path, model, serialization_format="cloudpickle"))
    assert found["source"] == "rows for the columns that it was fitted with (feature_names_in_)"
    assert found["document"]["dataframe_split"]["columns"] == ["amount", "hour"]
    assert len(found["answers"]) == found["rows"] == 3


def test_an_estimator_that_was_fitted_with_an_array_knows_its_width(tmp_path: Path) -> None:
    model = LogisticRegression().fit(FRAME.to_numpy(), LABEL)
    found = rehearsed(saved(tmp_path, model, serialization_format="cloudpickle"))
    assert "n_features_in_" in found["source"]
    assert [len(row) for row in found["document"]["inputs"]] == [2, 2, 2]
    assert found["tensors"][0]["shape"] == [3, 2]


@pytest.mark.parametrize("named", [True, False])
def test_a_booster_without_signature_knows_its_columns(tmp_path: Path, named: bool) -> None:
    data = xgboost.DMatrix(FRAME if named else FRAME.to_numpy(), label=LABEL)
    booster = xgboost.train({"objective": "binary:logistic"}, data, num_boost_round=2)
    found = rehearsed(saved(tmp_path, booster, mlflow.xgboost.save_model))
    assert ("(feature_names)" if named else "(num_features)") in found["source"]
    assert found["rows"] == len(found["answers"]) == 3
    assert all(0 < row[0] < 1 for row in found["answers"])


@pytest.mark.parametrize(
    ("first", "rows", "kind"),
    [
        (CountVectorizer(), ["win money now", "see you at lunch"], "CountVectorizer"),
        (DictVectorizer(), [{"country": "FR", "n": 1.0}, {"country": "DE", "n": 9.0}], "DictVectorizer"),
    ],
)
def test_what_counts_words_or_reads_records_is_asked_with_its_vocabulary(
    tmp_path: Path, first: Any, rows: list[Any], kind: str
) -> None:
    model = make_pipeline(first, LogisticRegression()).fit(rows, [0, 1])
    found = rehearsed(saved(tmp_path, model, serialization_format="cloudpickle"))
    assert kind in found["source"], found["reason"]
    assert found["rows"] == len(found["answers"]) > 1


@pytest.mark.parametrize(
    ("first", "rows", "source"),
    [
        (HashingVectorizer(n_features=8), ["win money now", "see you"], "texts for its HashingVectorizer"),
        (FeatureHasher(8), [{"country": 1.0}, {"n": 9.0}], "records for its FeatureHasher"),
    ],
)
def test_what_hashes_words_or_records_is_asked_with_some(
    tmp_path: Path, first: Any, rows: list[Any], source: str
) -> None:
    model = make_pipeline(first, LogisticRegression()).fit(rows, [0, 1])
    found = rehearsed(saved(tmp_path, model, serialization_format="cloudpickle"))
    assert (found["source"], found["rows"], len(found["answers"])) == (source, 3, 3)


def test_the_best_of_a_search_is_asked_with_its_words(tmp_path: Path) -> None:
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [1.0]}, cv=2)
    model = search.fit(["win money", "see you"] * 4, [0, 1] * 4)
    found = rehearsed(saved(tmp_path, model, serialization_format="cloudpickle"))
    assert (found["source"], found["rows"]) == ("words of its TfidfVectorizer", 3)


MIXED = pd.DataFrame(
    {"text": ["win money", "see you"], "n": [1.0, 2.0], "country": ["FR", "DE"], "hour": [7, 9], "new": [True, False]}
)
OF_CATEGORIES = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())


def test_columns_that_are_encoded_are_asked_with_their_categories_and_texts_with_texts(tmp_path: Path) -> None:
    columns = ColumnTransformer(
        [
            ("t", TfidfVectorizer(), "text"),
            ("c", OF_CATEGORIES, [False, False, True, False, False]),
            ("o", OrdinalEncoder(), slice("hour", "new")),
            ("i", OneHotEncoder(), ["hour", "new"]),
            ("n", StandardScaler(), ["n"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(MIXED, [0, 1])
    found = rehearsed(saved(tmp_path, model, serialization_format="cloudpickle"))
    split = found["document"]["dataframe_split"]
    assert split["columns"] == list(MIXED.columns)
    assert split["data"][1] == ["b", 0.0, "FR", 9, True]
    assert [one["datatype"] for one in found["tensors"]] == ["BYTES", "FP64", "BYTES", "INT64", "BOOL"]
    assert len(found["answers"]) == 3


@pytest.mark.parametrize("named", [True, False])
def test_an_encoder_of_texts_and_numbers_is_asked_with_a_frame(tmp_path: Path, named: bool) -> None:
    frame = MIXED[["n", "country"]]
    columns = ColumnTransformer([("c", OneHotEncoder(), slice(1, None))], remainder="passthrough")
    rows = frame if named else frame.to_numpy(dtype=object)
    model = make_pipeline(columns, LogisticRegression()).fit(rows, [0, 1])
    found = rehearsed(saved(tmp_path, model, serialization_format="cloudpickle"))
    assert found["document"]["dataframe_split"]["data"] == [[1.0, "DE"], [0.0, "FR"], [25.5, "DE"]]
    assert len(found["answers"]) == 3


HOSTILE = """
class Odd:
    steps = [("a",)]
    feature_names_in_ = ["x", "y"]
    transformers_ = [("t",), ("t", object(), object()), ("t", object(), [10**30, -5, "z", None]), ("t", 1, slice("x"))]
    categories_ = [None, 5]

    @property
    def best_estimator_(self):
        raise RuntimeError

    def predict(self, data, params=None):
        return data["x"].to_numpy()

def _load_pyfunc(path):
    return Odd()
"""


def test_a_model_that_only_looks_like_an_estimator_is_asked_all_the_same(
    make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    found = rehearsed(make_artifact(tmp_path / "m", HOSTILE, example=None, signature=False))
    assert (found["rows"], found["answers"]) == (3, [[1.0], [0.0], [25.5]]), found["reason"]


# --- of every type ----------------------------------------------------------------------------------------


COUNTS = """
import numpy

class Model:
    def predict(self, data, params=None):
        data = next(iter(data.values())) if isinstance(data, dict) else data
        return numpy.arange(len(data), dtype="float64")

def _load_pyfunc(path):
    return Model()
"""
SIGNATURES = {
    "every scalar": Schema([ColSpec(kind, kind.name) for kind in DataType]),
    "unnamed": Schema([ColSpec(DataType.double), ColSpec(DataType.double)]),
    "arrays": Schema([ColSpec(Array(DataType.double), "history")]),
    "objects": Schema([ColSpec(Object([Property("a", DataType.long), Property("b", DataType.string)]), "card")]),
    "a tensor": Schema([TensorSpec(np.dtype("float32"), (-1, 4))]),
    "named tensors": Schema([TensorSpec(np.dtype("int64"), (-1, 2), "ids")]),
}


@pytest.mark.parametrize("kind", list(SIGNATURES))
def test_a_row_is_made_of_every_type_that_a_signature_has(
    make_artifact: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    artifact = make_artifact(tmp_path / "m", COUNTS, example=None)
    content = json.loads((artifact / "MLmodel").read_text())
    content["signature"]["inputs"] = json.dumps(SIGNATURES[kind].to_dict())
    (artifact / "MLmodel").write_text(json.dumps(content))
    found = rehearsed(artifact)
    assert (found["source"], found["reason"]) == ("rows for its signature", "")
    assert found["answers"] == [[0.0], [1.0], [2.0]]
    assert (found["tensors"] is None) is (kind in ("every scalar", "unnamed", "arrays", "objects"))


# --- what it warns of -------------------------------------------------------------------------------------


def relabelled(artifact: Path, flavor: str, key: str, version: str) -> Path:
    file = artifact / "MLmodel"
    content = yaml.safe_load(file.read_text())
    content["flavors"][flavor][key] = version
    file.write_text(yaml.safe_dump(content))
    return artifact


def test_another_version_than_the_model_was_logged_with_is_told(tmp_path: Path) -> None:
    model = LogisticRegression().fit(FRAME, LABEL)
    artifact = saved(tmp_path, model, serialization_format="cloudpickle", signature=infer_signature(FRAME, LABEL))
    assert rehearsed(artifact)["versions"] == []
    [found] = rehearsed(relabelled(artifact, "sklearn", "sklearn_version", "1.2.2"))["versions"]
    assert (found["library"], found["logged"], found["own"]) == ("scikit-learn", "1.2.2", True)
    relabelled(artifact, "sklearn", "sklearn_version", found["installed"] + "+cpu")
    assert rehearsed(artifact)["versions"] == []
    [python] = rehearsed(relabelled(artifact, "python_function", "python_version", "3.7.1"))["versions"]
    assert (python["library"], python["logged"], python["own"]) == ("python", "3.7.1", False)


def test_an_estimator_of_another_version_warns_of_it(tmp_path: Path) -> None:
    model = LogisticRegression().fit(FRAME, LABEL)
    artifact = saved(tmp_path, model, serialization_format="cloudpickle", signature=infer_signature(FRAME, LABEL))
    import sklearn

    file = artifact / "model.pkl"
    version = sklearn.__version__.encode()
    other = b"0" + version[1:]
    assert version in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(version, other))
    [found] = rehearsed(artifact)["warnings"]
    assert (found["category"], found["library"], found["own"]) == ("InconsistentVersionWarning", "sklearn", True)


WARNS = """
import warnings

def _load_pyfunc(path):
    for number in range(100):
        warnings.warn(f"old \\x1b[31m{number} in /home/ada/secret/place.py", FutureWarning)
    warnings.warn("not of versions", RuntimeWarning)
    warnings.warn("Trying to unpickle estimator X from version 0.1", UserWarning)
    return Model()

class Model:
    def predict(self, data, params=None):
        warnings.warn("numpy.bool is deprecated" + "x" * 10_000, DeprecationWarning)
        return data["amount"].to_numpy()
"""


def test_warnings_are_few_short_and_without_paths_and_control_characters(
    make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    found = rehearsed(make_artifact(tmp_path / "m", WARNS))["warnings"]
    assert len(found) == 20
    assert (found[0]["message"], found[0]["own"]) == ("Trying to unpickle estimator X from version 0.1", True)
    assert not any(one["own"] for one in found[1:])
    text = json.dumps(found)
    assert "secret" not in text
    assert "\\u001b" not in text
    assert "not of versions" not in text
    assert all(len(one["message"]) <= 300 for one in found)


def test_what_is_deprecated_is_told_at_the_first_prediction_too(
    make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    code = WARNS.replace("range(100)", "range(0)")
    found = rehearsed(make_artifact(tmp_path / "m", code))["warnings"]
    assert "DeprecationWarning" in [one["category"] for one in found]
