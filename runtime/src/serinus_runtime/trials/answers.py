"""Answers as rows of plain values, whatever their format, for comparisons."""

from __future__ import annotations

from math import prod
from typing import Any, Iterator, Mapping, Sequence


def of_predictions(predictions: Any, rows: int) -> list[list[Any]]:
    """Returns all values of each row's answer in MLflow's protocol, in order. An answer that has not one part for each
    row is one row."""
    if isinstance(predictions, dict) and predictions:
        columns = list(predictions.values())
        if all(isinstance(column, list) and len(column) == rows for column in columns):
            return [list(_leaves(list(parts))) for parts in zip(*columns)]
    if isinstance(predictions, list) and len(predictions) == rows:
        return [list(_leaves(part)) for part in predictions]
    return [list(_leaves(predictions))]


def of_outputs(outputs: Sequence[Mapping[str, Any]], rows: int) -> list[list[Any]]:
    """Returns the same for an answer of the Open Inference Protocol. Raises KeyError or TypeError where it is
    malformed."""
    if any(not output["shape"] or output["shape"][0] != rows for output in outputs):
        return [[value for output in outputs for value in output["data"]]]
    found: list[list[Any]] = [[] for _ in range(rows)]
    for output in outputs:
        width = prod(output["shape"][1:])
        for number, row in enumerate(found):
            row.extend(output["data"][number * width : (number + 1) * width])
    return found


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    else:
        yield value
