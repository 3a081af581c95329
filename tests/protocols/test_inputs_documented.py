"""The differences from MLflow that `docs/inputs-and-answers.md` lists are those that there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pytest
from differential import Echo, Pair
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema


def columns(*specs: ColSpec) -> ModelSignature:
    return ModelSignature(inputs=Schema(list(specs)))


NAMED = columns(ColSpec("double", "a"), ColSpec("double", "b"))


@pytest.mark.parametrize(
    ("signature", "body", "mlflows", "ours"),
    [
        pytest.param(
            columns(ColSpec("boolean", "a", required=False)), {"dataframe_records": [{"a": True}, {"a": None}]},
            ["'a':bool=bool(True)", "'a':bool=bool(False)"], ["'a':object=bool(True)", "'a':object=null"],
            id="null in an optional boolean column",
        ),
        pytest.param(
            columns(ColSpec("string", "a", required=False)), {"inputs": {"a": [None]}},
            ["'a':object=str('None')"], ["'a':object=null"],
            id="null in an optional string column",
        ),
        pytest.param(
            None, {"dataframe_records": [1]}, ["0:int64=int(1)"], 400,
            id="records that are no objects",
        ),
        pytest.param(
            None, {"inputs": [float("nan")]}, ["float64() null"], 400,
            id="NaN in JSON",
        ),
        pytest.param(
            columns(ColSpec("binary", "a")), {"inputs": {"a": ["AP8="]}},
            ["'a':object=bytes(b'AP8=')"], ["'a':object=bytes(b'\\x00\\xff')"],
            id="base64 in inputs",
        ),
        pytest.param(
            NAMED, {"dataframe_split": {"data": [[1.5, 2.5]]}},
            400, ["'a':float64=float(1.5) 'b':float64=float(2.5)"],
            id="rows without names",
        ),
        pytest.param(
            columns(ColSpec("double", 0)), {"dataframe_records": [{"0": 1.5}]}, 400, ["0:float64=float(1.5)"],
            id="names that are no strings, as strings",
        ),
        pytest.param(
            columns(ColSpec("double"), ColSpec("double")), {"dataframe_split": {"data": [[1.5, 2.5, 3.5]]}},
            ["0:float64=float(1.5) 1:float64=float(2.5)"], 400,
            id="more columns than a signature without names has",
        ),
        pytest.param(
            NAMED, {"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2.5], [3.5]]}},
            ["'a':float64=float(1.5) 'b':float64=float(2.5)", "'a':float64=float(3.5) 'b':float64=null"], 400,
            id="rows of different lengths",
        ),
        pytest.param(
            columns(ColSpec("double", 1), ColSpec("double", 0)),
            {"dataframe_split": {"columns": [1, 0], "data": [[1.5, 2.5]]}},
            ["1:float64=float(1.5)"], ["1:float64=float(1.5) 0:float64=float(2.5)"],
            id="a column named 0 at another place",
        ),
    ],
)  # fmt: skip
def test_a_documented_difference(tmp_path: Path, signature: Any, body: Any, mlflows: Any, ours: Any) -> None:
    path = tmp_path / "m"
    mlflow.pyfunc.save_model(str(path), python_model=Echo(), signature=signature, pip_requirements=[])
    both = Pair(path)
    for told, wanted in ((both.mlflow(body), mlflows), (both.invoke(body), ours)):
        assert told.status == 400 if wanted == 400 else told == (200, wanted)
