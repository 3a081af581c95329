"""Reads labels from a file with one outcome in each row. Errors name file, line and column.

The columns are `label` (0 or 1, false or true, or a word that a mapping explains), and `prediction_id`, `request_id` or
both. Optional are `caller` and `release`, which must be the request's own, `observed_at` (ISO 8601, in UTC where it has
no offset, and at midnight where it is a date only) and `source`. Other columns are ignored.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import polars as pl

from serinus.core.errors import InvalidInput
from serinus.core.predictions import Label, Labels
from serinus.lib.times import in_utc

ROWS = 10_000
"""The number of rows in one part."""

_FORMATS = {".csv": "csv", ".jsonl": "lines", ".ndjson": "lines", ".parquet": "parquet", ".pq": "parquet"}
_IDS = ("prediction_id", "request_id")
_TEXTS = (*_IDS, "caller", "release", "source")
_NAMES = (*_TEXTS, "label", "observed_at")
_WORDS = {"true": 1.0, "false": 0.0}

_NO_VALUE = object()
"""Stands for a value that is neither a label nor a time."""

Column = Sequence[Any]
Table = Mapping[str, Column]
"""Values by the name of their column, all of the same length."""


class _Wrong(Exception):
    """The value of `column` in row `row` of a part, counted from 0, is not `expected`."""

    def __init__(self, row: int, column: str, expected: str, hint: str = "") -> None:
        super().__init__(expected)
        self.row, self.column, self.expected, self.hint = row, column, expected, hint


def read_labels(
    path: Path, default_observed_at: datetime, meanings: Mapping[str, int] | None = None
) -> Iterator[Label]:
    """Yields labels in the order of the file. The arguments are those of `read_parts`."""
    for part in read_parts(path, default_observed_at, meanings):
        rows = zip(*(getattr(part, name) for name in Label.__slots__), strict=True)
        yield from (Label(*row) for row in rows)


def read_parts(
    path: Path, default_observed_at: datetime, meanings: Mapping[str, int] | None = None, rows: int = ROWS
) -> Iterator[Labels]:
    """Yields at most `rows` labels at a time, in the order of the file. The file is read as they are consumed.

    `default_observed_at`, an aware datetime, is used for rows without a time. `meanings` maps labels as they are
    written to 0 or 1. Raises InvalidInput where the file does not exist, has an unknown extension, lacks a column or
    has a wrong value.
    """
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise InvalidInput(
            f"{path}: not a file with outcomes.",
            hint=f"The name of the file must end in one of {', '.join(sorted(_FORMATS))}.",
        )
    if not path.is_file():
        raise InvalidInput(f"{path}: there is no such file.")
    read, line_of = {"csv": (_csv_tables, _csv_line), "lines": (_json_tables, _json_line)}.get(
        kind, (_parquet_tables, lambda _, row: row + 1)
    )
    before = 0
    known = _Known(default_observed_at, meanings or {})
    for table in read(path, rows):
        height = len(next(iter(table.values())))
        try:
            yield known.labels(table, height)
        except _Wrong as wrong:
            line = line_of(path, before + wrong.row)
            raise InvalidInput(
                f"{path}:{line}: column {wrong.column} is not {wrong.expected}.", hint=wrong.hint
            ) from None
        before += height


class _Known:
    """Caches the meaning of labels and times, because files repeat them."""

    def __init__(self, default: datetime, meanings: Mapping[str, int]) -> None:
        self._default = default
        self._meanings = {text: float(meaning) for text, meaning in meanings.items()}
        self._labels: dict[Any, float | None] = {}
        self._moments: dict[Any, datetime | None] = {}

    def labels(self, table: Table, height: int) -> Labels:
        texts = {name: _texts(table.get(name), height, name) for name in _TEXTS}
        for row, both in enumerate(zip(*(texts[name] for name in _IDS), strict=True)):
            if not any(both):
                there = " or ".join(name for name in _IDS if name in table) or _IDS[1]
                raise _Wrong(row, there, "a request's id")
        hint = "" if self._meanings else "Give other labels a meaning, such as `--label fraud=1 --label genuine=0`."
        labels = _looked_up(table.get("label"), height, self._labels, self._label, ("label", "0 or 1", hint))
        when = ("observed_at", "a date or a time such as 2025-01-31T12:00:00Z", "")
        moments = _looked_up(table.get("observed_at"), height, self._moments, self._moment, when)
        return Labels(label=labels, observed_at=moments, **texts)

    def _label(self, value: Any) -> float | None:
        """Returns the label. None: it is not one."""
        text = str(value)
        if text in self._meanings:
            return self._meanings[text]
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return None
        return self._meanings.get(f"{number:g}", number if number in (0.0, 1.0) else None)

    def _moment(self, value: Any) -> datetime | None:
        """Returns the time. None: it is not one."""
        if value is None or value == "":
            return self._default
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        try:
            if isinstance(value, str):
                value = datetime.fromisoformat(value)
            return in_utc(value) if isinstance(value, datetime) else None
        except ValueError:
            return None


def _texts(column: Column | None, height: int, name: str) -> Sequence[str]:
    if column is None:
        return [""] * height
    kinds = set(map(type, column))
    if kinds <= {str}:
        return column
    if name in _IDS and not kinds <= {str, type(None)}:
        wrong = next(row for row, value in enumerate(column) if not isinstance(value, str | None))
        raise _Wrong(wrong, name, "a request's id")
    return ["" if value is None else str(value) for value in column]


def _looked_up(
    column: Column | None,
    height: int,
    known: dict[Any, Any],
    meaning: Callable[[Any], Any],
    wrong: tuple[str, str, str],
) -> Sequence[Any]:
    """Returns the meanings of a column. `wrong` has the column's name, what is expected of it, and a hint."""
    values: Column = [None] * height if column is None else column
    try:
        new = set(values) - known.keys()
    except TypeError:  # The value is a JSON list or object.
        values = [_NO_VALUE if isinstance(value, list | dict) else value for value in values]
        new = set(values) - known.keys()
    known.update((value, meaning(value)) for value in new)
    found = [known[value] for value in values]
    if None in found:
        raise _Wrong(found.index(None), *wrong)
    return found


# --- formats ----------------------------------------------------------------------------------------------


def _csv_tables(path: Path, rows: int) -> Iterator[Table]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            names = next(reader, [])
            _check_columns(path, names)
            while read := list(islice(reader, rows)):
                filled = [row for row in read if row]
                columns = list(zip_longest(*filled, fillvalue=""))
                columns += [("",) * len(filled)] * (len(names) - len(columns))
                if filled:
                    yield {name: column for name, column in zip(names, columns, strict=False) if name in _NAMES}
        except (UnicodeDecodeError, csv.Error) as error:
            raise InvalidInput(f"{path}:{reader.line_num + 1}: not CSV in UTF-8 ({type(error).__name__}).") from None


def _csv_line(path: Path, row: int) -> int:
    """Returns the line in which row `row` ends, counted from 0 without the header and blank lines."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        next(islice((one for one in reader if one), row + 1, None))
        return reader.line_num


def _json_tables(path: Path, rows: int) -> Iterator[Table]:
    with path.open("rb") as file:
        objects = _objects(path, file)
        while read := list(islice(objects, rows)):
            names = [name for name in _NAMES if any(name in row for row in read)] or ["request_id"]
            yield {name: [row.get(name) for row in read] for name in names}


def _objects(path: Path, lines: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise InvalidInput(f"{path}:{number}: not a line of JSON.") from None
        if not isinstance(row, dict):
            raise InvalidInput(f"{path}:{number}: not a JSON object.", hint="Write one object on each line.")
        yield row


def _json_line(path: Path, row: int) -> int:
    with path.open("rb") as file:
        filled = (number for number, line in enumerate(file, start=1) if line.strip())
        return next(islice(filled, row, None))


def _parquet_tables(path: Path, rows: int) -> Iterator[Table]:
    try:
        frame = pl.scan_parquet(path)
        names = frame.collect_schema().names()
        _check_columns(path, names)
        for part in frame.select(name for name in _NAMES if name in names).collect().iter_slices(rows):
            yield part.to_dict(as_series=False)
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(f"{path}: not a Parquet file ({type(error).__name__}).") from None


def _check_columns(path: Path, names: Iterable[str]) -> None:
    there = list(names)
    for names_of_it in (_IDS, ("label",)):
        if not set(names_of_it) & set(there):
            wanted = " or ".join(names_of_it)
            raise InvalidInput(f"{path}:1: no column {wanted}.", hint=f"The columns are: {', '.join(there) or 'none'}.")
