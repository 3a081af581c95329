"""The choice of the way to predict: MLflow's own predict, or a faster one that is known to give the same answers.

`shortcuts` has the reasons. In addition, every shortcut is checked when the model is loaded, on the rows of its input
example, alone and together, and on rows derived from them: with changed and missing numbers, with times at the limits
of nanoseconds, and for a matrix with numbers at the limits of types and with markers of missing values. It must give
the same type, names, shape and numbers, and the same scores behind labels, and raise where MLflow's predict raises.

That takes some dozens of predictions. It is done once for each release and host. Later workers are told what was proven
(`recalled`).
"""

from __future__ import annotations

import math
from typing import Any, Callable, NamedTuple, Sequence

from serinus_runtime.artifact.loading import Loaded, Predict
from serinus_runtime.artifact.signature import Column
from serinus_runtime.base.errors import ModelFailure, RequestError
from serinus_runtime.model.shortcuts import Shortcut, matrix_shortcuts, passes_enforcement, signs_of
from serinus_runtime.values.frames import Frames
from serinus_runtime.values.inputs import Bound, TableBound
from serinus_runtime.values.outputs import outputs_of
from serinus_runtime.values.payload import Rows

_TOLERANCE = {"FP64": 1e-12, "FP32": 1e-7, "FP16": 1e-3}
"""The differences that threads may cause by adding in another order each time."""
_MOST_ROWS = 5
_NUMBERS = ("double", "float", "integer", "long")
EXTREMES = (0, -0.0, 5e-324, 1e-45, 1e-38, (1 << 24) + 1, (1 << 31) - 1, (1 << 31) + 1, (1 << 53) - 1, 1 << 53,
             (1 << 53) + 1, (1 << 63) - 1, -(1 << 63), 3.5e38, 1e308)  # fmt: skip
_TIMES = ("1677-09-21T00:12:44", "1970-01-01T00:00:00", "2262-04-11T23:47:16", "1600-01-01T00:00:00",
          "2300-01-01T00:00:00")  # fmt: skip
_LARGEST = {"integer": 1 << 31, "long": 1 << 63}


class Way(NamedTuple):
    """A way to predict. `by_matrix` takes `Frames.matrix` of all columns, `by_data` takes `Bound.data()`. Either may be
    missing."""

    by_data: Predict | None = None
    by_matrix: Predict | None = None
    note: str = ""
    name: str = ""
    """The name for `recalled`. Empty: nothing was proven."""


_DATA, _MATRIX = "data", "matrix-"


def recalled(loaded: Loaded, columns: Sequence[Column], name: str) -> Way | None:
    """Returns the way that `choose` has proven for the same model in the same environment.

    None: there is none of that name, or no reason for it.
    """
    words = name.split()
    calls = {_MATRIX + shortcut.name: shortcut.call for shortcut in _matrix_shortcuts(loaded, Frames(columns))}
    by_data = loaded.direct if _DATA in words and passes_enforcement(loaded, columns) else None
    by_matrix = next((calls[word] for word in words if word in calls), None)
    found = Way(by_data, by_matrix, name=name)
    return found if len(words) == sum(way is not None for way in (by_data, by_matrix)) > 0 else None


def _matrix_shortcuts(loaded: Loaded, frames: Frames) -> list[Shortcut]:
    return matrix_shortcuts(loaded, frames.columns) if frames.has_matrix else []


def choose(loaded: Loaded, example: Bound) -> Way:
    """Returns the fastest way that gives the same answers. `example` has the rows of the input example."""
    if isinstance(example, TableBound):
        return _choose_for_table(loaded, example)
    cases = [example, *(example.row(i) for i in range(min(len(example.rows), _MOST_ROWS)))]
    expected = [_attempt(loaded.public, case.data()) for case in cases]
    if passes_enforcement(loaded, ()) and all(
        _same(want, _attempt(loaded.direct, case.data())) for want, case in zip(expected, cases)
    ):
        return Way(by_data=loaded.direct, name=_DATA)
    return Way(note="predict without MLflow's schema enforcement gave other answers on the input example: not used")


def _choose_for_table(loaded: Loaded, example: TableBound) -> Way:
    frames = example.frames
    shortcuts = _matrix_shortcuts(loaded, frames)
    # Only classes of libraries get extreme numbers, because an author's own code might loop up to a number.
    odd = [*signs_of(loaded.raw), *EXTREMES] if shortcuts else ()
    cases = _buildable(frames, variants(frames, example.rows[:_MOST_ROWS], odd))
    expected = [_attempt(loaded.public, frames.frame(rows)) for rows in cases]
    by_data = by_matrix = None
    names = []
    if passes_enforcement(loaded, frames.columns) and all(
        _same(want, _attempt(loaded.direct, frames.frame(rows))) for want, rows in zip(expected, cases)
    ):
        by_data = loaded.direct
        names.append(_DATA)
    for shortcut in shortcuts:
        if _holds(shortcut, frames, cases, expected):
            by_matrix = shortcut.call
            names.append(_MATRIX + shortcut.name)
            break
    note = "" if by_data or by_matrix else "no shorter way gave the answers of MLflow's own predict: it is used"
    return Way(by_data, by_matrix, note, " ".join(names))


def _holds(shortcut: Shortcut, frames: Frames, cases: Sequence[Rows], expected: Sequence[_Attempt]) -> bool:
    for want, rows in zip(expected, cases):
        matrix = frames.matrix(rows)
        if matrix is None:  # Such rows are sent as a frame.
            continue
        if not _same(want, _attempt(shortcut.call, matrix)):
            return False
        if shortcut.scores is not None and shortcut.wanted is not None:
            behind = _attempt(shortcut.wanted, frames.frame(rows))
            if not _same(behind, _attempt(shortcut.scores, matrix)):
                return False
    return True


def _buildable(frames: Frames, batches: Sequence[Rows]) -> list[Rows]:
    """Returns the batches that are not refused before the model is called."""
    found = []
    for rows in batches:
        try:
            frames.frame(rows)
        except RequestError:
            continue
        found.append(rows)
    return found


def variants(frames: Frames, rows: Rows, odd: Sequence[float] = ()) -> list[Rows]:
    """Returns batches of rows like `rows` on which two ways are compared: together, alone, reversed, changed, zero,
    with missing numbers, a row for each of the `odd` numbers, and where there are times, for each limit of
    nanoseconds."""
    kinds = [column.type for column in frames.columns]

    def changed(change: Callable[[Any, str, int], Any]) -> Rows:
        return [[change(value, kinds[i], i) for i, value in enumerate(row)] for row in rows]

    batches: list[Rows] = [rows, rows[::-1], *([row] for row in rows)]
    batches += [
        changed(lambda value, kind, i: _moved(value, kind, 1 + i)),
        changed(lambda value, kind, i: _moved(value, kind, -3 * i - 1)),
        changed(lambda value, kind, _: 0 if kind in _NUMBERS else value),
        changed(lambda value, kind, _: None if kind in ("double", "float") else value),
        changed(lambda value, kind, i: None if kind in ("double", "float") and i % 7 == 0 else value),
    ]
    for number in dict.fromkeys(odd):
        batches.append([[_at(value, kind, number) for value, kind in zip(rows[0], kinds)]])
    for time in _TIMES if "datetime" in kinds else ():
        batches.append([[time if kind == "datetime" else value for value, kind in zip(rows[0], kinds)]])
    return batches


def _at(value: Any, kind: str, number: float) -> Any:
    """Returns `number`, where a column of `kind` can hold it."""
    if kind in _LARGEST:
        return int(number) if -_LARGEST[kind] <= number < _LARGEST[kind] and number == int(number) else value
    if kind not in ("double", "float") or (kind == "float" and abs(number) > 3.4e38):
        return value
    return float(number)


def _moved(value: Any, kind: str, by: int) -> Any:
    if value is None or kind not in _NUMBERS:
        return value
    return int(value) + by if kind in ("integer", "long") else value * 1.07 + by / 10


class _Attempt(NamedTuple):
    result: Any = None
    raised: type | None = None


def _attempt(call: Predict, data: Any) -> _Attempt:
    try:
        return _Attempt(result=call(data))
    except (Exception, SystemExit) as error:  # noqa: BLE001
        # Exceptions on odd rows are a part of the model's behaviour, which both ways must share.
        return _Attempt(raised=type(error))


def _same(want: _Attempt, got: _Attempt) -> bool:
    if want.raised is not None or got.raised is not None:
        return want.raised is got.raised
    if type(want.result) is not type(got.result):
        return False
    try:
        wanted, given = outputs_of(want.result), outputs_of(got.result)
    except ModelFailure:
        return False
    if any(output.problem for output in wanted):  # Values of types that cannot be compared.
        return False
    return [item[:3] for item in wanted] == [item[:3] for item in given] and all(
        _close(a.data, b.data, _TOLERANCE.get(a.datatype, 0.0)) for a, b in zip(wanted, given)
    )


def _close(wanted: Sequence[Any], given: Sequence[Any], tolerance: float) -> bool:
    return all(
        a == b
        or (
            type(a) is float
            and type(b) is float
            and (a != a if b != b else math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance * 1e-3))
        )
        for a, b in zip(wanted, given)
    )
