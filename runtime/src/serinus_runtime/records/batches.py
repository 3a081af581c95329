"""Prediction records as the batches that go to the collector: column by column, as JSON.

    {"seq": n, "bytes": length of the body, "dropped": k?}\\n<body>

The body is an object with one array for each of `FIELDS`, all of the same length. `columns` are places in "headers",
lists of names; `inputs` are JSON texts of lists of rows, so that whoever stores them need not read them; `answers` are
null where they are the scores.
"""

from __future__ import annotations

from typing import Any, Sequence

from serinus_runtime.values.outputs import encode

FIELDS = (
    "t", "id", "entity", "role", "split", "status", "ms", "rows", "scores", "answers", "fallback", "error", "cached",
    "columns", "inputs", "prediction", "caller",
)  # fmt: skip
"""Of a record, in this order. `id`: the caller's, where it gave one. `columns`: a sequence of names, or None. `inputs`:
rows, or their JSON text in bytes, or None. `prediction`: the router's own id of the request. `caller`: by the name that
the router knows, or None."""

_FLAGS = (FIELDS.index("fallback"), FIELDS.index("cached"))
_MS, _COLUMNS, _INPUTS = map(FIELDS.index, ("ms", "columns", "inputs"))


class Batch:
    """Grows lot by lot, so that encoding never takes long at once."""

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self._lots: list[list[bytes]] = []
        self._headers: dict[tuple[str, ...], int] = {}

    def add(self, records: Sequence[Sequence[Any]]) -> None:
        columns: list[Any] = list(zip(*records))
        columns[_MS] = [round(ms, 3) for ms in columns[_MS]]
        for flag in _FLAGS:
            columns[flag] = list(map(int, columns[flag]))
        columns[_COLUMNS] = [None if names is None else self._header(names) for names in columns[_COLUMNS]]
        columns[_INPUTS] = [
            None if rows is None else (rows if type(rows) is bytes else encode(rows)).decode()
            for rows in columns[_INPUTS]
        ]
        lot = [encode(column)[1:-1] for column in columns]
        self._lots.append(lot)
        self.count += len(records)
        self.size += sum(map(len, lot))

    def _header(self, names: Sequence[str]) -> int:
        return self._headers.setdefault(tuple(names), len(self._headers))

    def encoded(self, number: int, dropped: int) -> bytes:
        """`dropped`: records that were lost before these."""
        columns = [b'"%b":[%b]' % (name.encode(), b",".join(parts)) for name, parts in zip(FIELDS, zip(*self._lots))]
        columns = columns or [b'"%b":[]' % name.encode() for name in FIELDS]
        body = b'{%b,"headers":%b}' % (b",".join(columns), encode(list(self._headers)))
        lost = b',"dropped":%d' % dropped if dropped else b""
        return b'{"seq":%d,"bytes":%d%b}\n%b' % (number, len(body), lost, body)
