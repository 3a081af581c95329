"""The schema as a list of fields, for the reference and for suggestions in error messages."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from serinus.spec.quantities import Kind
from serinus.spec.schema import ModelDeployment

_PLAIN: dict[Any, Kind] = {
    str: Kind("string", "a string"),
    int: Kind("whole number", "a whole number"),
    float: Kind("number", "a number"),
    bool: Kind("true or false", "true or false"),
}


@dataclass(frozen=True, slots=True)
class Described:
    """One field. `path` is dotted, with `[]` for the items of a list: `rollout.steps[].traffic`."""

    path: str
    kind: Kind
    info: FieldInfo
    section: type[BaseModel] | None
    """The section that the field holds, by itself or as items."""

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.path.rpartition(".")[2].removesuffix("[]")


def _unwrap(annotation: Any, metadata: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(annotation) is Annotated:
        return _unwrap(get_args(annotation)[0], (*metadata, *annotation.__metadata__))
    if get_origin(annotation) in (Union, types.UnionType):
        inner = next(option for option in get_args(annotation) if option is not type(None))
        return _unwrap(inner, metadata)
    return annotation, metadata


def _kind(annotation: Any, metadata: tuple[Any, ...]) -> tuple[Kind, type[BaseModel] | None]:
    annotation, metadata = _unwrap(annotation, metadata)
    section = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    if own := next((item for item in metadata if isinstance(item, Kind)), None):
        return own, section or (_kind(get_args(annotation)[0], ())[1] if _holds_many(annotation) else None)
    if section:
        return Kind(
            "section", "a mapping of " + ", ".join(key(name, info) for name, info in section.model_fields.items())
        ), section
    if get_origin(annotation) is Literal:
        words = ", ".join(map(str, get_args(annotation)))
        return Kind(" \\| ".join(f"`{word}`" for word in get_args(annotation)), f"one of {words}"), None
    if _holds_many(annotation):
        item, section = _kind(get_args(annotation)[0], ())
        return Kind(f"list of: {item.name}", f"a list, each item {item.words}"), section
    if get_origin(annotation) is dict:
        item, _ = _kind(get_args(annotation)[1], ())
        return Kind(f"name → {item.name}", "a mapping of name to " + item.name), None
    return _PLAIN[annotation], None


def _holds_many(annotation: Any) -> bool:
    return get_origin(annotation) is tuple


def key(name: str, info: FieldInfo) -> str:
    """Returns the name of the field in the file."""
    return info.alias or name


def described(section: type[BaseModel] = ModelDeployment, prefix: str = "") -> Iterator[Described]:
    """Yields every field of the schema in its order. A section comes before its fields."""
    for name, info in section.model_fields.items():
        path = f"{prefix}{key(name, info)}"
        kind, inner = _kind(info.annotation, tuple(info.metadata))
        yield Described(path, kind, info, inner)
        if inner:
            many = _holds_many(_unwrap(info.annotation, ())[0])
            yield from described(inner, f"{path}[]." if many else f"{path}.")


FIELDS = {field.path: field for field in described()}


def siblings(prefix: str) -> dict[str, Described]:
    """Returns the fields directly below `prefix` by name. An empty prefix stands for the top level."""
    start = f"{prefix}." if prefix else ""
    return {
        path[len(start) :]: field
        for path, field in FIELDS.items()
        if path.startswith(start) and "." not in path[len(start) :]
    }
