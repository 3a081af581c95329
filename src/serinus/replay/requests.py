"""HTTP requests made of rows. polars builds thousands at a time, so that nothing remains to be done when they are
sent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlsplit

import polars as pl

from serinus.core.errors import InvalidInput
from serinus.replay.sources import Chunk

Protocol = Literal["oip", "invocations"]
_NOT_IN_A_HEADER = r"[^\x20-\x7e]"
_NOT_IN_AN_ID = r"[^A-Za-z0-9._:-]"


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests in order, with their ids and labels. Ids and labels are empty where they are not needed."""

    requests: Sequence[bytes]
    ids: Sequence[str]
    labels: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Form:
    """How a row becomes a request."""

    host: str
    path: str
    protocol: Protocol
    headers: str
    """Header lines that are the same in every request."""
    entity_header: str
    fresh_entities: bool
    prefix: str
    labelled: bool

    def batch(self, chunk: Chunk, first_row: int, turn: int) -> Batch:
        """Returns the requests of a chunk. `first_row` is the number of its first row, `turn` the number of earlier
        passes."""
        rows = pl.Series(range(first_row, first_row + chunk.inputs.height), dtype=pl.Int64)
        ids = (chunk.ids if chunk.ids is not None else rows).cast(pl.String).str.replace_all(_NOT_IN_AN_ID, "_")
        frame = pl.DataFrame(
            {"id": pl.select(pl.concat_str(pl.lit(f"{self.prefix}-"), ids, pl.lit(f"-{turn}"))).to_series()}
        )
        frame = frame.with_columns(self._entity_line(chunk, turn).alias("entity"), body=self._bodies(chunk.inputs))
        request = pl.concat_str(
            pl.lit(f"POST {self.path} HTTP/1.1\r\nhost: {self.host}\r\n{self.headers}x-request-id: "),
            pl.col("id"),
            pl.lit("\r\n"),
            pl.col("entity"),
            pl.lit("content-length: "),
            pl.col("body").str.len_bytes().cast(pl.String),
            pl.lit("\r\n\r\n"),
            pl.col("body"),
        )
        requests = frame.select(request.cast(pl.Binary)).to_series().to_list()
        if not self.labelled or chunk.labels is None:
            return Batch(requests, (), ())
        return Batch(requests, frame["id"].to_list(), chunk.labels.to_list())

    def _entity_line(self, chunk: Chunk, turn: int) -> pl.Series:
        if chunk.entities is None:
            return pl.Series([""] * chunk.inputs.height, dtype=pl.String)
        entity = pl.lit(chunk.entities.cast(pl.String).str.replace_all(_NOT_IN_A_HEADER, "_"))
        fresh = f"-{turn}" if self.fresh_entities and turn else ""
        line = pl.concat_str(pl.lit(f"{self.entity_header}: "), entity, pl.lit(f"{fresh}\r\n"))
        return pl.select(pl.when(entity.str.len_bytes() > 0).then(line).otherwise(pl.lit(""))).to_series()

    def _bodies(self, inputs: pl.DataFrame) -> pl.Series:
        inputs = inputs.select(_sendable(column) for column in inputs.iter_columns())
        if self.protocol == "invocations":
            record = pl.struct(pl.all()).struct.json_encode()
            return inputs.select(pl.concat_str(pl.lit('{"dataframe_records":['), record, pl.lit("]}"))).to_series()
        tensors = (part for column in inputs.iter_columns() for part in _tensor(column))
        parts = [pl.lit('{"inputs":['), *list(tensors)[1:], pl.lit("]}")]
        return inputs.select(pl.concat_str(parts)).to_series()


def form_of(
    url: str,
    model: str,
    *,
    protocol: Protocol,
    entity_header: str,
    api_key: str | None,
    fresh_entities: bool,
    prefix: str,
    labelled: bool,
) -> Form:
    """Returns the form. Raises InvalidInput where the protocol or a header is not valid."""
    paths = {
        "oip": f"/v2/models/{quote(model, safe='')}/infer",
        "invocations": f"/models/{quote(model, safe='')}/invocations",
    }
    if protocol not in paths:
        raise InvalidInput(f"There is no protocol {protocol!r}; there are: {', '.join(paths)}.")
    headers = "content-type: application/json\r\n"
    if api_key is not None:
        headers += f"x-api-key: {api_key}\r\n"
    if any(not text.isascii() or not text.isprintable() for text in (api_key or "", entity_header, prefix)):
        raise InvalidInput("The API key, the entity header and the prefix must be printable ASCII.")
    host = urlsplit(url).netloc
    return Form(host, paths[protocol], protocol, headers, entity_header, fresh_entities, prefix, labelled)


def _sendable(column: pl.Series) -> pl.Series:
    if column.dtype.is_temporal() or isinstance(column.dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    if column.dtype.is_decimal():
        return column.cast(pl.Float64)
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.String, pl.Null)):
        raise InvalidInput(f"Column {column.name!r} holds {column.dtype}, which cannot be an input of a row.")
    return column


def _tensor(column: pl.Series) -> tuple[pl.Expr, ...]:
    """Returns the parts of `,{"name": ..., "data": [value]}`."""
    head = {"name": column.name, "shape": [1], "datatype": _datatype(column.dtype)}
    # polars writes a value as JSON only within an object.
    value = pl.struct(pl.col(column.name).alias("v")).struct.json_encode().str.slice(len('{"v":')).str.head(-1)
    return pl.lit(","), pl.lit(json.dumps(head)[:-1] + ', "data": ['), value, pl.lit("]}")


def _datatype(dtype: pl.DataType) -> str:
    if dtype == pl.Boolean:
        return "BOOL"
    if dtype.is_float():
        return "FP32" if dtype == pl.Float32 else "FP64"
    if dtype.is_integer():
        return str(dtype).upper()
    return "BYTES" if dtype == pl.String else "FP64"
