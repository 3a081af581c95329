"""Reads the settings of a cluster from their file. All errors are reported at once, each with file, line and field."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from serinus.core.errors import InvalidInput
from serinus.spec.document import Document, Problem, dotted, read
from serinus.targets.kubernetes.settings import ClusterSettings
from serinus.targets.kubernetes.settings_values import DIRECTORY


def load(file: Path) -> ClusterSettings:
    """Returns the settings in `file`. Raises InvalidInput, whose message has a line for each problem."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidInput(
            f"The settings of the cluster, {file}, cannot be read: {why}.", hint="`--cluster` takes a YAML file."
        ) from error
    document = read(text)
    problems = list(document.problems)
    if not problems and not isinstance(document.value, Mapping):
        problems.append(Problem(1, "", "expected a mapping with `namespace`, `images` and `collectors`"))
    if not problems:
        try:
            return ClusterSettings.model_validate(document.value, context={DIRECTORY: file.parent})
        except ValidationError as error:
            problems = [_problem(details, document) for details in error.errors(include_url=False)]
    lines = [problem.render(str(file)) for problem in sorted(problems, key=lambda one: one.line)]
    raise InvalidInput("\n".join(lines))


def _problem(details: ErrorDetails, document: Document) -> Problem:
    path = details["loc"]
    if details["type"] == "extra_forbidden":
        return Problem(document.line_of(path, key=True), dotted(path), f"is not a field; {_nearest(path)}")
    if details["type"] == "missing":
        return Problem(document.line_of(path[:-1]), dotted(path), "is missing")
    expected = details["msg"].replace("Input should be", "expected").replace("should have", "expected")
    return Problem(document.line_of(path), dotted(path), expected)


def _nearest(path: tuple[str | int, ...]) -> str:
    """Returns which field was probably meant, or which ones there are."""
    section: Any = ClusterSettings
    for part in path[:-1]:
        section = _section(section.model_fields[part].annotation)
    names = list(section.model_fields)
    near = difflib.get_close_matches(str(path[-1]).lower().replace("-", "_"), names, n=1)
    return f"did you mean '{near[0]}'?" if near else f"expected {', '.join(names)}"


def _section(annotation: Any) -> Any:
    options = getattr(annotation, "__args__", (annotation,))
    return next(one for one in options if isinstance(one, type) and issubclass(one, BaseModel))
