"""Rows for a model that was logged without an example, from its signature or from the attributes of its estimator.

They are candidates, which the model may refuse. Values are typical of their types, not of the model.
"""

from __future__ import annotations

import json
from math import prod
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

from serinus_runtime.artifact.loading import Loaded

ROWS = 3
_SIZE = 2
"""The size of a dimension that the signature leaves open."""
_MOST_VALUES = 1_000_000
_VALUES: dict[str, Sequence[Any]] = {
    "boolean": (True, False, True),
    "integer": (1, 0, 25),
    "long": (1, 0, 25),
    "float": (1.0, 0.0, 25.5),
    "double": (1.0, 0.0, 25.5),
    "string": ("a", "b", "some text"),
    "binary": ("YQ==", "Yg==", "Yw=="),
    "datetime": ("2024-01-15T12:00:00", "2024-02-29T00:00:00", "2025-07-01T23:59:59"),
    "any": (1.0, 0.0, 25.5),
}


class Made(NamedTuple):
    """Rows and their origin."""

    source: str
    document: Mapping[str, Any]
    """A body of `/invocations`."""


def candidates(mlmodel: Mapping[str, Any], loaded: Loaded) -> Iterator[Made]:
    """Yields candidates, the most informative first."""
    inputs = _declared(mlmodel)
    if inputs:
        yield Made("rows for its signature", _of_signature(inputs))
        return
    raw = _attribute(loaded.raw, "best_estimator_")  # The attribute of a parameter search.
    raw = loaded.raw if raw is None else raw
    for source, names, width in _known(raw):
        width = len(names) or width
        if not 0 < width <= _MOST_VALUES:
            continue
        numbers = [_VALUES["double"]] * width
        values = _by_column(raw, names, width)
        for columns in (values, numbers) if values != numbers else (numbers,):
            rows = [[column[row % len(column)] for column in columns] for row in range(ROWS)]
            split = {"columns": list(names), "data": rows} if names else {"data": rows}
            if names or columns is not numbers:  # An array of numbers and texts is one of texts.
                yield Made(source, {"dataframe_split": split})
            else:
                yield Made(source, {"inputs": rows})
    yield from _of_texts(raw)


# --- from the signature


def _declared(mlmodel: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    text = (mlmodel.get("signature") or {}).get("inputs")
    return json.loads(text) if text else []


def _of_signature(inputs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    if inputs[0].get("type") == "tensor":
        arrays = [_tensor(entry["tensor-spec"]) for entry in inputs]
        if len(inputs) == 1 and inputs[0].get("name") is None:
            return {"inputs": arrays[0]}
        return {"inputs": {str(entry.get("name")): array for entry, array in zip(inputs, arrays)}}
    rows = [[_value(entry, row) for entry in inputs] for row in range(ROWS)]
    names = [entry.get("name") for entry in inputs]
    split = {"data": rows} if None in names else {"columns": names, "data": rows}
    return {"dataframe_split": split}


def _value(spec: Mapping[str, Any], row: int) -> Any:
    """Returns a value of a column, or of a part of one."""
    kind = spec.get("type")
    if kind == "array":
        return [_value(spec.get("items") or {}, part) for part in range(_SIZE)]
    if kind == "object":
        return {name: _value(part, row) for name, part in (spec.get("properties") or {}).items()}
    if kind == "map":
        return {"key": _value(spec.get("values") or {}, row)}
    return _VALUES.get(str(kind), _VALUES["any"])[row % ROWS]


def _tensor(spec: Mapping[str, Any]) -> Any:
    dtype = str(spec.get("dtype"))
    open_sizes = [ROWS, *([_SIZE] * len(spec["shape"]))]
    shape = [int(size) if int(size) >= 0 else open_sizes[place] for place, size in enumerate(spec["shape"])]
    if prod(shape) > _MOST_VALUES:
        raise ValueError("a tensor of the signature is too large to be made")
    values = _VALUES[_kind_of(dtype)]
    return _nested(shape, lambda number: values[number % ROWS])


def _kind_of(dtype: str) -> str:
    if dtype.startswith("float"):
        return "double"
    if dtype.startswith(("int", "uint")):
        return "long"
    if dtype.startswith("datetime"):
        return "datetime"
    return "boolean" if dtype == "bool" else "string"


def _nested(shape: Sequence[int], value: Callable[[int], Any], at: int = 0) -> Any:
    if not shape:
        return value(at)
    return [_nested(shape[1:], value, at + number) for number in range(shape[0])]


# --- from the estimator


_SOURCE = "rows for the columns that it was fitted with ({})"


def _known(raw: Any) -> Iterator[tuple[str, Sequence[str], int]]:
    """Yields (origin, names, number) of the columns with which the estimator was fitted."""
    for name in ("feature_names_in_", "feature_name_", "feature_names_", "feature_names"):
        names = _strings(_attribute(raw, name))
        if names:
            yield _SOURCE.format(name), names, len(names)
    booster = _attribute(raw, "get_booster", call=True) or raw
    for name in ("feature_names", "feature_name"):
        names = _strings(_attribute(booster, name, call=True))
        if names:
            yield _SOURCE.format(name), names, len(names)
    for name, owner in (("n_features_in_", raw), ("num_features", booster), ("num_feature", booster)):
        width = _attribute(owner, name, call=True)
        if isinstance(width, int) and width > 0:
            yield _SOURCE.format(name), (), width


def _attribute(owner: Any, name: str, *, call: bool = False) -> Any:
    """Returns an attribute. None: it does not exist or raises, as in estimators that were not fitted."""
    try:
        found = getattr(owner, name, None)
        return found() if call and callable(found) else found
    except Exception:  # noqa: BLE001  what a property of a model raises is its own affair
        return None


def _strings(names: Any) -> Sequence[str]:
    if isinstance(names, str) or not hasattr(names, "__iter__"):
        return ()
    found = [str(name) for name in names]
    return found if 0 < len(found) <= _MOST_VALUES else ()


def _first(raw: Any) -> Any:
    """Returns the first step of a pipeline."""
    steps = _attribute(raw, "steps")
    first = steps[0] if isinstance(steps, list) and steps else None
    return first[1] if isinstance(first, tuple) and len(first) > 1 else raw


def _by_column(raw: Any, names: Sequence[str], width: int) -> list[Sequence[Any]]:
    """Returns a few values for each column: its categories, texts where words are extracted, or else numbers."""
    values: list[Sequence[Any]] = [_VALUES["double"]] * width
    first = _first(raw)
    transformers = _attribute(first, "transformers_")
    for entry in transformers if isinstance(transformers, list) else [("", first, slice(None))]:
        if isinstance(entry, tuple) and len(entry) == 3:
            places = _places(entry[2], names, width)
            for place, known in zip(places, _encoded(entry[1], len(places))):
                values[place] = known
    return values


def _places(chosen: Any, names: Sequence[str], width: int) -> Sequence[int]:
    """Returns the positions of the columns that a transformer gets, by name, number, mask or slice."""
    if isinstance(chosen, slice):
        plain = all(end is None or isinstance(end, int) for end in (chosen.start, chosen.stop))
        return range(width)[chosen] if plain else ()
    found = [chosen] if isinstance(chosen, (str, int)) else list(chosen) if hasattr(chosen, "__iter__") else []
    if found and all(isinstance(one, bool) or type(one).__name__ in ("bool", "bool_") for one in found):
        found = [place for place, taken in enumerate(found) if taken]
    at = {name: place for place, name in enumerate(names)}
    places = [at.get(one, -1) if isinstance(one, str) else one for one in found]
    return [int(place) for place in places if hasattr(place, "__index__") and 0 <= place < width]


def _encoded(transformer: Any, columns: int) -> Sequence[Sequence[Any]]:
    """Returns a few values for each column. Empty: neither the transformer nor one of its steps has any."""
    if _attribute(_first(transformer), "analyzer") is not None:
        return [_VALUES["string"]] * columns
    steps = _attribute(transformer, "steps")
    inside = [step[-1] for step in steps if isinstance(step, tuple) and step] if isinstance(steps, list) else []
    for one in (transformer, *inside):
        categories = _attribute(one, "categories_")
        if isinstance(categories, list) and len(categories) == columns:
            return [_scalars(of_column) or _VALUES["double"] for of_column in categories]
    return ()


def _scalars(values: Any) -> Sequence[Any]:
    found = _attribute(values, "tolist", call=True)
    return [one for one in found or () if type(one) in (str, int, float, bool) and one == one][:ROWS]


def _of_texts(raw: Any) -> Iterator[Made]:
    """Yields texts or records for estimators that take words or the keys of records, at the beginning of a pipeline or
    alone."""
    first = _first(raw)
    vocabulary = _attribute(first, "vocabulary_")
    if isinstance(vocabulary, dict) and vocabulary:
        words = [str(word) for word in vocabulary][:ROWS]
        of = f"words of its {type(first).__name__}"
        if _attribute(first, "feature_names_") is not None:  # The attribute of DictVectorizer.
            yield Made(of, {"inputs": [{word.partition("=")[0]: 1.0} for word in words]})
        yield Made(of, {"inputs": words})
    elif _attribute(first, "analyzer") is not None:
        yield Made(f"texts for its {type(first).__name__}", {"inputs": list(_VALUES["string"])})
    elif _attribute(first, "input_type") == "dict":
        records = [{"key": value} for value in _VALUES["double"]]
        yield Made(f"records for its {type(first).__name__}", {"inputs": records})
