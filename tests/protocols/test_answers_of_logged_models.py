"""Whole models, logged with MLflow as their authors do it: what each answers by both protocols, and what stops it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from answer_kinds import BIG
from differential import Pair
from mlflow.models import ModelSignature, infer_signature
from mlflow.pyfunc.model import PythonModel
from serinus_runtime.base.config import PROTOCOLS
from serinus_runtime.base.errors import StartFailure
from serinus_runtime.model.model import Model


class Answering(PythonModel):
    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self.answer = answer

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return self.answer(model_input)


def logged(path: Path, answer: Callable[[Any], Any], example: pd.DataFrame, *, outputs: bool = True) -> Path:
    inferred = infer_signature(example, answer(example))
    signature = inferred if outputs else ModelSignature(inputs=inferred.inputs)
    mlflow.pyfunc.save_model(
        str(path), python_model=Answering(answer), input_example=example, signature=signature, pip_requirements=[]
    )
    return path


def known(data: Any) -> Any:
    ids, flags = data["id"].to_numpy(), data["known"].to_numpy()
    return pd.DataFrame(
        {
            "id": pd.array([int(i) if k else None for i, k in zip(ids, flags, strict=True)], dtype="Int64"),
            "flag": pd.array([True if k else None for k in flags], dtype="boolean"),
        }
    )


def test_nullable_columns_lose_no_digit_and_keep_their_datatypes(tmp_path: Path) -> None:
    example = pd.DataFrame({"id": [1, 2], "known": [True, False]})
    both = Pair(logged(tmp_path / "m", known, example, outputs=False))
    body = {"dataframe_records": [{"id": BIG, "known": True}, {"id": 5, "known": False}]}
    assert both.invoke(body) == both.mlflow(body) == (200, [{"id": BIG, "flag": True}, {"id": None, "flag": None}])
    described = {output["name"]: output["datatype"] for output in json.loads(both.get("/v2/models/m"))["outputs"]}
    assert described == {"id": "INT64", "flag": "BOOL"}
    for flags, ids in (([True, False], [BIG, None]), ([True, True], [BIG, 5])):
        inputs = [
            {"name": "id", "datatype": "INT64", "shape": [2], "data": [BIG, 5]},
            {"name": "known", "datatype": "BOOL", "shape": [2], "data": flags},
        ]
        assert both.infer(inputs) == (200, ids)


def test_a_forecasts_times_are_texts_by_both_protocols(tmp_path: Path) -> None:
    def forecast(data: Any) -> Any:
        return pd.DataFrame({"ds": data["ds"] + pd.to_timedelta(data["days"], unit="D"), "yhat": data["days"] * 1.5})

    example = pd.DataFrame({"ds": pd.to_datetime(["2024-01-01", "2024-02-01"]), "days": [1.0, 2.0]})
    both = Pair(logged(tmp_path / "m", forecast, example))
    body = {"dataframe_records": [{"ds": "2024-01-01", "days": 1.0}]}
    assert both.invoke(body) == both.mlflow(body) == (200, [{"ds": "2024-01-02T00:00:00", "yhat": 1.5}])
    inputs = [
        {"name": "ds", "datatype": "BYTES", "shape": [1], "data": ["2024-01-01"]},
        {"name": "days", "datatype": "FP64", "shape": [1], "data": [1.0]},
    ]
    assert both.infer(inputs) == both.grpc(inputs) == (200, ["2024-01-02T00:00:00"])
    described = json.loads(both.get("/v2/models/m"))["outputs"]
    assert [output["datatype"] for output in described] == ["BYTES", "FP64"]


NUMBERS = pd.DataFrame({"a": [0.5, -1.0]})
ASKED = {"dataframe_records": [{"a": 0.5}, {"a": 1.0}]}


@pytest.mark.parametrize(
    "answer",
    [
        lambda data: (data["a"] * 2).rename("score"),
        lambda data: pd.Series(data["a"].to_numpy() * 2),
        lambda data: pd.DataFrame({0: 1 - data["a"], 1: data["a"]}),
        lambda data: np.where(data["a"] > 0, "fraud", "ok"),
        lambda data: pd.concat([data[["a"]], data[["a"]] * 2], axis=1),
        lambda data: [{"label": "fraud" if a > 0 else "ok", "score": float(a)} for a in data["a"]],
        lambda data: [[float(a)] * (1 + (a > 0)) for a in data["a"]],
    ],
    ids=["Series", "Series without a name", "columns 0 and 1", "labels", "two columns of one name", "dictionaries",
         "lists of different lengths"],
)  # fmt: skip
def test_invocations_answers_as_mlflow(tmp_path: Path, answer: Callable[[Any], Any]) -> None:
    both = Pair(logged(tmp_path / "m", answer, NUMBERS))
    assert both.invoke(ASKED) == both.mlflow(ASKED)
    assert both.invoke(ASKED).status == 200


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda data: pd.concat([data[["a"]], data[["a"]] * 2], axis=1), "output 'a'.*not the only one of that name"),
        (lambda data: [{"label": "ok", "score": 0.5} for _ in data["a"]], "output 'label'.*a dictionary for each row"),
        (lambda data: [[1.0] * (1 + (a > 0)) for a in data["a"]], "different lengths"),
    ],
)
def test_what_tensors_cannot_carry_stops_the_model_unless_it_is_served_by_invocations_alone(
    tmp_path: Path, answer: Callable[[Any], Any], says: str
) -> None:
    artifact = logged(tmp_path / "m", answer, NUMBERS)
    with pytest.raises(StartFailure, match=says) as refused:
        Model.read(artifact, protocols=PROTOCOLS)
    assert "serving.protocols: [invocations]" in str(refused.value)
    Model.read(artifact, protocols=["invocations"])


def test_class_probabilities_in_columns_of_numbers_are_outputs_by_these_names(tmp_path: Path) -> None:
    both = Pair(logged(tmp_path / "m", lambda data: pd.DataFrame({0: 1 - data["a"], 1: data["a"]}), NUMBERS))
    inputs = [{"name": "a", "datatype": "FP64", "shape": [1], "data": [0.25]}]
    assert both.infer(inputs, outputs=[{"name": "1"}]) == (200, [0.25])
    assert both.infer(inputs, outputs=[{"name": "0"}]) == (200, [0.75])


def test_a_signature_that_lies_stops_the_model_with_the_column(tmp_path: Path) -> None:
    def answer(data: Any) -> Any:
        return pd.DataFrame({"p": ["high"] * len(data)})

    wrong = infer_signature(NUMBERS, pd.DataFrame({"p": [0.5]}))
    mlflow.pyfunc.save_model(
        str(tmp_path / "m"), python_model=Answering(answer), input_example=NUMBERS, signature=wrong, pip_requirements=[]
    )
    with pytest.raises(StartFailure, match="the signature declares 'p' as double, but texts are answered"):
        Model.read(tmp_path / "m")
