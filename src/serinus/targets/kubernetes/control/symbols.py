"""Values that are not known yet. The functions that make manifests get them in place of values, and so make the
templates of the chart as well: what they do with a value is written down as an expression of Helm.

A manifest holds a symbol as a value of its own, or as a part of a text. Nothing is computed of one but what this module
has a function for, so that no template can say something else than the manifest. Whatever else is done with one raises
TypeError when the chart is made.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from serinus.targets.kubernetes.control.values import Storage, Values

_ALIASES = {
    name: info.alias
    for section in (Values, Storage)
    for name, info in section.model_fields.items()
    if info.alias is not None
}
"""Names of values that a chart writes in another way."""
_TOKEN = re.compile(r"__helm\.(\d+)__")
_EXACT = re.compile(r"(?m)(?<=[:-] )__helm\.(\d+)__$")


class Symbol:
    """A value of the chart. Its attributes are the values below it."""

    def __init__(self, source: Symbols, expression: str) -> None:
        self._source, self._expression = source, expression

    def __getattr__(self, name: str) -> Symbol:
        if name.startswith("__"):
            raise AttributeError(name)
        return Symbol(self._source, f"({self._expression}).{_ALIASES.get(name, name)}")

    def __str__(self) -> str:
        return self._source.token(self._expression)

    def __bool__(self) -> bool:
        raise TypeError("A template cannot depend on a value in this way: see `choice` and `Part.when`.")

    def __eq__(self, other: object) -> bool:
        raise TypeError("A template cannot compare values.")

    __hash__ = object.__hash__


class Symbols:
    """The symbols of one template."""

    def __init__(self) -> None:
        self._expressions: list[str] = []
        self.values = Symbol(self, ".Values")
        self.namespace = str(Symbol(self, ".Release.Namespace"))

    def token(self, expression: str) -> str:
        """Returns a text that stands for the expression in a manifest."""
        if expression not in self._expressions:
            self._expressions.append(expression)
        return f"__helm.{self._expressions.index(expression)}__"

    def template(self, text: str) -> str:
        """Returns the YAML `text` with expressions of Helm in place of tokens. A whole value is written as JSON, which
        is YAML as well, so that it keeps its type."""
        text = _EXACT.sub(lambda found: f"{{{{ toJson {_simple(self._expressions[int(found[1])])} }}}}", text)
        return _TOKEN.sub(lambda found: f"{{{{ {_simple(self._expressions[int(found[1])])} }}}}", text)


def expression(symbol: object) -> str:
    """Returns what Helm evaluates for a symbol."""
    assert isinstance(symbol, Symbol)
    return _simple(symbol._expression)


def whole(value: Any) -> Any:
    """A value as a part of a manifest: a section as a mapping."""
    if isinstance(value, Symbol):
        return str(value)
    return _plain(value)


def text(value: Any) -> str:
    """A number as a text."""
    return _of(value, f"(toString {value._expression})") if isinstance(value, Symbol) else str(value)


def choice(value: Any, yes: str, no: str) -> str:
    """`yes` where the value is true."""
    if isinstance(value, Symbol):
        return _of(value, f"(ternary {json.dumps(yes)} {json.dumps(no)} {value._expression})")
    return yes if value else no


def usual(value: Any, otherwise: str) -> str:
    """The value where there is one."""
    if isinstance(value, Symbol):
        return _of(value, f"(default {json.dumps(otherwise)} {value._expression})")
    return str(value or otherwise)


def document(value: Any) -> str:
    """A section as a YAML document."""
    if isinstance(value, Symbol):
        return _of(value, f"(toYaml {value._expression})")
    return yaml.safe_dump(_plain(value), sort_keys=True)


def digest(value: Any) -> str:
    """Of a section, which differs where the section does."""
    if isinstance(value, Symbol):
        return _of(value, f"(sha256sum (toYaml {value._expression}))")
    return hashlib.sha256(document(value).encode()).hexdigest()


def _of(value: Symbol, expression: str) -> str:
    return str(Symbol(value._source, expression))


def _plain(value: Any) -> Any:
    """What YAML has of a value: no nulls, and no sections without a value."""
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(mode="json", by_alias=True))
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items() if one is not None}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _simple(text: str) -> str:
    """Without the parentheses that protect no value which may be missing: `.Values.image`."""
    return re.sub(r"\(\.Values\)", ".Values", text)
