"""YAML text as plain values, with the line of each.

The core schema of YAML 1.2 is read, not YAML 1.1 as PyYAML does by default: `off`, `no` and `12:30` are strings, and
`1e-3` is a number. Anchors and aliases are refused, because specs do not need them and small texts could expand to huge
values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]
"""The place of a value, such as `("rollout", "steps", 0, "traffic")`."""

LONGEST = 256 * 1024
_DEEPEST = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in a document. Lines are numbered from 1."""

    line: int
    field: str
    text: str

    def render(self, source: str) -> str:
        """Returns the problem as a line of text, which begins with the source and the line number."""
        return f"{source}:{self.line}: {self.field + ': ' if self.field else ''}{self.text}"


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a YAML text, with their lines and the problems that were found."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)
    """The line of the value at each path."""
    key_lines: dict[Path, int] = field(default_factory=dict)
    """The line of the key of each path."""
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, path: Path, *, key: bool = False) -> int:
        """Returns the line of a value or its key. Where it is not in the document, the line of the nearest section
        around it."""
        known = self.key_lines if key else self.lines
        return next((known[path[:n]] for n in range(len(path), -1, -1) if path[:n] in known), 1)


def dotted(path: Path) -> str:
    """Returns the path in the form `rollout.steps[0].traffic`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


class CoreLoader(yaml.SafeLoader):
    """A loader for the core schema of YAML 1.2, without anchors."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own shape)

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Composes a node. Raises MarkedYAMLError for anchors and aliases."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(
                problem="anchors (&) and aliases (*) are not supported: write the value out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)


NUMBERS = {
    "int": (re.compile(r"^[-+]?[0-9]+$"), "-+0123456789"),
    "float": (re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"), "-+.0123456789"),
}
_RESOLVERS = {
    "bool": (re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    "null": (re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    **NUMBERS,
}
CoreLoader.add_constructor(
    "tag:yaml.org,2002:int", lambda _, node: int(node.value)
)  # 010 is ten in YAML 1.2, and eight in 1.1.
for _name, (_pattern, _first) in _RESOLVERS.items():
    CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, list(_first))


def read(text: str) -> Document:
    """Parses YAML text. Never raises: errors are in the document's `problems`. An empty text is an empty mapping."""
    if len(text) > LONGEST:
        return Document({}, problems=[Problem(1, "", f"is longer than {LONGEST} characters")])
    try:
        loader = CoreLoader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return Document({}, problems=[Problem(mark.line + 1 if mark else 1, "", _syntax(error))])
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return Document({}, problems=[Problem(line, "", "holds a character that YAML does not allow")])
    except RecursionError:
        return Document({}, problems=[Problem(1, "", "is nested too deeply")])
    document = Document(None)
    value = _construct(loader, node, (), document) if node is not None else {}
    return Document(value, document.lines, document.key_lines, document.problems)


def _syntax(error: yaml.MarkedYAMLError) -> str:
    if "expected a single document" in str(error.context):
        return "expected one document, got a second one after '---'"
    problem = error.problem or "is not YAML"
    hint = (
        "; put a text that holds ': ' or starts with a special character in quotes"
        if "mapping values" in problem
        else ""
    )
    return f"is not YAML: {problem}{hint}"


def _construct(loader: CoreLoader, node: yaml.Node, path: Path, document: Document) -> Any:
    line = node.start_mark.line + 1
    document.lines[path] = line
    if len(path) > _DEEPEST:
        document.problems.append(Problem(line, dotted(path[:3]), "is nested too deeply"))
        return None
    if isinstance(node, yaml.MappingNode):
        return dict(_items(loader, node, path, document))
    if isinstance(node, yaml.SequenceNode):
        return tuple(_construct(loader, item, (*path, n), document) for n, item in enumerate(node.value))
    try:
        return loader.construct_object(node)
    except (yaml.MarkedYAMLError, ValueError, OverflowError):
        document.problems.append(
            Problem(line, dotted(path), f"expected a plain value, got one with the tag {node.tag}")
        )
        return None


def _items(loader: CoreLoader, node: yaml.MappingNode, path: Path, document: Document) -> Iterator[tuple[str, Any]]:
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append(Problem(line, dotted(path), "expected a name before ':'"))
            continue
        key = str(key_node.value)
        if key in seen:
            text = f"is given twice, first in line {seen[key]}"
            document.problems.append(Problem(line, dotted((*path, key)), text))
            continue
        seen[key] = document.key_lines[(*path, key)] = line
        yield key, _construct(loader, value_node, (*path, key), document)
