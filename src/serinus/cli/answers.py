"""What the API has answered, as the models that it answers by."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from serinus.core.errors import SerinusError

Kind = TypeVar("Kind")

_adapters: dict[object, TypeAdapter[Any]] = {}
"""They are slow to make."""


def read(kind: type[Kind], found: object) -> Kind:
    """`found`: JSON values. Raises SerinusError where they are not of that kind."""
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
    """Reads a list of answers."""
    return read(list[kind], found)  # type: ignore[valid-type]


def _adapter(kind: type[Kind]) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
