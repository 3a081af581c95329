"""Bodies that equal an earlier one except for the values of their single row.

A program writes the same text around its values again and again. Where that text is known, only the values are parsed,
because the rest was parsed and checked before. `Layout.read` proves that a body has a layout: the surrounding text is
equal byte by byte, no value contains a bracket, and the values in a list are JSON with as many values as there are
places and as many commas as separate them. So each value is JSON by itself, and the whole body differs from the earlier
one in its values only.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

from serinus_runtime.base.errors import RequestError
from serinus_runtime.protocols.oip import Asked
from serinus_runtime.values.payload import Table, Tensors, read_json

# The text before a row's values, or before each of them. The first that matches is used.
_CUTS = (
    b'"data":[[', b'"data": [[', b'"data":[', b'"data": [',
    b'"instances":[[', b'"instances": [[', b'"inputs":[[', b'"inputs": [[',
)  # fmt: skip
_MOST = 64
_MOST_TRIES = 512
"""The number of layouts that are learned from a caller whose text changes each time."""
_LARGEST = 65_536
"""The largest body that is learned, in bytes."""


class Layout(NamedTuple):
    """`parts` is the text around the values, cut at `cut`. `names` are those of the columns in the body. `pick` is the
    index of the value of each column of the signature. None: they are in its order. `before` and `after` are the
    response around its values."""

    cut: bytes
    parts: tuple[bytes, ...]
    fixed: int
    width: int
    names: Sequence[str] | None
    pick: tuple[int, ...] | None
    before: bytes = b""
    after: bytes = b""

    def read(self, parts: Sequence[bytes], size: int) -> Values | None:
        """Returns the values. `parts` is the body of `size` bytes, cut. None: it does not have this layout."""
        values = map(bytes.removesuffix, parts, self.parts)
        joined = b",".join(values)
        places = len(parts) - 1
        # Every surrounding text was found exactly if all their bytes are missing now.
        if len(joined) - places != size - self.fixed or b"[" in joined or b"]" in joined:
            return None
        text = b"[%b]" % joined[1:]
        if places > 1 and joined.count(b",") != places:
            return None
        try:
            row = read_json(text)
        except RequestError:
            return None
        if len(row) != self.width:
            return None
        pick = self.pick
        return Values(self, row if pick is None else [row[i] for i in pick], text)


class Values(NamedTuple):
    """`row` is in the order of the signature. `text` is JSON in the order of `layout.names`."""

    layout: Layout
    row: list[Any]
    text: bytes


class Layouts:
    """The layouts of one path. `columns` are those of the model in order. None: they have no names."""

    def __init__(self, columns: Sequence[str] | None) -> None:
        self._columns = columns
        self._cuts: list[bytes] = []
        self._tries = 0
        self._known: dict[tuple[bytes, int], Layout] = {}

    def find(self, body: bytes) -> Values | None:
        """Returns the values of a body. None: no layout matches."""
        for cut in self._cuts:
            parts = body.split(cut)
            layout = self._known.get((parts[0], len(parts)))
            if layout is not None:
                return layout.read(parts, len(body))
        return None

    def learn(self, body: bytes, asked: Asked, row: Sequence[Any], around: tuple[bytes, bytes]) -> None:
        """Learns a layout. `row` has the values of `body` for all columns, in the order of the signature."""
        if len(self._known) >= _MOST or self._tries >= _MOST_TRIES:
            return
        self._tries += 1
        # Python 3.8 does not have this function.
        if len(body) > _LARGEST or b"\\" in body or not hasattr(bytes, "removesuffix"):
            return
        for cut in _CUTS:
            layout = self._layout(body, cut, asked, row)
            if layout is not None:
                if cut not in self._cuts:
                    self._cuts.append(cut)
                parts = layout.parts
                self._known[parts[0], len(parts)] = layout._replace(before=around[0], after=around[1])
                return

    def _layout(self, body: bytes, cut: bytes, asked: Asked, row: Sequence[Any]) -> Layout | None:
        first, *found = body.split(cut)
        names = self._names(asked)
        # The key occurs more than once, so it is not certain which one has the values.
        if not found or body.count(cut[: cut.index(b":")]) != len(found) or len(found) not in (1, len(row)):
            return None
        parts = (first, *(part[part.find(b"]") :] for part in found))
        pick = None
        if names is not None and self._columns is not None and names != tuple(self._columns):
            if sorted(names) != sorted(self._columns):
                return None
            pick = tuple([names.index(column) for column in self._columns])
        logged = self._columns if names is None else names
        layout = Layout(cut, parts, len(cut) * len(found) + sum(map(len, parts)), len(row), logged, pick)
        values = layout.read([first, *found], len(body))
        same = values is not None and values.row == list(row) and list(map(type, values.row)) == list(map(type, row))
        return layout if same else None

    def _names(self, asked: Asked) -> tuple[str, ...] | None:
        """Returns the names in the body, where they identify the values."""
        payload = asked.payload
        if self._columns is None:
            return None
        if not isinstance(payload, Tensors):
            return payload.columns if isinstance(payload, Table) else None
        names = tuple([str(tensor.name) for tensor in payload.tensors])
        # One tensor that is not a column holds all values.
        return names if len(names) > 1 or names[0] in self._columns else None
