"""Reads a file of golden or evaluation rows in a confined process with limits, because a file of some KiB may hold
gigabytes.

config: {"file", "kind": "golden" or "evaluation", "label", "entity", "inputs": [..] or null, "most_rows", "most_cells",
"most_bytes", "readable", "scratch", "confine", "memory_limit_bytes"?}. Writes {"columns", "rows", "scores", "labels",
"clusters"} to `rows.json` in its scratch directory and prints {"rows": number}; {"error": reason} with exit status 1
where the file is malformed. It runs in the control plane's interpreter, which has polars.
"""

from __future__ import annotations

import base64
import datetime
import json
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

from serinus_runtime.base.errors import StartFailure
from serinus_runtime.base.libraries import library
from serinus_runtime.isolation.trial import confined, run

RESULT = "rows.json"
_SCANS = {".parquet": "scan_parquet", ".csv": "scan_csv", ".jsonl": "scan_ndjson", ".ndjson": "scan_ndjson"}


class Bounds(NamedTuple):
    """The limits of a file."""

    rows: int
    cells: int
    bytes: int


def main() -> None:
    """Reads the file."""
    run(_answer)


def _answer(config: Mapping[str, Any]) -> Mapping[str, Any]:
    file = Path(config["file"])
    confined(config, file)
    bounds = Bounds(config["most_rows"], config["most_cells"], config["most_bytes"])
    if config["kind"] == "golden":
        table = golden(file, bounds)
    else:
        table = evaluation(file, config["label"], config["entity"], config["inputs"], bounds)
    with (Path(config["scratch"]) / RESULT).open("w", encoding="utf-8") as written:
        json.dump(table, written, default=_plain)
    return {"rows": len(table["rows"])}


def golden(file: Path, bounds: Bounds) -> dict[str, Any]:
    """Reads `{"columns": [...], "rows": [[...]], "scores": [...]}`, in which `scores` may be missing. Raises
    StartFailure."""
    _check_size(file, bounds)
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        columns, rows, scores = document["columns"], document["rows"], document.get("scores")
        well = all(isinstance(part, list) for part in (columns, rows, *rows, [] if scores is None else scores))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _no_golden_rows(file, type(error).__name__) from error
    if not well or not all(isinstance(score, (int, float, type(None))) for score in scores or ()):
        raise _no_golden_rows(file, "other types")
    if any(len(row) != len(columns) for row in rows) or (scores is not None and len(scores) != len(rows)):
        raise StartFailure(f"{file.name}: rows, columns and scores do not have the same length")
    _check_count(file, len(rows), len(columns), bounds)
    return {
        "columns": [str(name) for name in columns],
        "rows": rows,
        "scores": scores,
        "labels": None,
        "clusters": None,
    }


def _no_golden_rows(file: Path, why: str) -> StartFailure:
    return StartFailure(
        f"{file.name} does not contain golden rows ({why}). "
        'Write {"columns": [...], "rows": [[...]], "scores": [...]}.'
    )


def evaluation(file: Path, label: str, entity: str, inputs: Sequence[str] | None, bounds: Bounds) -> dict[str, Any]:
    """Reads a Parquet, CSV or JSON-lines file. Raises StartFailure.

    `inputs` are the model's columns. None: all but the label and the entity. The column of entities may be missing.
    """
    _check_size(file, bounds)
    scan = _SCANS.get(file.suffix.lower())
    if scan is None:
        raise StartFailure(f"{file.name} is not an evaluation set. The formats are {', '.join(_SCANS)}.")
    polars = library("polars")
    try:
        frame = getattr(polars, scan)(file)
        there = frame.collect_schema().names()
        columns = list(inputs) if inputs is not None else [name for name in there if name not in (label, entity)]
        missing = [name for name in (*columns, label) if name not in there]
        if missing:
            which = " gates.label names the column of labels." if label in missing else ""
            raise StartFailure(f"{file.name} lacks {', '.join(missing)}.{which}")
        # The footer of a Parquet file has the number of rows, so nothing else is read for that.
        _check_count(file, frame.select(polars.len()).collect().item(), len(columns), bounds)
        beside = [name for name in (label, entity) if name in there and name not in columns]
        read = frame.select([*columns, *beside]).head(bounds.rows).collect()
        labels = read[label].cast(polars.Float64, strict=False).to_list()
        rows = read.select(columns).rows()
        clusters = _clusters(rows, read[entity].to_list() if entity in there else [None] * len(rows))
        return {"columns": columns, "rows": rows, "scores": None, "labels": labels, "clusters": clusters}
    except (polars.exceptions.PolarsError, OSError, ValueError) as error:
        raise StartFailure(f"{file.name} cannot be read: {type(error).__name__}") from error
    except BaseException as error:  # polars' PanicException is not an Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise StartFailure(f"{file.name} cannot be read: its reader failed") from error


def _clusters(rows: Sequence[Any], entities: Sequence[Any]) -> list[int]:
    """Returns a number for each entity, and for each content of rows without one."""
    numbers: dict[tuple[bool, str], int] = {}
    return [
        numbers.setdefault((entity is not None, repr(row if entity is None else entity)), len(numbers))
        for row, entity in zip(rows, entities)
    ]


def _check_size(file: Path, bounds: Bounds) -> None:
    size = file.stat().st_size
    if size > bounds.bytes:
        raise StartFailure(
            f"{file.name} has {size >> 20:,} MiB; at most {bounds.bytes >> 20:,} MiB are read. Log a sample of it."
        )


def _check_count(file: Path, rows: int, columns: int, bounds: Bounds) -> None:
    most = min(bounds.rows, bounds.cells // max(1, columns))
    if rows > most:
        raise StartFailure(
            f"{file.name} holds {rows:,} rows of {columns} columns; at most {most:,} such rows are read. "
            "Log a sample of it."
        )


def _plain(value: Any) -> Any:
    """Returns a value in JSON: times as ISO 8601, bytes in base64."""
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    return str(value)
