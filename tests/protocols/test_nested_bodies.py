"""Bodies that nearly fit columns of arrays, objects and maps: MLflow and Serinus answer the same, or both refuse."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import mlflow
import pytest
from differential import Echo, Pair
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array, Map, Object, Property

CARD = Object([
    Property("weight", DataType.double),
    Property("country", DataType.string, required=False),
    Property("seen", Array(DataType.long), required=False),
])  # fmt: skip
SCHEMAS = {
    "named": Schema([
        ColSpec(Array(DataType.double), "history"), ColSpec(CARD, "card"), ColSpec("double", "amount"),
        ColSpec(Map(DataType.string), "notes", required=False),
    ]),
    "maps": Schema([ColSpec(Map(Array(DataType.string)), "notes"), ColSpec("double", "amount", required=False)]),
    "unnamed": Schema([ColSpec(CARD), ColSpec("double")]),
}  # fmt: skip
FITTING = {
    "named": {"history": [1.5, 2.5], "card": {"weight": 1.5, "seen": [1]}, "amount": 2.5, "notes": {"x": "y"}},
    "maps": {"notes": {"x": ["y"]}, "amount": 1.5},
    "unnamed": {"0": {"weight": 1.5}, "1": 2.5},
}


def anything(draw: random.Random, depth: int = 0) -> Any:
    if depth < 3 and draw.random() < 0.35:
        parts = [anything(draw, depth + 1) for _ in range(draw.randrange(1, 3))]
        return parts if draw.random() < 0.5 else dict(zip(("weight", "seen"), parts, strict=False))
    return draw.choice([None, 0, 1, -3, 2**40, 0.5, -2.25, 1e10, "x", "", "2", True, False, [], {}])


def body(draw: random.Random, fitting: dict[str, Any]) -> dict[str, Any]:
    rows = [dict(fitting) for _ in range(draw.randrange(1, 4))]
    for _ in range(draw.choice([0, 0, 1, 1, 2])):
        row = draw.choice(rows)
        name = draw.choice(list(fitting))
        if draw.random() < 0.75:
            row[name] = anything(draw)
        elif draw.random() < 0.5:
            row.pop(name, None)
        else:
            row["more"] = anything(draw)
    names = list(dict.fromkeys(name for row in rows for name in row))
    form = draw.choice(["dataframe_records", "dataframe_split", "inputs", "instances", "columns", "one"])
    if form == "dataframe_split":
        return {form: {"columns": names, "data": [[row.get(name) for name in names] for row in rows]}}
    if form == "columns":
        return {draw.choice(["inputs", "instances"]): {name: [row.get(name) for row in rows] for name in names}}
    return {"inputs": rows[0]} if form == "one" else {form: rows}


@pytest.mark.parametrize("name", SCHEMAS)
def test_bodies_are_answered_or_refused_as_by_mlflow(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m"
    signature = ModelSignature(inputs=SCHEMAS[name])
    mlflow.pyfunc.save_model(str(path), python_model=Echo(), signature=signature, pip_requirements=[])
    both, draw, answered = Pair(path), random.Random(11), 0
    for _ in range(200):
        sent = body(draw, FITTING[name])
        wanted, got = both.mlflow(sent), both.invoke(sent)
        if wanted.status == 200 and wanted.answer:
            assert got == wanted, sent
            answered += 1
        else:  # refused, or no rows
            assert got.status == 400, sent
    assert 20 < answered < 180
