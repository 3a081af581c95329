"""The sources of replayed rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl
from polars.exceptions import PolarsError

from serinus.core.errors import InvalidInput
from serinus.core.ports import PredictionRows

CHUNK = 2_000
"""The number of rows that are prepared at a time."""
_SCANS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows. `inputs` are the model's columns. The other columns, where they exist, have the same length."""

    inputs: pl.DataFrame
    entities: pl.Series | None = None
    ids: pl.Series | None = None
    labels: pl.Series | None = None


class Source(Protocol):
    """A source of rows."""

    def chunks(self) -> Iterator[Chunk]:
        """Yields all rows in order, some thousand at a time. Raises InvalidInput."""
        ...


def open_source(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    entity: str | None = None,
    id: str | None = None,
    label: str | None = None,
) -> Source:
    """Opens a CSV or Parquet file. Raises InvalidInput."""
    return FileSource(path, columns=columns, entity=entity, id=id, label=label)


class FileSource:
    """A file with one request in each row. By default `columns` are all that are not the entity, the id or the
    label."""

    def __init__(
        self,
        path: Path,
        *,
        columns: Sequence[str] | None = None,
        entity: str | None = None,
        id: str | None = None,
        label: str | None = None,
    ) -> None:
        kind = _SCANS.get(path.suffix.lower())
        if kind is None or not path.is_file():
            known = ", ".join(sorted(_SCANS))
            raise InvalidInput(
                f"{path}: not a file that can be replayed.", hint=f"Name a file ending in {known}, or a log."
            )
        # Types are inferred from the whole CSV file, because the first thousand rows of a column may be whole numbers.
        self._rows = pl.scan_csv(path, infer_schema_length=None) if kind == "csv" else pl.scan_parquet(path)
        self._entity, self._id, self._label = entity, id, label
        with _named(path):
            there = self._rows.collect_schema().names()
        special = {name for name in (entity, id, label) if name is not None}
        self._columns = list(columns) if columns is not None else [name for name in there if name not in special]
        self._path = path
        missing = sorted({*self._columns, *special} - set(there))
        if missing:
            raise InvalidInput(f"{path}: no column {', '.join(missing)}; there are: {', '.join(there)}.")

    def chunks(self) -> Iterator[Chunk]:
        with _named(self._path):
            for frame in self._rows.collect_batches(chunk_size=CHUNK, maintain_order=True):
                for part in frame.iter_slices(CHUNK):
                    yield Chunk(
                        part.select(self._columns),
                        part[self._entity] if self._entity else None,
                        part[self._id] if self._id else None,
                        part[self._label].cast(pl.Float64) if self._label else None,
                    )


class LogSource:
    """The logged requests of a model, in the order of time.

    A request with several rows becomes as many requests. Requests that were refused before they were read, or without
    column names, are left out.
    """

    def __init__(self, log: PredictionRows, model: str) -> None:
        self._log, self._model = log, model

    def chunks(self) -> Iterator[Chunk]:
        """Yields the requests. Raises InvalidInput and Unavailable."""
        empty = True
        for table in self._log.rows(self._model, ("entity", "inputs")):
            named = pl.DataFrame(table).filter(pl.col("inputs").str.starts_with("[{"))
            for part in named.iter_slices(CHUNK):
                empty = False
                yield _of_log(part)
        if empty:
            raise InvalidInput(f"The log has no requests of {self._model!r} that could be sent again.")


def _of_log(part: pl.DataFrame) -> Chunk:
    """Returns the rows. The columns are only known when the requests are read."""
    lines = "\n".join(f'{{"row":{inputs}}}' for inputs in part["inputs"])
    rows = pl.read_ndjson(lines.encode(), infer_schema_length=None)
    rows = rows.with_columns(part["entity"].alias("entity")).explode("row")
    return Chunk(rows.select("row").unnest("row"), rows["entity"])


class _named:  # noqa: N801 - reads as what it does: errors within are named by their file
    """Replaces polars' errors, whose messages may quote values, by their kind."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PolarsError):
            raise InvalidInput(f"{self._path}: cannot be read ({type(error).__name__}).") from None
