from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from serinus.core.errors import InvalidInput
from serinus.predictions.queries.rows import TableRows
from serinus.predictions.table.places import Directory
from serinus.replay import FileSource, LogSource, open_source

ROWS = pl.DataFrame(
    {"amount": [1.0, 2.5, 3.0], "shop": ["a", 'b"', "ü"], "card": ["c1", None, "c3"], "fraud": [0, 1, None]}
)


def log(path: Path, rows: list[dict[str, object]]) -> Path:
    """A prediction log as the collector writes it, with what a replay reads of it."""
    schema: dict[str, Any] = {"time": pl.Datetime("us", "UTC"), "day": pl.Date, "model": pl.String, "entity": pl.String}
    frame = pl.DataFrame(rows, schema={**schema, "inputs": pl.String}, strict=False)
    frame.write_delta(str(path), delta_write_options={"partition_by": ["model", "day"]})
    return path


def moment(day: int, second: int) -> dict[str, object]:
    return {"time": datetime(2026, 3, day, 0, 0, second, tzinfo=UTC), "day": date(2026, 3, day)}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_is_read_in_order_with_its_special_columns_apart(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    ROWS.write_csv(path) if ending == "csv" else ROWS.write_parquet(path)
    [chunk] = open_source(path, entity="card", label="fraud").chunks()
    assert chunk.inputs.rows() == [(1.0, "a"), (2.5, 'b"'), (3.0, "ü")]
    assert chunk.entities is not None
    assert chunk.labels is not None
    assert chunk.entities.to_list() == ["c1", None, "c3"]
    assert chunk.labels.to_list() == [0.0, 1.0, None]
    assert chunk.ids is None


def test_a_large_file_comes_in_bounded_chunks_and_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"x": range(10_000)}).write_parquet(path)
    source = FileSource(path)
    for _ in range(2):
        chunks = list(source.chunks())
        assert max(chunk.inputs.height for chunk in chunks) <= 2_000
        assert pl.concat([chunk.inputs for chunk in chunks])["x"].to_list() == list(range(10_000))


def test_a_csv_column_that_turns_fractional_late_is_fractional_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    pl.DataFrame({"x": ["1"] * 20_000 + ["0.5"]}).write_csv(path)
    first = next(iter(FileSource(path).chunks()))
    assert first.inputs["x"].dtype == pl.Float64


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    ROWS.write_csv(path)
    [chunk] = FileSource(path, columns=["shop"], id="card").chunks()
    assert chunk.inputs.columns == ["shop"]
    assert chunk.ids is not None


def test_a_missing_column_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    ROWS.write_csv(path)
    with pytest.raises(InvalidInput, match=r"no column kard; there are: amount, shop, card, fraud"):
        FileSource(path, entity="kard")


def test_what_is_no_table_is_refused_without_quoting_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"\.csv"):
        open_source(tmp_path / "missing.csv")
    with pytest.raises(InvalidInput, match="not a file"):
        open_source(tmp_path)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"4111111111111111")
    with pytest.raises(InvalidInput) as refused:
        open_source(broken)
    assert "4111" not in str(refused.value).replace(str(tmp_path), "")


def test_a_log_gives_back_the_requests_of_one_model_in_the_order_of_time(tmp_path: Path) -> None:
    path = log(
        tmp_path / "log",
        [
            {**moment(2, 1), "model": "m", "entity": "c3", "inputs": '[{"x":3.0,"s":"c"}]'},
            {**moment(1, 9), "model": "m", "entity": None, "inputs": '{"columns":["x","s"],"rows":[[2.0,null]]}'},
            {**moment(1, 1), "model": "m", "entity": "c1", "inputs": '[{"x":1.0,"s":"a"},{"x":1.5,"s":"b"}]'},
            {**moment(1, 2), "model": "other", "entity": "c9", "inputs": '[{"x":9.0}]'},
            {**moment(1, 3), "model": "m", "entity": "c9", "inputs": None},
            {**moment(1, 4), "model": "m", "entity": "c9", "inputs": "[[1.0,2.0]]"},
        ],
    )
    chunks = list(LogSource(TableRows(Directory(path)), "m").chunks())
    assert [row for chunk in chunks for row in chunk.inputs.rows()] == [(1.0, "a"), (1.5, "b"), (2.0, None), (3.0, "c")]
    entities = [entity for chunk in chunks if chunk.entities is not None for entity in chunk.entities]
    assert entities == ["c1", "c1", None, "c3"]


def test_a_log_needs_a_model_that_was_asked(tmp_path: Path) -> None:
    path = log(tmp_path / "log", [{**moment(1, 1), "model": "m", "entity": None, "inputs": '[{"x":1.0}]'}])
    with pytest.raises(InvalidInput, match="no requests of 'n'"):
        list(LogSource(TableRows(Directory(path)), "n").chunks())
    with pytest.raises(InvalidInput, match="not a file"):
        open_source(path)
