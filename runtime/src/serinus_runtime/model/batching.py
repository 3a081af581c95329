"""Adaptive batching: concurrent requests to a slow model are predicted together, and each is answered as if alone.

A model that takes 5 ms for one row and 6 ms for 64 answers ten times as many requests in batches. The waiting time is
limited by time, by rows and by the number of callers: nobody waits when all callers have sent their request, or as many
requests have arrived as in recent batches. Rows are only predicted together where other rows cannot change the model's
input, that is with the same columns and types.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections import deque
from typing import Any, Callable, Hashable, NamedTuple, Protocol, Sequence, Union

from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.base.libraries import library
from serinus_runtime.model.model import Answer
from serinus_runtime.model.predictor import Predictor
from serinus_runtime.values.inputs import ArrayBound, Bound, TableBound


class Late:
    """The outcome of a request whose time limit ended before it was predicted."""


LATE = Late()
_RECENT = 4
"""The number of recent batches. The largest of them is the number of requests that are waited for."""
_MEMORY = 1 / 16
"""The weight of the last batch in the mean duration of a request."""
Outcome = Union[Answer, RequestError, ModelFailure, Late]
Done = Callable[[Outcome], None]


class Timer(Protocol):
    """The functions of an event loop that are used."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> Any:
        """Calls `callback` after `delay` seconds."""

    def call_soon(self, callback: Callable[[], object]) -> Any:
        """Calls `callback` soon."""


class _Waiter(NamedTuple):
    deadline: float | None
    done: Done


class _Item:
    """Rows to predict, and all requests that wait for them. Equal requests in flight are one item."""

    __slots__ = ("bound", "waiters")

    def __init__(self, bound: Bound, waiter: _Waiter) -> None:
        self.bound = bound
        self.waiters = [waiter]


class Batcher:
    """Forms batches. Single-threaded. Each `done` is called exactly once, and never from within `submit`."""

    def __init__(
        self,
        model: Predictor,
        timer: Timer,
        delay: float,
        most_rows: int,
        *,
        callers: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`delay` is in seconds. `callers` returns how many callers could send a request at present, one each. None:
        unknown. `clock` is the clock of deadlines."""
        self._model = model
        self._timer = timer
        self._delay = delay
        self._most_rows = most_rows
        self._callers = callers
        self._clock = clock
        self._items: list[_Item] = []
        self._by_key: dict[Hashable, _Item] = {}
        self._rows = 0
        self._scheduled: Any = None
        self._hurried = False
        self._recent: deque[int] = deque(maxlen=_RECENT)
        """The number of requests in each of the last batches."""
        self._expected = sys.maxsize
        """The number of requests that are expected at a time, from the last batches. Open connections only say how many
        could ask."""
        self.waiting = 0
        """The number of requests that were submitted and not answered yet."""
        self.seconds_each = 0.0
        """The running mean of the seconds that a request takes in its batch."""

    def submit(self, bound: Bound, deadline: float | None, done: Done, key: Hashable | None = None) -> None:
        """Adds a request. `deadline` is a time of the clock (None: none). Requests with the same `key` share one
        prediction (None: a prediction of its own)."""
        self.waiting += 1
        waiter = _Waiter(deadline, done)
        item = None if key is None else self._by_key.get(key)
        if item is not None:
            item.waiters.append(waiter)
        else:
            item = _Item(bound, waiter)
            self._items.append(item)
            self._rows += len(bound.rows)
            if key is not None:
                self._by_key[key] = item
        if self._rows >= self._most_rows or self.waiting >= self._expected or self._all_are_here():
            self._hurry()  # Requests that arrive until then are included.
        elif self._scheduled is None:
            self._scheduled = self._timer.call_later(self._delay, self._run)

    def _all_are_here(self) -> bool:
        return self._callers is not None and self.waiting >= self._callers()

    def _hurry(self) -> None:
        if self._hurried:
            return
        if self._scheduled is not None:
            self._scheduled.cancel()
        self._hurried = True
        self._scheduled = self._timer.call_soon(self._run)

    def _run(self) -> None:
        items, self._items, self._by_key = self._items, [], {}
        self._rows, self._scheduled, self._hurried = 0, None, False
        self._recent.append(self.waiting)
        if len(self._recent) == _RECENT:
            self._expected = max(self._recent)
        groups: dict[Hashable, list[_Item]] = {}
        for item in items:
            kind = _company(item.bound)
            groups.setdefault(id(item) if kind is None else kind, []).append(item)
        for group in groups.values():
            for part in self._parts(group):
                self._predict(part)

    def _parts(self, group: list[_Item]) -> Sequence[list[_Item]]:
        """Divides a group so that no part has more than the largest number of rows, unless a single request has."""
        parts: list[list[_Item]] = [[]]
        rows = 0
        for item in group:
            if parts[-1] and rows + len(item.bound.rows) > self._most_rows:
                parts.append([])
                rows = 0
            parts[-1].append(item)
            rows += len(item.bound.rows)
        return parts

    def _predict(self, items: list[_Item]) -> None:
        items = [item for item in items if self._in_time(item)]
        if not items:
            return
        began, before = self._clock(), self.waiting
        self._predict_all(items)
        each = (self._clock() - began) / (before - self.waiting)
        self.seconds_each += (each - self.seconds_each) * _MEMORY

    def _predict_all(self, items: list[_Item]) -> None:
        if len(items) > 1:
            answers = self._together(items)
            if answers is not None:
                for item, answer in zip(items, answers):
                    self._settle(item, answer)
                return
        for item in items:
            if len(items) == 1 or self._in_time(item):
                self._settle(item, self._alone(item.bound))

    def _in_time(self, item: _Item) -> bool:
        """Answers requests whose time limit has ended. Returns whether any others wait."""
        now = self._clock()
        late = [waiter for waiter in item.waiters if waiter.deadline is not None and now > waiter.deadline]
        item.waiters = [waiter for waiter in item.waiters if waiter not in late] if late else item.waiters
        for waiter in late:
            self._finish(waiter, LATE)
        return bool(item.waiters)

    def _together(self, items: Sequence[_Item]) -> Sequence[Answer] | None:
        """Returns one answer for each item. None: some of them get no answer together, so each is predicted alone."""
        sizes = [len(item.bound.rows) for item in items]
        try:
            answer = self._model.predict(_joined([item.bound for item in items]))
            ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
            results = [_part(answer.result, end - size, end, sum(sizes)) for size, end in zip(sizes, ends)]
            return [Answer(result, self._model.answers.read(result)) for result in results]
        except Exception:  # noqa: BLE001
            # Each of them then gets its own answer or error.
            return None

    def _alone(self, bound: Bound) -> Outcome:
        try:
            return self._model.predict(bound)
        except (RequestError, ModelFailure) as error:
            return error
        except Exception:  # noqa: BLE001
            # A defect of the runtime. It is reported, and must not affect the other requests.
            traceback.print_exc(file=sys.stderr)
            return ModelFailure("the worker failed on this request", "worker-error")

    def _settle(self, item: _Item, outcome: Outcome) -> None:
        for waiter in item.waiters:
            self._finish(waiter, outcome)

    def _finish(self, waiter: _Waiter, outcome: Outcome) -> None:
        self.waiting -= 1
        waiter.done(outcome)


def _company(bound: Bound) -> Hashable | None:
    """Returns a key that is equal for rows that may be predicted together. None: these must be predicted alone."""
    if isinstance(bound, TableBound):
        # A null among booleans turns the whole column into objects, including other requests' values.
        optional = [
            i for i, column in enumerate(bound.frames.columns) if column.type == "boolean" and not column.required
        ]
        return (id(bound.frames), *(any(row[i] is None for row in bound.rows) for i in optional))
    # Without declared types, the type of a column depends on all of its rows.
    if getattr(bound, "sent", None) is not None:
        return None
    data = bound.data()
    if isinstance(data, dict):
        return tuple((name, array.dtype.str, array.shape[1:]) for name, array in data.items())
    return (data.dtype.str, data.shape[1:])


def _joined(bounds: Sequence[Bound]) -> Bound:
    rows = [row for bound in bounds for row in bound.rows]
    first = bounds[0]
    if isinstance(first, TableBound):
        return TableBound(first.frames, first.columns, rows)
    parts = [bound.data() for bound in bounds]
    concatenate = library("numpy").concatenate
    if isinstance(parts[0], dict):
        data: Any = {name: concatenate([part[name] for part in parts]) for name in parts[0]}
    else:
        data = concatenate(parts)
    return ArrayBound(data, first.columns, rows)


def _part(result: Any, start: int, end: int, rows: int) -> Any:
    """Returns the rows from `start` until before `end` of `rows`, as the model would have answered them alone.

    Raises ModelFailure where the result cannot be divided, such as a text for all rows.
    """
    if isinstance(result, dict):
        return {name: _part(value, start, end, rows) for name, value in result.items()}
    by_rows = isinstance(result, (list, tuple)) or bool(getattr(result, "shape", None))
    if not by_rows or len(result) != rows:
        raise ModelFailure(f"{type(result).__name__} answers cannot be taken apart", "bad-answer")
    if hasattr(result, "iloc"):
        return result.iloc[start:end].reset_index(drop=True)
    return result[start:end]
