"""The model's own answers to rows, with one verdict for each row, also where it refuses many of them."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from serinus_runtime.base.errors import RequestError
from serinus_runtime.base.libraries import library
from serinus_runtime.compiling.graph import Unsupported
from serinus_runtime.compiling.rows import RowList

ANSWERED, FAILED, REFUSED = 0, 1, 2
"""FAILED: the model raised (HTTP 500). REFUSED: the request does not fit (HTTP 400)."""

_FEW = 8
"""Rows at the edges come in groups of one kind. Where so few rows fail, most of the group probably do."""


class Answered(NamedTuple):
    """`verdicts` has one for each row. `values` is [rows, ...] with zeros where there is no answer. `dtype` is the
    answers'."""

    verdicts: list[int]
    values: Any
    dtype: str


def answer(ask: Callable[[RowList], Any], rows: RowList) -> Answered:
    """Returns the answers. `ask` returns a NumPy array with a row for each row, or raises. Raises Unsupported where it
    answers something else."""
    numpy = library("numpy")
    verdicts, parts = [ANSWERED] * len(rows), {}
    sample: Any | None = None
    waiting = [(0, len(rows))] if rows else []
    while waiting:
        start, end = waiting.pop()
        try:
            found = ask(rows[start:end])
        except (Exception, SystemExit) as error:  # noqa: BLE001
            # One bad row makes all fail, so the halves are asked, and in the end each row alone.
            if end - start > _FEW:
                middle = (start + end) // 2
                waiting += [(start, middle), (middle, end)]
            elif end - start > 1:
                waiting += [(i, i + 1) for i in range(start, end)]
            else:
                verdicts[start] = REFUSED if isinstance(error, RequestError) else FAILED
            continue
        sample = parts[start] = _array(found, end - start)
    if sample is None:
        raise Unsupported("a model that answers none of its own rows")
    values = numpy.zeros((len(rows), *sample.shape[1:]), dtype=sample.dtype)
    for start, part in parts.items():
        if part.dtype != sample.dtype or part.shape[1:] != sample.shape[1:]:
            raise Unsupported("a model whose answers change their type or shape")
        values[start : start + len(part)] = part
    return Answered(verdicts, values, str(sample.dtype))


def _array(found: Any, rows: int) -> Any:
    numpy = library("numpy")
    if not isinstance(found, numpy.ndarray) or found.ndim not in (1, 2) or len(found) != rows:
        raise Unsupported("a model that does not answer an array with a row for each row")
    return found
