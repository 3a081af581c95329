r"""Batches of prediction records for the collector, column by column as JSON.

    {"seq": n, "bytes": length of the body, "dropped": k?}\n<body>

The body is an object with an array for each of `FIELDS`, all of the same length. `columns` are indices into "headers",
lists of names. `inputs` are JSON texts of lists of rows, so that they can be stored without parsing. `answers` are null
where they equal the scores.
"""

from __future__ import annotations

from typing import Any, Sequence

from serinus_runtime.values.outputs import encode

FIELDS = (
    "t", "id", "entity", "role", "split", "status", "ms", "rows", "scores", "answers", "fallback", "error", "cached",
    "columns", "inputs", "prediction", "caller",
)  # fmt: skip
"""The fields of a record in order.

`id` is the caller's, where it gave one. `columns` is a sequence of names or None. `inputs` are rows, their JSON text in
bytes, or None. `prediction` is the router's own id of the request. `caller` is the name that the router knows, or None.
"""

_FLAGS = (FIELDS.index("fallback"), FIELDS.index("cached"))
_MS, _COLUMNS, _INPUTS = map(FIELDS.index, ("ms", "columns", "inputs"))


class Batch:
    """A batch that is encoded in several lots, so that no lot takes long."""

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self._lots: list[list[bytes]] = []
        self._headers: dict[tuple[str, ...], int] = {}

    def add(self, records: Sequence[Sequence[Any]]) -> None:
        """Adds records."""
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
        """Returns the batch. `dropped` is the number of records that were lost before these."""
        columns = [b'"%b":[%b]' % (name.encode(), b",".join(parts)) for name, parts in zip(FIELDS, zip(*self._lots))]
        columns = columns or [b'"%b":[]' % name.encode() for name in FIELDS]
        body = b'{%b,"headers":%b}' % (b",".join(columns), encode(list(self._headers)))
        lost = b',"dropped":%d' % dropped if dropped else b""
        return b'{"seq":%d,"bytes":%d%b}\n%b' % (number, len(body), lost, body)
