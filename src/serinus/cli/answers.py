"""Parsing of the API's answers into their models."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from serinus.core.errors import SerinusError

Kind = TypeVar("Kind")

_adapters: dict[object, TypeAdapter[Any]] = {}
"""Cached, because creating them is slow."""


def read(kind: type[Kind], found: object) -> Kind:
    """Returns JSON values as a model. Raises SerinusError where they do not fit."""
    try:
        value: Kind = _adapter(kind).validate_python(found)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise SerinusError(
            f"the server answers what this version of Serinus cannot read (at {where or 'the beginning'})",
            hint="Use the version that the server is of; --json shows its answer as it is.",
        ) from error
    return value


def read_all(kind: type[Kind], found: object) -> list[Kind]:
    """Returns a list of answers."""
    return read(list[kind], found)  # type: ignore[valid-type]


def _adapter(kind: type[Kind]) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
