"""Files of outcomes, and what is said of those that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from serinus.core.errors import InvalidInput
from serinus.core.predictions import Label
from serinus.outcomes import read_labels, read_parts

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def read(path: Path) -> list[Label]:
    return list(read_labels(path, NOW))


def write(frame: pl.DataFrame, path: Path) -> None:
    writers: dict[str, Callable[[Path], object]] = {".csv": frame.write_csv, ".jsonl": frame.write_ndjson}
    writers.get(path.suffix, frame.write_parquet)(path)


def test_csv_is_read_with_its_times_in_utc_and_other_columns_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    path.write_text(
        "\ufeffnote,request_id,label,observed_at,source\n"
        "x,a,1,2026-02-03T04:05:06+02:00,chargeback\n"
        'x,"b,c",0,2026-02-03,\n'
        "x,d,TRUE,,\n",
        encoding="utf-8",
    )
    assert read(path) == [
        Label("a", 1.0, datetime(2026, 2, 3, 2, 5, 6, tzinfo=UTC), "chargeback"),
        Label("b,c", 0.0, datetime(2026, 2, 3, tzinfo=UTC)),
        Label("d", 1.0, NOW),
    ]


def test_json_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    path.write_text('{"request_id": "a", "label": true}\n\n{"request_id": "b", "label": 0, "source": "x"}\n')
    assert read(path) == [Label("a", 1.0, NOW), Label("b", 0.0, NOW, "x")]


@pytest.mark.parametrize("observed", [datetime(2026, 2, 3), datetime(2026, 2, 3, tzinfo=UTC), date(2026, 2, 3)])
def test_parquet_is_read(tmp_path: Path, observed: date) -> None:
    path = tmp_path / "o.parquet"
    pl.DataFrame({"request_id": ["a"], "label": [1], "observed_at": [observed], "more": [None]}).write_parquet(path)
    assert read(path) == [Label("a", 1.0, datetime(2026, 2, 3, tzinfo=UTC))]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("o.csv", "id,label\na,1\n", r"o.csv:1: no column prediction_id or request_id. The columns are: id, label"),
        ("o.csv", "", r"o.csv:1: no column prediction_id or request_id. The columns are: none"),
        ("o.csv", "request_id,label\na,1\nb,high\n", r"o.csv:3: column label is not 0 or 1"),
        ("o.csv", "request_id,label\na\n", r"o.csv:2: column label"),
        ("o.csv", "request_id,label\n,1\n", r"o.csv:2: column request_id"),
        ("o.csv", "request_id,label,observed_at\na,1,soon\n", r"o.csv:2: column observed_at is not a date or a time"),
        (
            "o.csv",
            "request_id,label,observed_at\na,1,0001-01-01T00:00:00+23:00\n",
            r"o.csv:2: column observed_at",
        ),
        ("o.jsonl", '{"request_id": "a", "label": 1}\n{"request_id"\n', r"o.jsonl:2: not a line of JSON"),
        ("o.jsonl", "[1]\n", r"o.jsonl:1: not a JSON object"),
        ("o.jsonl", '{"request_id": "a", "label": NaN}\n', r"o.jsonl:1: column label"),
        ("o.csv", 'request_id,label\n\n"a\nb",1\nc,2\n', r"o.csv:5: column label is not 0 or 1"),
        (
            "o.jsonl",
            '\n{"request_id": "a", "label": 1}\n\n{"request_id": "a", "label": [1]}\n',
            r"o.jsonl:4: column label",
        ),
        ("o.jsonl", '{"request_id": "a", "label": 1, "observed_at": {}}\n', r"o.jsonl:1: column observed_at"),
        ("o.jsonl", '{"request_id": 7, "label": 1}\n', r"o.jsonl:1: column request_id"),
        ("o.parquet", "no parquet", r"o.parquet: not a Parquet file"),
        ("o.xlsx", "x", r"o.xlsx: not a file with outcomes. The name of the file must end in one of .csv, .jsonl"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_without_its_value(tmp_path: Path, name, text, said) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InvalidInput, match=said) as caught:
        read(path)
    assert "high" not in str(caught.value)
    assert "soon" not in str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_an_outcome_may_name_the_prediction_the_caller_and_the_release(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"o.{kind}"
    frame = pl.DataFrame({"prediction_id": ["own-1"], "caller": ["payments"], "release": ["m-1-abcdef"], "label": [1]})
    write(frame, path)
    [label] = read(path)
    assert (label.prediction_id, label.request_id) == ("own-1", "")
    assert (label.caller, label.release) == ("payments", "m-1-abcdef")


def test_an_outcome_that_names_no_request_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    path.write_text("prediction_id,request_id,label\n,,1\n")
    with pytest.raises(InvalidInput, match=r"o\.csv:2: column prediction_id or request_id is not a request's id"):
        read(path)


def test_bytes_that_are_no_text_are_said_to_be_so(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    path.write_bytes(b"request_id,label\n\xff\xfe,1\n")
    with pytest.raises(InvalidInput, match="not CSV in UTF-8"):
        read(path)


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no such file"):
        read(tmp_path / "o.csv")


@pytest.mark.parametrize("label", ["0.5", "2", "-1", "nan", "1e-9", "yes"])
def test_a_label_that_is_neither_0_nor_1_is_refused_with_what_to_do(tmp_path: Path, label: str) -> None:
    path = tmp_path / "o.csv"
    path.write_text(f"request_id,label\na,1\nb,{label}\n")
    with pytest.raises(InvalidInput, match=r"o\.csv:3: column label is not 0 or 1\. Give other labels a meaning"):
        read(path)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_other_labels_are_read_by_what_is_said_that_they_mean(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"o.{kind}"
    numbers = pl.DataFrame({"request_id": ["a", "b", "c"], "label": [2.0, 1.0, 0.0]})
    write(numbers, path)
    assert [one.label for one in read_labels(path, NOW, {"2": 1})] == [1.0, 1.0, 0.0]
    words = pl.DataFrame({"request_id": ["a", "b"], "label": ["fraud", "genuine"]})
    write(words, path)
    assert [one.label for one in read_labels(path, NOW, {"fraud": 1, "genuine": 0})] == [1.0, 0.0]


def test_a_file_is_read_in_parts_and_a_mistake_in_a_later_one_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    path.write_text("request_id,label\n" + "".join(f"r{n},{n % 2}\n" for n in range(25)) + "last,x\n")
    parts = read_parts(path, NOW, rows=10)
    assert [len(next(parts).label) for _ in range(2)] == [10, 10]
    with pytest.raises(InvalidInput, match=r"o\.csv:27: column label"):
        next(parts)
