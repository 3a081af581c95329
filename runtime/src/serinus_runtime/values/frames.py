"""Conversion of rows of JSON values to a model's input. It is prepared when the model is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, NoReturn, Sequence

from serinus_runtime.artifact.signature import Column
from serinus_runtime.base.errors import RequestError
from serinus_runtime.base.libraries import library
from serinus_runtime.values.convert import CONVERSIONS, FLOATS, column_error, floats, whole
from serinus_runtime.values.payload import Rows, transpose

_EXACT = 1 << 53
"""Larger whole numbers are not exact in float64."""


class Frames:
    """Builds DataFrames for fixed columns, and matrices where all columns are numbers."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        kinds = {column.type for column in columns}
        self._uniform = {frozenset({"double"}): "float64", frozenset({"float"}): "float32"}.get(frozenset(kinds))
        self.has_matrix = bool(kinds) and (self._uniform is not None or kinds <= {"double", "integer", "long"})
        """Whether a matrix can hold the columns exactly."""
        self._whole = [(i, column) for i, column in enumerate(columns) if column.type in ("integer", "long")]
        self._labels = [column.name if column.name is not None else i for i, column in enumerate(columns)]
        self._index: Any = None

    def frame(self, rows: Rows) -> Any:
        """Returns the DataFrame that MLflow's schema enforcement would pass to the model. RequestError names a
        column."""
        # It is imported on use, because a compiled model has no pandas.
        pandas = library("pandas")
        if self._index is None:
            self._index = pandas.Index(self._labels)
        if self._uniform is not None:
            return pandas.DataFrame(self._floats(rows), columns=self._index, copy=False)
        values = transpose(rows) if rows else [[] for _ in self.columns]
        arrays = [CONVERSIONS[column.type](given, column) for column, given in zip(self.columns, values)]
        frame = pandas.DataFrame(dict(enumerate(arrays)), copy=False)
        frame.columns = self._index
        return frame

    def matrix(self, rows: Rows) -> Any | None:
        """Returns a float64 matrix (float32 where all columns are `float`) with one row for each row. None: it would
        not be exact."""
        for i, column in self._whole:
            numbers = whole([row[i] for row in rows], column)
            if numbers and not -_EXACT <= min(numbers) <= max(numbers) <= _EXACT:
                return None
        return self._floats(rows)

    def _floats(self, rows: Rows) -> Any:
        for row in rows:
            if not FLOATS.issuperset(map(type, row)):
                self._blame(rows)
        array = floats(rows, self._uniform or "float64")
        if array is None:
            self._blame(rows)
        # It has the memory layout of MLflow's frames, column by column. Sums over another one differ in their last
        # digits.
        return library("numpy").asfortranarray(array.reshape(len(rows), len(self.columns)))

    def _blame(self, rows: Rows) -> NoReturn:
        """Raises RequestError, which names the column whose value does not fit."""
        for column, values in zip(self.columns, transpose(rows)):
            CONVERSIONS[column.type](values, column)
        raise AssertionError("each column takes its values")


class Arrangement(NamedTuple):
    """The conversion of one order of columns to the model's. `pick` has the index of each. None: they are in order."""

    pick: Sequence[int] | None
    frames: Frames

    def rows(self, sent: list[list[Any]]) -> list[list[Any]]:
        """Returns the rows in the model's order."""
        pick = self.pick
        return sent if pick is None else [[row[i] for i in pick] for row in sent]


def none_of(columns: Sequence[Column]) -> RequestError:
    """Returns the error for rows without columns, which pandas does not count. Each column is optional, but not all at
    once."""
    return RequestError(f"none of the model's columns was sent; it takes: {', '.join(one.label for one in columns)}")


class Arranger:
    """Arrangements by the names in requests. They are prepared on first use and cached."""

    _MOST = 64

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.frames = Frames(columns)
        self._known: dict[tuple[str, ...], Arrangement] = {}

    def arrange(self, names: tuple[str, ...] | None, width: int, *, exact: bool) -> Arrangement:
        """Returns the arrangement. Raises RequestError where a required column is missing, a column is there twice, or
        with `exact` an unknown one is there."""
        if names is None:
            if width != len(self.columns):
                raise RequestError(f"the model takes {len(self.columns)} columns, {width} were sent")
            return Arrangement(None, self.frames)
        arrangement = self._known.get(names)
        if arrangement is None:
            if self.columns[0].name is None:
                return self._unnamed(names, exact=exact)
            arrangement = self._compile(names)
            if len(self._known) < self._MOST:
                self._known[names] = arrangement
        if exact and len(arrangement.frames.columns) < len(names):
            takes = ", ".join(column.label for column in self.columns)
            raise RequestError(f"an input was sent that the model does not have; it takes: {takes}")
        return arrangement

    def _unnamed(self, names: tuple[str, ...], *, exact: bool) -> Arrangement:
        """Returns the arrangement for a signature without names. Tensors have the names of the metadata, or are used in
        order. A DataFrame keeps its names, as in MLflow."""
        plain = self.arrange(None, len(names), exact=exact)
        if len(set(names)) < len(names):
            raise RequestError("a column was sent twice")
        places = {f"input-{i}": i for i in range(len(names))}
        if not exact:
            return Arrangement(None, Frames([replace(column, name=name) for column, name in zip(self.columns, names)]))
        if places.keys() != set(names):
            return plain
        return Arrangement([names.index(name) for name in places], self.frames)

    def _compile(self, names: tuple[str, ...]) -> Arrangement:
        position = {name: i for i, name in enumerate(names)}
        if len(position) < len(names):
            raise RequestError("a column was sent twice")
        missing = [column for column in self.columns if column.label not in position]
        for column in missing:
            if column.required:
                raise column_error(column, "it is required and was not sent")
        present = [column for column in self.columns if column.label in position]
        if not present:
            raise none_of(self.columns)
        pick = [position[column.label] for column in present]
        frames = Frames(present) if missing else self.frames
        return Arrangement(None if pick == list(range(len(names))) else pick, frames)
