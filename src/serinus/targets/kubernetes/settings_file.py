"""Reads settings from a file. All errors are reported at once, each with file, line and field."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from serinus.core.errors import InvalidInput
from serinus.spec.document import Document, Problem, dotted, read
from serinus.targets.kubernetes.settings import ClusterSettings
from serinus.targets.kubernetes.settings_values import DIRECTORY

S = TypeVar("S", bound=BaseModel)


def load(file: Path) -> ClusterSettings:
    """Returns the settings in `file`. Raises InvalidInput, whose message has a line for each problem."""
    hint = "`--cluster` takes a YAML file."
    return load_as(ClusterSettings, file, "The settings of the cluster", hint)


def load_as(schema: type[S], file: Path, title: str, hint: str) -> S:
    """Returns what `file` says, by another schema. `title` says in words what the file is. Errors as of `load`."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidInput(f"{title}, {file}, cannot be read: {why}.", hint=hint) from error
    document = read(text)
    problems = list(document.problems)
    if not problems and not isinstance(document.value, Mapping):
        needed = [f"`{info.alias or name}`" for name, info in schema.model_fields.items() if info.is_required()]
        words = " and ".join(filter(None, (", ".join(needed[:-1]), needed[-1])))
        problems.append(Problem(1, "", f"expected a mapping with {words}"))
    if not problems:
        try:
            return schema.model_validate(document.value, context={DIRECTORY: file.parent})
        except ValidationError as error:
            problems = [_problem(details, document, schema) for details in error.errors(include_url=False)]
    lines = [problem.render(str(file)) for problem in sorted(problems, key=lambda one: one.line)]
    raise InvalidInput("\n".join(lines))


def _problem(details: ErrorDetails, document: Document, schema: type[BaseModel]) -> Problem:
    path = details["loc"]
    if details["type"] == "extra_forbidden":
        nearest = _nearest(path, schema)
        return Problem(document.line_of(path, key=True), dotted(path), f"is not a field; {nearest}")
    if details["type"] == "missing":
        return Problem(document.line_of(path[:-1]), dotted(path), "is missing")
    expected = details["msg"].replace("Input should be", "expected").replace("should have", "expected")
    return Problem(document.line_of(path), dotted(path), expected)


def _nearest(path: tuple[str | int, ...], schema: type[BaseModel]) -> str:
    """Returns which field was probably meant, or which ones there are."""
    section: Any = schema
    for part in path[:-1]:
        section = _section(section.model_fields[part].annotation)
    names = [info.alias or name for name, info in section.model_fields.items()]
    near = difflib.get_close_matches(str(path[-1]).lower().replace("-", "_"), names, n=1)
    return f"did you mean '{near[0]}'?" if near else f"expected {', '.join(names)}"


def _section(annotation: Any) -> Any:
    options = getattr(annotation, "__args__", (annotation,))
    return next(one for one in options if isinstance(one, type) and issubclass(one, BaseModel))
