"""The values of a spec, field by field, and the differences between two specs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serinus.core.redaction import without_credentials
from serinus.spec.document import Document, Path, dotted, read
from serinus.spec.loading import load
from serinus.spec.schema import ModelDeployment
from serinus.spec.section import Section
from serinus.spec.writing import as_yaml


@dataclass(frozen=True, slots=True)
class Value:
    """The value of one field."""

    field: str
    """The path of the field, such as `rollout.steps`."""
    text: str
    """The value as it would be written in YAML, without credentials."""
    line: int | None
    """The line of the file. None: the value is the default."""


@dataclass(frozen=True, slots=True)
class Change:
    """A field whose meaning differs. A section that is `off` in one of the two specs is one field."""

    field: str
    before: str
    """A text as in `Value.text`."""
    after: str
    line: int | None
    """The line of the later file. None: the new value is the default."""


def values(text: str, *, model: str, source: str = "<spec>") -> list[Value]:
    """Returns every field with its value, in the order of the schema. Raises InvalidInput."""
    document = read(text)
    fields = _fields(load(text, source=source, model=model), ())
    return [Value(dotted(path), _shown(written), _line(document, path)) for path, written in fields]


def changes(before: str, after: str, *, model: str, source: str = "<spec>") -> list[Change]:
    """Returns the changes from one text to another. Defaults count as if they were written. Raises InvalidInput."""
    document = read(after)
    found = _differing(load(before, model=model), load(after, source=source, model=model), ())
    return [Change(dotted(path), _shown(was), _shown(will_be), _line(document, path)) for path, was, will_be in found]


def differing(one: ModelDeployment, other: ModelDeployment) -> list[str]:
    """Returns the paths of the fields whose meaning differs. Defaults count as if they were written."""
    return [dotted(path) for path, _, _ in _differing(one, other, ())]


def _differing(one: Section, other: Section, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    """Yields the path and both values of every difference between two sections of the same type."""
    for (word, mine, as_mine), (_, its, as_its) in zip(_members(one), _members(other), strict=True):
        if isinstance(mine, Section) and type(mine) is type(its):
            yield from _differing(mine, its, (*path, word))
        elif mine != its:
            yield (*path, word), as_mine, as_its


def _fields(section: Section, path: Path) -> Iterator[tuple[Path, Any]]:
    for word, value, written in _members(section):
        if isinstance(value, Section):
            yield from _fields(value, (*path, word))
        else:
            yield (*path, word), written


def _members(section: Section) -> Iterator[tuple[str, Any, Any]]:
    """Yields each field's name in the file, its value, and its text in YAML."""
    written = section.model_dump(mode="json", by_alias=True)
    for name, field in type(section).model_fields.items():
        word = field.alias or name
        yield word, getattr(section, name), written[word]


def _shown(value: Any) -> str:
    # `off` and `on` need no quotes in a spec. The writer adds them in places for readers of YAML 1.1.
    text = value if value in ("off", "on") else as_yaml(value, flow=True)
    return without_credentials(text)


def _line(document: Document, path: Path) -> int | None:
    """Returns the line that sets `path`: that of its own key, or of a word that stands for the section around it."""
    value: Any = document.value
    for depth, part in enumerate(path):
        if not isinstance(value, Mapping) or part not in value:
            # A key without a value leaves the section to its defaults. A word such as `on` does not.
            says = depth > 0 and value is not None and not isinstance(value, Mapping)
            return document.key_lines.get(path[:depth]) if says else None
        value = value[part]
    return document.key_lines.get(path)
