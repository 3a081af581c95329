"""Conversion of rows of JSON values to the matrix of a compiled model, which refuses what the original refuses.

A text is replaced by its index in the column's vocabulary. One row of the usual types is written directly to the memory
of the matrix. Everything else is converted column by column, as for an uncompiled model.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from serinus_runtime.artifact.signature import Column
from serinus_runtime.base.errors import ModelFailure
from serinus_runtime.base.libraries import library
from serinus_runtime.values.convert import CONVERSIONS, column_error
from serinus_runtime.values.payload import Rows, transpose

UNSEEN = -1
"""The number of a text that is not in the vocabulary."""
_MOST_TYPES = 256
_EXACT_TYPES: Mapping[str, frozenset[type]] = {
    "double": frozenset({float, int, type(None)}),
    "float": frozenset({float, int, type(None)}),
    "integer": frozenset({int}),
    "long": frozenset({int}),
    "boolean": frozenset({bool}),
    "string": frozenset({str, type(None)}),
}
"""Types that are converted by writing them to the matrix."""
_LARGEST = {"integer": float(1 << 31), "long": float(1 << 63), "float": 3e38}
NAN = float("nan")


@dataclass(frozen=True)
class Feature:
    """A column of `plan.json`. `null` and `unseen`: whether the original answers such a row. `instead` holds the value
    for a row without the column. None: the original needs it."""

    column: Column
    texts: Mapping[str, int] | None
    known: frozenset[float] | None
    bounds: tuple[float, float] | None
    null: bool
    unseen: bool
    instead: Sequence[Any] | None = None

    @classmethod
    def of(cls, plan: Mapping[str, Any], column: Column) -> Feature:
        """Returns the feature of a column."""
        known, bounds = plan["known"], plan["bounds"]
        return cls(
            column,
            plan["texts"],
            None if known is None else frozenset(known),
            None if bounds is None else (bounds[0], bounds[1]),
            plan["null"],
            plan["unseen"],
            plan.get("instead"),
        )

    def codes(self, values: Sequence[Any]) -> list[float]:
        """Returns the numbers of texts. Raises RequestError where a text is missing as in CSV, which a graph cannot
        express, and ModelFailure where the original does not know a text."""
        if any(value != value for value in values):
            raise column_error(self.column, "an empty field of CSV was sent; send null in JSON for a missing text")
        texts = self.texts or {}
        codes = [NAN if value is None else texts.get(value, UNSEEN) for value in values]
        if not self.unseen and UNSEEN in codes:
            raise _unlike_the_training(self.column)
        return codes

    def check(self, numbers: Any) -> None:
        """Checks the numbers (float64) of a column. Raises ModelFailure where the original refuses one of them."""
        numpy = library("numpy")
        there = numbers[~numpy.isnan(numbers)]
        if not self.null and len(there) < len(numbers):
            raise ModelFailure(f"the model failed: it does not take null for {self.column.name}")
        if self.known is not None and not self.known.issuperset(there.tolist()):
            raise _unlike_the_training(self.column)
        if self.bounds is not None and ((there < self.bounds[0]) | (there > self.bounds[1])).any():
            raise ModelFailure(f"the model failed: a number for {self.column.name} is out of its range")


def _unlike_the_training(column: Column) -> ModelFailure:
    return ModelFailure(
        f"the model failed: a value for {column.name} is not one of the values that it was trained with"
    )


def completed(features: Sequence[Feature], columns: Sequence[Column], rows: Rows) -> Rows:
    """Returns rows with all columns, from rows with `columns` only. Raises ModelFailure where the original needs a
    missing one."""
    place = {column.name: i for i, column in enumerate(columns)}
    for feature in features:
        if feature.instead is None and feature.column.name not in place:
            raise ModelFailure(f"the model failed: it needs {feature.column.name}")
    absent = [value for feature in features for value in feature.instead or (None,)]
    places = [place.get(feature.column.name) for feature in features]
    return [[absent[i] if at is None else row[at] for i, at in enumerate(places)] for row in rows]


class Encoder:
    """Writes one row to `row`, a float64 matrix [1, columns] with fixed memory. Several rows are written to a new
    matrix."""

    def __init__(self, features: Sequence[Feature]) -> None:
        numpy = library("numpy")
        self.row = numpy.zeros((1, len(features)))
        self._features = tuple(features)
        self._memory = memoryview(self.row).cast("B")
        self._pack = struct.Struct(f"{len(features)}d").pack_into
        self._texts = [(i, one.texts, one.unseen) for i, one in enumerate(features) if one.texts is not None]
        self._singles = [i for i, one in enumerate(features) if one.column.type == "float"]
        self._round = struct.Struct(f"{len(self._singles)}f")
        self._known = [(i, feature.known) for i, feature in enumerate(features) if feature.known is not None]
        ends = [abs(end) for feature in features for end in feature.bounds or ()]
        self._safe = min([1e300, *ends, *(_LARGEST.get(feature.column.type, 1e300) for feature in features)])
        """If the absolute values of all numbers add up to less than this, none of them is out of bounds and none is
        NaN."""
        self._types: dict[tuple[type, ...], tuple[int, ...] | None] = {}
        """The types of a row -> the positions of its missing values, or None if the row must be converted."""

    def encode(self, row: Sequence[Any]) -> bool:
        """Returns whether `row` was written to `self.row`. If not, `matrix` converts it or reports the error. Raises
        ModelFailure."""
        types = tuple(map(type, row))
        try:
            empty = self._types[types]
        except KeyError:
            empty = self._learn(types)
        if empty is None:
            return False
        values = self._coded(row, empty) if empty or self._texts else row
        if values is None or not self._small(values):
            return False
        if self._singles:
            values = self._rounded(values)
        for i, known in self._known:
            if values[i] not in known and row[i] is not None:
                return False
        self._pack(self._memory, 0, *values)
        for i in empty:
            self.row[0, i] = NAN
        return True

    def _coded(self, row: Sequence[Any], empty: tuple[int, ...]) -> list[Any] | None:
        """Returns the row with numbers for texts and 0 for missing values. None: the original may refuse a text."""
        values = list(row)
        for i in empty:
            values[i] = 0.0
        for i, texts, unseen in self._texts:
            text = row[i]
            code = values[i] = texts.get(text, UNSEEN)
            # Text that is not ASCII may be invalid Unicode. The vocabulary is valid.
            if code == UNSEEN and text is not None and not (unseen and text.isascii()):
                return None
        return values

    def _rounded(self, values: Sequence[Any]) -> list[Any]:
        """Returns the values with columns of float32 rounded."""
        changed = list(values)
        singles = self._round.unpack(self._round.pack(*[values[i] for i in self._singles]))
        for i, value in zip(self._singles, singles):
            changed[i] = value
        return changed

    def _small(self, values: Sequence[Any]) -> bool:
        try:
            return bool(sum(map(abs, values)) < self._safe)
        except OverflowError:  # An integer that no float can hold.
            return False

    def _learn(self, types: tuple[type, ...]) -> tuple[int, ...] | None:
        found: tuple[int, ...] | None = tuple(i for i, kind in enumerate(types) if kind is type(None))
        for kind, feature in zip(types, self._features):
            if kind not in _EXACT_TYPES.get(feature.column.type, ()) or (
                kind is type(None) and not self._empty(feature)
            ):
                found = None
        if len(self._types) < _MOST_TYPES:
            self._types[types] = found
        return found

    @staticmethod
    def _empty(feature: Feature) -> bool:
        return feature.null and (feature.column.type in ("double", "float") or not feature.column.required)

    def matrix(self, rows: Rows) -> Any:
        """Returns float64, [rows, columns]. Raises RequestError where a value does not fit the signature, and
        ModelFailure where the original refuses it."""
        numpy = library("numpy")
        converted = [
            CONVERSIONS[feature.column.type](values, feature.column)
            for feature, values in zip(self._features, transpose(rows))
        ]
        matrix = numpy.empty((len(rows), len(self._features)))
        for i, (feature, values) in enumerate(zip(self._features, converted)):
            if feature.texts is not None:
                matrix[:, i] = feature.codes(values.tolist())
            elif feature.column.type == "boolean":
                matrix[:, i] = [NAN if value is None else value for value in values.tolist()]
            else:
                matrix[:, i] = values
            feature.check(matrix[:, i])
        return matrix
