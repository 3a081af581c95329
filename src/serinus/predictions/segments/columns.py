"""Answered requests as columns: the validated contents of a batch, from which counts and table are made.

    {"t": [..], "id": [..], "entity": [..], "role": [..], "split": [..], "status": [..], "ms": [..], "rows": [..],
     "scores": [[..]|null], "answers": [[..]|null], "fallback": [0|1], "error": [..|null], "cached": [0|1],
     "columns": [index into "headers"|null], "headers": [[name, ..], ..], "inputs": ["[[..], ..]"|null],
     "prediction": [..|null], "caller": [..|null]}

The last two may be missing in batches of earlier versions.

A record's release and model are those of its connection, never of the record. Inputs are JSON text that is not parsed
here. Values that a caller or a model can choose never make a batch malformed. They are truncated or corrected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import chain, compress
from typing import Any

from pydantic_core import to_json

from serinus.predictions.segments.wire import MAX_TEXT, Hello, LocalReply, Malformed, mended, read_json

Numbers = list[float | None] | None

_TEXT_OR_NONE: set[type] = {str, type(None)}
_WHOLE_OR_NONE: set[type] = {int, type(None)}
_DAY, _MINUTE = 86_400, 60
_LARGE, _MOST_LISTS, _MOST_VALUES = 4 << 20, 4_000_000, 8_000_000
"""The size in bytes from which on a batch is limited in its number of lists. An empty list takes three bytes in the
batch and sixty in memory."""


@dataclass(slots=True)
class Columns:
    """Lists of the same length. A record is what is at the same index in all of them."""

    time: list[float] = field(default_factory=list)
    request_id: list[str] = field(default_factory=list)
    entity: list[str | None] = field(default_factory=list)
    model: list[str] = field(default_factory=list)
    release: list[str] = field(default_factory=list)
    """Empty: the router had none to send the request to."""
    role: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    """The time that the caller waited."""
    rows: list[int] = field(default_factory=list)
    header: list[str | None] = field(default_factory=list)
    """A JSON list of the column names of `inputs`."""
    inputs: list[str | None] = field(default_factory=list)
    """A JSON list of rows. With a header, each row is a list."""
    scores: list[Numbers] = field(default_factory=list)
    """None within a list stands for a number that is not finite."""
    answers: list[Numbers] = field(default_factory=list)
    fallback: list[bool] = field(default_factory=list)
    error: list[str | None] = field(default_factory=list)
    cached: list[bool] = field(default_factory=list)
    by_router: list[bool] = field(default_factory=list)
    """Whether the router answered in the release's place."""
    prediction_id: list[str | None] = field(default_factory=list)
    """The router's unique id. None: an earlier version has answered."""
    caller: list[str | None] = field(default_factory=list)
    """The name of the caller's API key. None: none was required."""
    set_aside: list[str | None] = field(default_factory=list)
    """The cause of the disturbance (`core.disturbance.Cause`) because of which the request is not counted. None: it is
    counted. Workers cannot set it."""

    @property
    def identity(self) -> list[str]:
        """Returns the ids by which the router and a release identify a request."""
        return [own or given for own, given in zip(self.prediction_id, self.request_id, strict=True)]

    def __len__(self) -> int:
        return len(self.time)

    def extend(self, more: Columns) -> None:
        """Appends records."""
        for name in _NAMES:
            getattr(self, name).extend(getattr(more, name))

    def without_inputs(self) -> Columns:
        """Returns the records without their inputs."""
        nothing: list[str | None] = [None] * len(self)
        return replace(self, header=nothing, inputs=nothing)

    def where(self, kept: Sequence[bool]) -> Columns:
        """Returns the records for which `kept` is true."""
        return Columns(*(list(compress(getattr(self, name), kept)) for name in _NAMES))


_NAMES = tuple(one.name for one in fields(Columns))


def parse_body(body: bytes, hello: Hello) -> Columns:
    """Returns the records of a batch. Raises Malformed, which names the column."""
    if not body:  # The batch has only a count of discarded records.
        return Columns()
    if len(body) > _LARGE and (body.count(b"[") > _MOST_LISTS or body.count(b",") > _MOST_VALUES):
        raise Malformed("batch: holds more values than are taken")
    said = read_json(body)
    if not isinstance(said, dict):
        raise Malformed("batch: not an object")
    found = _Checked(said)
    n, status, scores = found.length, found.whole("status", 100, 599), found.lists("scores")
    return Columns(
        time=found.numbers("t", 4e9),
        request_id=found.texts("id", {str}, MAX_TEXT),
        entity=found.texts("entity", _TEXT_OR_NONE, MAX_TEXT),
        model=[hello.model] * n,
        release=[hello.release] * n,
        role=found.words("role", ""),
        split=found.words("split", ""),
        status=status,
        ms=found.numbers("ms", 1e9),
        rows=found.whole("rows", 0, 100_000_000),
        header=found.headers(),
        inputs=found.texts("inputs", _TEXT_OR_NONE, None),
        scores=scores,
        answers=_answers(found.lists("answers"), scores, status),
        fallback=found.flags("fallback"),
        error=found.words("error", None),
        cached=found.flags("cached"),
        by_router=[False] * n,
        prediction_id=found.texts("prediction", _TEXT_OR_NONE, MAX_TEXT) if "prediction" in said else [None] * n,
        caller=found.words("caller", None) if "caller" in said else [None] * n,
        set_aside=[None] * n,
    )


class _Checked:
    """The columns of a batch, each validated as a whole by the types that occur and the smallest and largest value."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = said
        first = said.get("t")
        if not isinstance(first, list):
            raise Malformed("t is not a list")
        self.length = len(first)

    def column(self, name: str, types: set[type]) -> list[Any]:
        values = self._said.get(name)
        if not isinstance(values, list) or len(values) != self.length:
            raise Malformed(f"{name} is not a list as long as t")
        if not types.issuperset(map(type, values)):
            raise Malformed(f"{name} holds another type than {' and '.join(sorted(kind.__name__ for kind in types))}")
        return values

    def numbers(self, name: str, most: float) -> list[float]:
        values = self.column(name, {int, float})
        if values and not (min(values) >= 0 and max(values) <= most):
            raise Malformed(f"{name} is not a number from 0 to {most:g}")
        return values

    def whole(self, name: str, least: int, most: int) -> list[int]:
        values = self.column(name, {int})
        if values and not (min(values) >= least and max(values) <= most):
            raise Malformed(f"{name} is not a whole number from {least} to {most}")
        return values

    def flags(self, name: str) -> list[bool]:
        return [bool(value) for value in self.column(name, {int, bool})]

    def texts(self, name: str, types: set[type], most: int | None) -> list[Any]:
        """Returns a column of many different texts. Empty ones become None where that is allowed."""
        values = self.column(name, types)
        # Texts are truncated and corrected only where one of them is long or not ASCII, which is cheap to find out.
        together = "".join(filter(None, values))
        if not together.isascii() or (most and max(map(len, filter(None, values)), default=0) > most):
            values = [value and mended(value, most) for value in values]
        return [value or None for value in values] if "" in values and type(None) in types else values

    def words(self, name: str, empty: str | None) -> list[Any]:
        """Returns a column of few different texts, each of which is validated once."""
        values = self.column(name, _TEXT_OR_NONE)
        kinds = {kind: mended(kind or "") or empty for kind in set(values)}
        same = all(kind == word for kind, word in kinds.items())
        return values if same else list(map(kinds.__getitem__, values))

    def lists(self, name: str) -> list[Numbers]:
        values = self.column(name, {list, type(None)})
        if {float, type(None)}.issuperset(map(type, chain.from_iterable(filter(None, values)))):
            return values
        return [as_numbers(value) for value in values]

    def headers(self) -> list[str | None]:
        headers, indices = self._said.get("headers"), self.column("columns", _WHOLE_OR_NONE)
        if not isinstance(headers, list) or not all(map(_is_names, headers)):
            raise Malformed("headers is not a list of lists of names")
        used = set(indices) - {None}
        if used and not (min(used) >= 0 and max(used) < len(headers)):
            raise Malformed("columns holds an index that headers does not have")
        texts = [to_json([mended(name) for name in header]).decode() for header in headers]
        return [None if index is None else texts[index] for index in indices]


def _answers(answers: list[Numbers], scores: list[Numbers], status: list[int]) -> list[Numbers]:
    """Returns the answers. Where they are missing, they are the scores for requests that were answered without an
    error."""
    if answers.count(None) == len(answers) and max(status, default=0) < 400:
        return scores
    return [
        score if answer is None and code < 400 else answer
        for answer, score, code in zip(answers, scores, status, strict=True)
    ]


def of_replies(replies: Sequence[LocalReply]) -> Columns:
    """Returns the router's replies as records."""
    n = len(replies)
    if not n:
        return Columns()
    by_name = dict(zip(LocalReply._fields, map(list, zip(*replies, strict=True)), strict=True))
    nothing: list[None] = [None] * n
    lists = {name: list(nothing) for name in ("header", "inputs", "scores", "answers", "set_aside")}
    return Columns(**by_name, **lists, cached=[False] * n, by_router=[True] * n)  # type: ignore[arg-type]


def timed_by(columns: Columns, at: float) -> Columns:
    """Sets the time of records from another day than that of their arrival, `at`, to the time of their arrival.

    The partitions of the table must not depend on a worker's clock.
    """
    first, last = at - _DAY, at + _MINUTE
    if columns and not (min(columns.time) >= first and max(columns.time) <= last):
        columns.time = [time if first <= time <= last else at for time in columns.time]
    return columns


def _is_names(header: object) -> bool:
    return isinstance(header, list) and all(type(name) is str for name in header)


def as_numbers(values: Sequence[Any] | None) -> Numbers:
    """Returns numbers, with None for everything else that a model may answer: texts, infinities, integers beyond any
    float."""
    return None if values is None else [_as_float(one) for one in values]


def _as_float(value: Any) -> float | None:
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
