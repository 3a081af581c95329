"""Files of golden and evaluation rows: what is read, what is refused, and how much it may take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from serinus_runtime.base.errors import StartFailure
from serinus_runtime.trials.rows_file import Bounds, evaluation, golden

BOUNDS = Bounds(1_000, 2_000, 1 << 20)


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_golden_rows_come_with_their_scores(tmp_path: Path) -> None:
    file = written(
        tmp_path / "golden.json", {"columns": ["a", "b"], "rows": [[1, "x"], [None, "y"]], "scores": [0.5, None]}
    )
    found = golden(file, BOUNDS)
    assert (found["columns"], found["rows"], found["scores"]) == (["a", "b"], [[1, "x"], [None, "y"]], [0.5, None])
    assert golden(written(file, {"columns": ["a"], "rows": []}), BOUNDS)["scores"] is None


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", "7", "{}", "[" * 100_000, {"columns": 1, "rows": []}, {"columns": [], "rows": 1},
        {"columns": ["a"], "rows": [1]}, {"columns": ["a"], "rows": [[1, 2]]},
        {"columns": ["a"], "rows": [[1]], "scores": []},
        {"columns": ["a"], "rows": [[1]], "scores": ["high"]}, {"columns": ["a"], "rows": [[1]], "scores": 1},
        {"columns": ["a"], "rows": [[1]] * 2_001},
    ],
)  # fmt: skip
def test_what_holds_no_golden_rows_is_refused_in_words(tmp_path: Path, content: Any) -> None:
    with pytest.raises(StartFailure, match=r"golden\.json"):
        golden(written(tmp_path / "golden.json", content), BOUNDS)


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl", "ndjson"])
def test_an_evaluation_set_is_read_in_the_order_of_the_models_columns(tmp_path: Path, ending: str) -> None:
    frame = pl.DataFrame({"label": [1, 0, None], "b": ["x", "y", "z"], "a": [1.5, 2.0, None], "more": [1, 2, 3]})
    file = tmp_path / f"evaluation.{ending}"
    writers: dict[str, Callable[[Path], Any]] = {"parquet": frame.write_parquet, "csv": frame.write_csv}
    writers.get(ending, frame.write_ndjson)(file)
    found = evaluation(file, "label", "entity", ["a", "b"], BOUNDS)
    assert (found["columns"], found["labels"]) == (["a", "b"], [1.0, 0.0, None])
    assert [list(row) for row in found["rows"]] == [[1.5, "x"], [2.0, "y"], [None, "z"]]
    assert evaluation(file, "label", "entity", None, BOUNDS)["columns"] == ["b", "a", "more"]
    with pytest.raises(StartFailure, match=r"lacks hour, fraud\. gates\.label names"):
        evaluation(file, "fraud", "entity", ["a", "hour"], BOUNDS)
    with pytest.raises(StartFailure, match=r"lacks hour\.$"):
        evaluation(file, "label", "entity", ["a", "hour"], BOUNDS)


def test_rows_of_one_entity_and_copies_of_a_row_have_one_number(tmp_path: Path) -> None:
    file = tmp_path / "evaluation.parquet"
    frame = pl.DataFrame({"card": ["x", "y", "x", None, None, None], "a": [1, 2, 3, 4, 4, 5], "label": 0})
    frame.write_parquet(file)
    assert evaluation(file, "label", "card", ["a"], BOUNDS)["clusters"] == [0, 1, 0, 2, 2, 3]
    assert evaluation(file, "label", "entity", ["a"], BOUNDS)["clusters"] == [0, 1, 2, 3, 3, 4]
    assert evaluation(file, "label", "card", None, BOUNDS)["columns"] == ["a"]


def test_of_a_set_with_too_many_rows_the_number_is_said_and_how_many_may_be(tmp_path: Path) -> None:
    file = tmp_path / "evaluation.parquet"
    pl.DataFrame({"a": range(1_500), "b": range(1_500), "label": 0}).write_parquet(file)
    with pytest.raises(StartFailure, match=r"holds 1,500 rows of 2 columns; at most 1,000 such rows are read"):
        evaluation(file, "label", "entity", ["a", "b"], BOUNDS)
    with pytest.raises(StartFailure, match=r"at most 500 such rows"):
        evaluation(file, "label", "entity", ["a", "b", "a", "b"], BOUNDS)
    with pytest.raises(StartFailure, match=r"MiB are read"):
        evaluation(file, "label", "entity", ["a"], BOUNDS._replace(bytes=10))


@pytest.mark.parametrize("name", ["evaluation.parquet", "evaluation.csv", "evaluation.jsonl", "evaluation.xlsx"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"\xff\xfe\x00", b"{" * 1000])
def test_what_is_no_evaluation_set_is_refused_in_words(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StartFailure, match=name.replace(".", r"\.")):
        evaluation(tmp_path / name, "label", "entity", ["a"], BOUNDS)
