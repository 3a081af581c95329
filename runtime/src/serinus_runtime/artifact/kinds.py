"""The types that a signature can give a column: scalars, and arrays, objects and maps of them to any depth."""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple

SCALARS = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
_MOST_DEPTH = 64
_SHOWABLE = re.compile(r"(?!.*\d{6})[A-Za-z_][\w.\- ]{0,63}")
_WHOLE = frozenset({"integer", "long"})
_RANGES = {"integer": (-(1 << 31), (1 << 31) - 1), "long": (-(1 << 63), (1 << 63) - 1)}


class Kind(NamedTuple):
    """A type of a column.

    `type` is a scalar type of MLflow, `array`, `object`, `map` or `any`. `items` is the type of the items of an array
    or a map. `properties` are those of an object, each with name, kind and whether it is required.
    """

    type: str
    items: Kind | None = None
    properties: tuple[tuple[str, Kind, bool], ...] = ()


def kind_of(entry: Mapping[str, Any], depth: int = 0) -> Kind:
    """Returns the kind of a type in MLmodel. Raises KeyError, TypeError or ValueError where it cannot be read."""
    if depth > _MOST_DEPTH:
        raise ValueError("nested too deeply")
    kind = entry["type"]
    if kind == "array":
        return Kind("array", kind_of(entry["items"], depth + 1))
    if kind == "map":
        return Kind("map", kind_of(entry["values"], depth + 1))
    if kind == "sparkml_vector":
        return Kind("array", Kind("double"))
    if kind == "object":
        parts = entry["properties"].items()
        return Kind(
            "object",
            None,
            tuple((name, kind_of(part, depth + 1), bool(part.get("required", True))) for name, part in parts),
        )
    return Kind(kind if kind in SCALARS else "any")


def showable(name: Any) -> str:
    """Returns a name that a caller sent, quoted, where it looks like a name. A value in its place is not repeated."""
    return f"'{name}'" if isinstance(name, str) and _SHOWABLE.fullmatch(name) else "with a name that is not shown"


def misfit(value: Any, kind: Kind, required: bool = True) -> str | None:
    """Returns where and why a JSON value does not fit, such as `.weight takes double: a string was sent`. None: it
    fits.

    Where the model's environment has MLflow, its own enforcement decides, and this function only locates the fault.
    """
    if kind.type == "any" or (value is None and not required):
        return None
    if kind.type == "array":
        return _array(value, kind, required)
    if kind.type == "map":
        return _map(value, kind, required)
    if kind.type == "object":
        return _object(value, kind, required)
    return _scalar(value, kind.type)


def _array(value: Any, kind: Kind, required: bool) -> str | None:
    items = kind.items or Kind("any")
    if value is None and items.type == "any":
        return None
    if not isinstance(value, list):
        return f" takes an array: {_said(value)} was sent"
    scalars = items.type in SCALARS
    for part in value:
        # Among numbers, null is NaN. An array of nested values is as strict as its column.
        if part is None and scalars and items.type not in _WHOLE:
            continue
        found = misfit(part, items, required)
        if found is not None:
            return f"[]{found}"
    return None


def _map(value: Any, kind: Kind, required: bool) -> str | None:
    items = kind.items or Kind("any")
    if value is None and items.type == "any":
        return None
    if not isinstance(value, dict):
        return f" takes an object: {_said(value)} was sent"
    found = (misfit(part, items, required) for part in value.values())
    return next((f".*{why}" for why in found if why is not None), None)


def _object(value: Any, kind: Kind, required: bool) -> str | None:
    if not isinstance(value, dict):
        return f" takes an object: {_said(value)} was sent"
    if not value and not required:
        return None
    known = {name for name, _, _ in kind.properties}
    for name, part, needed in kind.properties:
        if name in value:
            found = misfit(value[name], part, needed)
            if found is not None:
                return f".{name}{found}"
        elif needed:
            return f".{name} is required and was not sent"
    unknown = next((name for name in value if name not in known), None)
    return None if unknown is None else f" has no property {showable(unknown)}"


_PYTHON = {"boolean": bool, "string": str, "binary": str, "integer": int, "long": int}


def _scalar(value: Any, kind: str) -> str | None:
    fits = type(value) in (int, float) if kind in ("double", "float") else type(value) is _PYTHON.get(kind, type(value))
    if not fits or isinstance(value, (list, dict)) or value is None:
        return f" takes {kind}: {_said(value)} was sent"
    if kind in _WHOLE and not _RANGES[kind][0] <= value <= _RANGES[kind][1]:
        return f" takes {kind}: a number is out of range"
    return None


def _said(value: Any) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "an array",
             dict: "an object", type(None): "null"}  # fmt: skip
    return names.get(type(value), "something else")
