"""Loading a ModelDeployment from YAML text. All errors are reported at once, each with file, line, field and a
suggestion."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from serinus.core.errors import InvalidInput
from serinus.spec.document import Document, Path, Problem, dotted, read
from serinus.spec.fields import FIELDS, siblings
from serinus.spec.schema import ModelDeployment

_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}

_KEPT = 1024
"""The number of texts whose deployments are kept. Reading one takes milliseconds, and the engine asks for the specs of
all rollouts in flight at every tick."""
_LONGEST_KEPT = 16_384
"""Characters of a text whose deployment is kept, so that many long ones do not fill the memory."""


def load(text: str, *, source: str = "<spec>", model: str | None = None) -> ModelDeployment:
    """Returns the deployment that `text` describes. It may be shared with others who load the same text.

    `model` is used where the text has no `model:`, and must equal it where it has one. Raises InvalidInput, whose
    message has a line for each problem, in the order of the file.
    """
    return (_loaded_once if len(text) <= _LONGEST_KEPT else _loaded)(text, source, model)


def _loaded(text: str, source: str, model: str | None) -> ModelDeployment:
    document = read(text)
    problems = list(document.problems)
    value = document.value
    if not isinstance(value, Mapping):
        problems.append(Problem(1, "", f"expected a mapping such as 'model: card-fraud', got {_shown(value)}"))
    elif not problems or document.lines:
        spec, found = _validated(value if "model" in value or model is None else {**value, "model": model}, document)
        told = {problem.field for problem in problems}
        problems += [problem for problem in found if problem.field not in told]
        if spec and model is not None and spec.model != model:
            problems.append(Problem(document.line_of(("model",)), "model", f"expected '{model}', got '{spec.model}'"))
        if spec and not problems:
            return spec
    raise InvalidInput("\n".join(problem.render(source) for problem in sorted(problems, key=lambda one: one.line)))


_loaded_once = lru_cache(maxsize=_KEPT)(_loaded)


def _validated(value: Mapping[str, Any], document: Document) -> tuple[ModelDeployment | None, list[Problem]]:
    try:
        return ModelDeployment.model_validate(value), []
    except ValidationError as error:
        return None, [_problem(details, document) for details in error.errors(include_url=False)]


def _problem(details: ErrorDetails, document: Document) -> Problem:
    context = details.get("ctx", {})
    inside = tuple(int(part) if part.isdigit() else part for part in str(context.get("at", "")).split(".") if part)
    path: Path = (*details["loc"], *inside)
    if details["type"] == "missing":
        return Problem(document.line_of(path[:-1]), dotted(path), f"is missing; expected {_expected(path)}")
    if details["type"] == "extra_forbidden":
        return Problem(document.line_of(path, key=True), dotted(path), f"is not a field; {_nearest_field(path)}")
    got = context.get("got", _at(document.value, path))
    expected, meant = _explained(details, path, got)
    suggestion = f"; did you mean {meant}?" if meant else ""
    return Problem(document.line_of(path), dotted(path), f"expected {expected}, got {_shown(got)}{suggestion}")


def _explained(details: ErrorDetails, path: Path, got: Any) -> tuple[str, str | None]:
    """Returns what was expected, and what was probably meant."""
    context = details.get("ctx", {})
    if "expected" in context and "meant" in context:
        return context["expected"], context["meant"]
    expected = _expected(path)
    if details["type"] in _BOUNDS:
        name, words = _BOUNDS[details["type"]]
        limit = context[name]
        return f"{words} {limit if isinstance(limit, str) else f'{limit:g}'}", None
    if details["type"] == "string_type" and isinstance(got, bool | int | float):
        return f"{expected} (in quotes)", f'"{_shown(got)}"'
    if details["type"] == "string_too_short":
        return "a text that is not empty", None
    if details["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(context["expected"]))
        return f"one of {', '.join(allowed)}", _nearest(str(got), allowed)
    return expected, None


def _pattern(path: Path) -> str:
    """Returns the path in the form of `Described.path`, such as `rollout.steps[].traffic`."""
    return re.sub(r"\[\d+\]", "[]", dotted(path))


def _expected(path: Path) -> str:
    pattern = _pattern(path)
    field = FIELDS.get(pattern) or FIELDS.get(pattern.removesuffix("[]")) or FIELDS.get(pattern.rpartition(".")[0])
    return field.kind.words if field else "something else"


def _nearest(word: str, words: list[str]) -> str | None:
    lowered = {known.lower(): known for known in words}
    near = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[near[0]] if near else None


def _nearest_field(path: Path) -> str:
    """Returns a suggestion: the most similar sibling, or else the same name elsewhere, or else all names that are
    allowed."""
    word, around = str(path[-1]), _pattern(path[:-1])
    here = siblings(around)
    if near := _nearest(word.replace("-", "_"), list(here)):
        return f"did you mean '{near}'?"
    if elsewhere := [known for known in FIELDS if known.rpartition(".")[2] == word]:
        return f"did you mean '{elsewhere[0].replace('[]', '')}'?"
    if near := _nearest(word, [field.name for field in FIELDS.values()]):
        return f"did you mean '{next(p for p, f in FIELDS.items() if f.name == near).replace('[]', '')}'?"
    return f"expected {', '.join(here)}"


def _at(value: Any, path: Path) -> Any:
    """Returns the value that was written at `path`, or the word that stands for the section around it."""
    for part in path:
        within = part in value if isinstance(value, Mapping) else isinstance(value, tuple) and int(part) < len(value)
        if not within:
            break
        value = value[part]
    return value


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return f"'{value}'" if len(value) <= 40 and value.isprintable() else f"a text of {len(value)} characters"
        case int() | float():
            return f"{value}" if abs(value) < 1e15 else "a number too large"
        case Mapping():
            return "a mapping"
        case _:
            return "a list"
