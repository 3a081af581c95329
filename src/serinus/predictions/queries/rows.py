"""The rows of the log in the order of time, with a bounded number of them in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta

import polars as pl
from deltalake.exceptions import DeltaError
from polars.exceptions import PolarsError

from serinus.core.errors import InvalidInput, Unavailable
from serinus.predictions.queries.reading import read_table, within
from serinus.predictions.table.delta import COLUMNS
from serinus.predictions.table.places import Place

MOST = 20_000
"""The number of model rows that are held at a time, unless a millisecond has more."""
_OPEN_SECONDS = 1800.0
"""The time after which the log is opened again. Replaced files are kept for an hour."""
_STEPS = (timedelta(seconds=1), timedelta(milliseconds=1))

_Span = tuple[datetime, datetime]
"""The start (included) and the end (excluded)."""


def rows(
    opened: Callable[[], pl.LazyFrame],
    model: str,
    columns: Sequence[str],
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[pl.DataFrame]:
    """Yields `columns` of the model's requests from `since` until before `until`, in the order of time.

    Frames have at most `MOST` requests. `opened` opens the whole log. Raises InvalidInput and Unavailable.
    """
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown:
        raise InvalidInput(
            f"The prediction log has no column {', '.join(unknown)}.", hint=f"The columns are: {', '.join(COLUMNS)}."
        )
    try:
        for part in _parts(_Reopened(opened), model, since, until):
            frame = part.sort("time", maintain_order=True).select(columns).collect()
            yield from frame.iter_slices(MOST)
    except (OSError, DeltaError, PolarsError) as error:  # Its message may hold values.
        raise Unavailable(f"The prediction log cannot be read ({type(error).__name__}).") from None


class TableRows:
    """The rows of a Delta table by itself, such as a copy of a log's."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def rows(
        self, model: str, columns: Sequence[str], since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[pl.DataFrame]:
        return rows(lambda: read_table(self._place), model, columns, since, until)


def _parts(log: _Reopened, model: str, since: datetime | None, until: datetime | None) -> Iterator[pl.LazyFrame]:
    """Yields the requested data, one span of time after the other."""

    def found(day: date) -> pl.LazyFrame:
        return within(log.frame(), model, since, until).filter(pl.col("day") == day)

    for day in _days(within(log.frame(), model, since, until)):
        for begin, end in _spans(found(day)):
            yield found(day).filter(pl.col("time") >= begin, pl.col("time") < end)


class _Reopened:
    """The log, opened again from time to time. Each span of time is read from one view, which holds every record
    once."""

    def __init__(self, opened: Callable[[], pl.LazyFrame]) -> None:
        self._opened = opened
        self._frame, self._at = opened(), time.monotonic()

    def frame(self) -> pl.LazyFrame:
        if time.monotonic() - self._at > _OPEN_SECONDS:
            self._frame, self._at = self._opened(), time.monotonic()
        return self._frame


def _days(frame: pl.LazyFrame) -> Sequence[date]:
    """Returns the days, one for each partition."""
    days: list[date] = frame.select(pl.col("day").unique().sort()).collect()["day"].to_list()
    return days


def _spans(frame: pl.LazyFrame, steps: Sequence[timedelta] = _STEPS) -> Iterator[_Span]:
    """Yields spans with at most `MOST` rows each, or as short as the last of `steps`."""
    step, *shorter = steps
    begin = pl.col("time").dt.truncate(step).alias("begin")
    many = pl.col("rows").fill_null(1).clip(lower_bound=1).cast(pl.Int64).sum().alias("many")
    counted = frame.group_by(begin).agg(many).sort("begin").collect(engine="streaming")
    span: _Span | None = None
    held = 0
    for at, more in counted.iter_rows():
        if span is not None and held + more > MOST:
            yield span
            span, held = None, 0
        if more > MOST and shorter:
            yield from _spans(frame.filter(pl.col("time") >= at, pl.col("time") < at + step), shorter)
        else:
            span, held = (span[0] if span is not None else at, at + step), held + more
    if span is not None:
        yield span
