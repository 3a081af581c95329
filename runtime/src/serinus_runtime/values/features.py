"""Rows of JSON values to the matrix that a compiled model takes, refusing what the original refuses.

A text goes in as its place in the column's vocabulary. One row of the usual types is written straight into the
matrix's memory; all else is converted column by column, as for an uncompiled model.
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
"""Of a text that is not in the vocabulary."""
_MOST_TYPES = 256
_EXACT_TYPES: Mapping[str, frozenset[type]] = {
    "double": frozenset({float, int, type(None)}),
    "float": frozenset({float, int, type(None)}),
    "integer": frozenset({int}),
    "long": frozenset({int}),
    "boolean": frozenset({bool}),
    "string": frozenset({str, type(None)}),
}
"""Types that are converted by being written into the matrix."""
_LARGEST = {"integer": float(1 << 31), "long": float(1 << 63), "float": 3e38}
NAN = float("nan")


@dataclass(frozen=True)
class Feature:
    """One column, as `plan.json` tells of it. `null`, `unseen`: whether the original answers such a row. `instead`:
    holds the value for a row without it; None: the original needs it."""

    column: Column
    texts: Mapping[str, int] | None
    known: frozenset[float] | None
    bounds: tuple[float, float] | None
    null: bool
    unseen: bool
    instead: Sequence[Any] | None = None

    @classmethod
    def of(cls, plan: Mapping[str, Any], column: Column) -> Feature:
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
        """RequestError: a text is missing as CSV has it, which a graph has no number for; ModelFailure: the original
        does not know a text."""
        if any(value != value for value in values):
            raise column_error(self.column, "an empty field of CSV was sent; send null in JSON for a missing text")
        texts = self.texts or {}
        codes = [NAN if value is None else texts.get(value, UNSEEN) for value in values]
        if not self.unseen and UNSEEN in codes:
            raise _unlike_the_training(self.column)
        return codes

    def check(self, numbers: Any) -> None:
        """`numbers`: float64, of one column. ModelFailure: the original refuses one of them."""
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
    """Whole rows of such as hold `columns` only. ModelFailure: the original does not answer without one."""
    place = {column.name: i for i, column in enumerate(columns)}
    for feature in features:
        if feature.instead is None and feature.column.name not in place:
            raise ModelFailure(f"the model failed: it needs {feature.column.name}")
    absent = [value for feature in features for value in feature.instead or (None,)]
    places = [place.get(feature.column.name) for feature in features]
    return [[absent[i] if at is None else row[at] for i, at in enumerate(places)] for row in rows]


class Encoder:
    """Writes one row into `row`, a float64 matrix [1, columns] whose memory stays the same; several into a new one."""

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
        """Where the sizes of all numbers add up to less, none of them is out of any bounds, and none is NaN."""
        self._types: dict[tuple[type, ...], tuple[int, ...] | None] = {}
        """Types of a row -> where it holds nothing; None: it must be converted."""

    def encode(self, row: Sequence[Any]) -> bool:
        """Whether `row` has been written into `self.row`; if not, `matrix` tells why, or how. ModelFailure."""
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
        """The row with numbers for texts and 0 for nothing; None: a text that the original may refuse."""
        values = list(row)
        for i in empty:
            values[i] = 0.0
        for i, texts, unseen in self._texts:
            text = row[i]
            code = values[i] = texts.get(text, UNSEEN)
            # What is not ASCII may be no valid Unicode; the vocabulary is.
            if code == UNSEEN and text is not None and not (unseen and text.isascii()):
                return None
        return values

    def _rounded(self, values: Sequence[Any]) -> list[Any]:
        """Columns of float32 as float32 has them."""
        changed = list(values)
        singles = self._round.unpack(self._round.pack(*[values[i] for i in self._singles]))
        for i, value in zip(self._singles, singles):
            changed[i] = value
        return changed

    def _small(self, values: Sequence[Any]) -> bool:
        try:
            return bool(sum(map(abs, values)) < self._safe)
        except OverflowError:  # a whole number that no float can hold
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
        """float64, [rows, columns]. RequestError: a value does not fit the signature; ModelFailure: the original
        refuses it."""
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
