"""What a spec says, value by value, and what one says otherwise than another."""

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
    """One field that is in force."""

    field: str
    """`rollout.steps`"""
    text: str
    """As it would be written in YAML, without credentials."""
    line: int | None
    """Where the text says it; None: it does not, and this is the default."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field whose meaning differs; a section that is `off` in one of the two is one field."""

    field: str
    before: str
    """As `Value.text`."""
    after: str
    line: int | None
    """Where the later text says it; None: it is the default there."""


def values(text: str, *, model: str, source: str = "<spec>") -> list[Value]:
    """Every field that holds a value, in the order of the schema. Raises InvalidInput."""
    document = read(text)
    fields = _fields(load(text, source=source, model=model), ())
    return [Value(dotted(path), _shown(written), _line(document, path)) for path, written in fields]


def changes(before: str, after: str, *, model: str, source: str = "<spec>") -> list[Change]:
    """From one text to another; defaults count as if they were written. Raises InvalidInput."""
    document = read(after)
    found = _differing(load(before, model=model), load(after, source=source, model=model), ())
    return [Change(dotted(path), _shown(was), _shown(will_be), _line(document, path)) for path, was, will_be in found]


def differing(one: ModelDeployment, other: ModelDeployment) -> list[str]:
    """The fields whose meaning differs, as `rollout.steps`; defaults count as if they were written."""
    return [dotted(path) for path, _, _ in _differing(one, other, ())]


def _differing(one: Section, other: Section, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    """Path, and what is written there in the one and in the other, of two sections of one type."""
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
    """Of each field its name in the file, its value, and what is written there."""
    written = section.model_dump(mode="json", by_alias=True)
    for name, field in type(section).model_fields.items():
        word = field.alias or name
        yield word, getattr(section, name), written[word]


def _shown(value: Any) -> str:
    # `off` and `on` need no quotes in a spec, though the writer puts them in some for readers of YAML 1.1.
    text = value if value in ("off", "on") else as_yaml(value, flow=True)
    return without_credentials(text)


def _line(document: Document, path: Path) -> int | None:
    """Where `path` is said: by its own key, or by a word for the section around it."""
    value: Any = document.value
    for depth, part in enumerate(path):
        if not isinstance(value, Mapping) or part not in value:
            # A heading with nothing below it leaves all to the defaults; a word such as `on` does not.
            says = depth > 0 and value is not None and not isinstance(value, Mapping)
            return document.key_lines.get(path[:depth]) if says else None
        value = value[part]
    return document.key_lines.get(path)
