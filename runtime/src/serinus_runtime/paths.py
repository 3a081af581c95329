"""Which way to predict: MLflow's own predict, or a shorter one that is proven at load to give the same answers.

Proven means: on the rows of the model's input example, alone and together, and on rows made of them by moving numbers,
leaving them out and changing the order, the shorter way gives the same type, names, shape and numbers, up to the
rounding of the last digits that another memory layout brings, and raises where the public way raises.

That takes some dozens of predictions. It is done once for a release and host: workers that come later are told what
was proven (`recalled`).
"""

from __future__ import annotations

import math
from typing import Any, Callable, NamedTuple, Sequence

from serinus_runtime.boosting import dense_predict
from serinus_runtime.errors import ModelFailure
from serinus_runtime.frames import Frames
from serinus_runtime.inputs import Bound, TableBound
from serinus_runtime.libraries import loaded as imported
from serinus_runtime.loading import Loaded, Predict
from serinus_runtime.outputs import outputs_of
from serinus_runtime.payload import Rows

_MATRIX_FLAVORS = ("mlflow.sklearn", "mlflow.xgboost", "mlflow.lightgbm")
_TOLERANCE = {"FP64": 1e-9, "FP32": 1e-6, "FP16": 1e-3}
_MOST_ROWS = 5


class Way(NamedTuple):
    """`by_matrix`: takes `Frames.matrix` of all columns; `by_data`: takes `Bound.data()`. Either may be missing."""

    by_data: Predict | None = None
    by_matrix: Predict | None = None
    note: str = ""
    name: str = ""
    """What `recalled` finds it by; empty where nothing was proven."""


_DATA, _MATRIX = "data", "matrix-"


def recalled(loaded: Loaded, name: str) -> Way | None:
    """The way that `choose` has proven for the same model in the same environment. None: none goes by that name."""
    words = name.split()
    calls = {f"{_MATRIX}{number}": call for number, call in enumerate(_matrix_calls(loaded))}
    by_data = loaded.direct if _DATA in words else None
    by_matrix = next((calls[word] for word in words if word in calls), None)
    found = Way(by_data, by_matrix, name=name)
    return found if len(words) == sum(way is not None for way in (by_data, by_matrix)) > 0 else None


def choose(loaded: Loaded, example: Bound) -> Way:
    """`example`: the input example's rows, for the whole signature."""
    if isinstance(example, TableBound):
        return _choose_for_table(loaded, example)
    cases = [example, *(example.row(i) for i in range(min(len(example.rows), _MOST_ROWS)))]
    expected = [_attempt(loaded.public, case.data()) for case in cases]
    if all(_same(want, _attempt(loaded.direct, case.data())) for want, case in zip(expected, cases)):
        return Way(by_data=loaded.direct, name=_DATA)
    return Way(note="predict without MLflow's schema enforcement gave other answers on the input example: not used")


def _choose_for_table(loaded: Loaded, example: TableBound) -> Way:
    frames = example.frames
    cases = variants(frames, example.rows[:_MOST_ROWS])
    expected = [_attempt(loaded.public, frames.frame(rows)) for rows in cases]
    by_data = by_matrix = None
    names = []
    if all(_same(want, _attempt(loaded.direct, frames.frame(rows))) for want, rows in zip(expected, cases)):
        by_data = loaded.direct
        names.append(_DATA)
    for number, call in enumerate(_matrix_calls(loaded) if frames.has_matrix else ()):
        if all(_same(want, _attempt(call, frames.matrix(rows))) for want, rows in zip(expected, cases)):
            by_matrix = call
            names.append(f"{_MATRIX}{number}")
            break
    note = "" if by_data or by_matrix else "no shorter way gave the answers of MLflow's own predict: it is used"
    return Way(by_data, by_matrix, note, " ".join(names))


def _matrix_calls(loaded: Loaded) -> list[Predict]:
    """What may take a matrix in place of a DataFrame, the quickest first. Candidates: the parity decides."""
    if loaded.flavor not in _MATRIX_FLAVORS:
        return []
    xgboost = imported("xgboost")
    if xgboost is None or loaded.flavor != "mlflow.xgboost":
        return [loaded.direct]
    if isinstance(loaded.raw, xgboost.Booster):
        native = dense_predict(loaded.raw)
        return [native, loaded.raw.inplace_predict] if native else [loaded.raw.inplace_predict]
    booster = loaded.raw.get_booster()
    margins = dense_predict(booster) or booster.inplace_predict
    # Past MLflow's wrapper, which inspects a signature each time, and scikit-learn's, which checks what a matrix is.
    return [margins, lambda matrix: (margins(matrix) > 0.5).astype("int64"), loaded.raw.predict, loaded.direct]


def variants(frames: Frames, rows: Rows) -> list[Rows]:
    """Batches of rows like `rows` to try two ways on: together, alone, reversed, moved, zero, with missing numbers."""
    kinds = [column.type for column in frames.columns]

    def changed(change: Callable[[Any, str, int], Any]) -> Rows:
        return [[change(value, kinds[i], i) for i, value in enumerate(row)] for row in rows]

    batches: list[Rows] = [rows, rows[::-1], *([row] for row in rows)]
    batches += [
        changed(lambda value, kind, i: _moved(value, kind, 1 + i)),
        changed(lambda value, kind, i: _moved(value, kind, -3 * i - 1)),
        changed(lambda value, kind, _: 0 if kind in ("double", "float", "integer", "long") else value),
        changed(lambda value, kind, _: None if kind in ("double", "float") else value),
        changed(lambda value, kind, i: None if kind in ("double", "float") and i % 7 == 0 else value),
    ]
    return batches


def _moved(value: Any, kind: str, by: int) -> Any:
    if value is None or kind not in ("double", "float", "integer", "long"):
        return value
    return int(value) + by if kind in ("integer", "long") else value * 1.07 + by / 10


class _Attempt(NamedTuple):
    result: Any = None
    raised: type | None = None


def _attempt(call: Predict, data: Any) -> _Attempt:
    try:
        return _Attempt(result=call(data))
    except (Exception, SystemExit) as error:  # noqa: BLE001
        # What a model raises on odd rows is part of how it behaves: both ways must do the same.
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
