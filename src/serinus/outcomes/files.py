"""Reads labels from a file, one a row, and says file, line and column of what it cannot read.

Columns: `label` (a number, or true/false), and `prediction_id` or `request_id` or both; and, where there are any,
`caller` and `release`, which must be the request's own, `observed_at` (ISO 8601; without an offset it is UTC; a date
alone is its first moment) and `source`. Other columns are left alone.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from serinus.core.errors import InvalidInput
from serinus.core.values import Label

_FORMATS = {".csv": "csv", ".jsonl": "lines", ".ndjson": "lines", ".parquet": "parquet", ".pq": "parquet"}
_IDS = ("prediction_id", "request_id")
_TEXTS = (*_IDS, "caller", "release", "source")
_WORDS = {"true": 1.0, "false": 0.0}


def read_labels(path: Path, default_observed_at: datetime) -> Iterator[Label]:
    """Labels in the order of the file, read as they are taken. Rows without a time were seen at
    `default_observed_at`, aware.

    Raises InvalidInput: no such file, an unknown ending, a column that is missing, a value that is none.
    """
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise InvalidInput(
            f"{path}: not a file of outcomes.", hint=f"Its name must end in one of {', '.join(sorted(_FORMATS))}."
        )
    if not path.is_file():
        raise InvalidInput(f"{path}: there is no such file.")
    rows = {"csv": _csv_rows, "lines": _json_rows, "parquet": _parquet_rows}[kind](path)
    return _labels(path, rows, default_observed_at)


def _labels(path: Path, rows: Iterable[tuple[int, Mapping[str, Any]]], default: datetime) -> Iterator[Label]:
    for line, row in rows:
        said, label = {name: row.get(name) or "" for name in _TEXTS}, _number(row.get("label"))
        for name in _IDS:
            if not isinstance(said[name], str):
                raise _wrong(path, line, name, "a request's id")
        if not any(said[name] for name in _IDS):
            raise _wrong(path, line, " or ".join(name for name in _IDS if name in row) or _IDS[1], "a request's id")
        if label is None:
            raise _wrong(path, line, "label", "a number")
        observed_at = _moment(row.get("observed_at"), default)
        if observed_at is None:
            raise _wrong(path, line, "observed_at", "a date or a time such as 2025-01-31T12:00:00Z")
        yield Label(label=label, observed_at=observed_at, **{name: str(text) for name, text in said.items()})


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        try:
            _check_columns(path, reader.fieldnames or ())
            for row in reader:
                yield reader.line_num, row
        except (UnicodeDecodeError, csv.Error) as error:
            raise InvalidInput(f"{path}:{reader.line_num + 1}: not CSV in UTF-8 ({type(error).__name__}).") from None


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                raise InvalidInput(f"{path}:{number}: not a line of JSON.") from None
            if not isinstance(row, dict):
                raise InvalidInput(f"{path}:{number}: not a JSON object.", hint="Give one object a line.")
            yield number, row


def _parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        frame = pl.scan_parquet(path)
        names = frame.collect_schema().names()
        _check_columns(path, names)
        wanted = [name for name in (*_TEXTS, "label", "observed_at") if name in names]
        rows = frame.select(wanted).collect().iter_rows(named=True)
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(f"{path}: not a Parquet file ({type(error).__name__}).") from None
    yield from enumerate(rows, start=1)


def _check_columns(path: Path, names: Iterable[str]) -> None:
    there = list(names)
    for names_of_it in (_IDS, ("label",)):
        if not set(names_of_it) & set(there):
            wanted = " or ".join(names_of_it)
            raise InvalidInput(f"{path}:1: no column {wanted}.", hint=f"There are: {', '.join(there) or 'none'}.")


def _number(value: Any) -> float | None:
    try:
        number = _WORDS[value.lower()] if isinstance(value, str) and value.lower() in _WORDS else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _moment(value: Any, default: datetime) -> datetime | None:
    """None for what is no time."""
    if value is None or value == "":
        return default
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _wrong(path: Path, line: int, column: str, expected: str) -> InvalidInput:
    return InvalidInput(f"{path}:{line}: column {column} is not {expected}.")
