"""The smallest case that still shows a difference: fewer rows, plainer values, a model with less to it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from fidelity.build import CannotBuild
from fidelity.case import JSON, Ask, Case, Recipe
from fidelity.session import LOAD, Finding, Session, session

_SECONDS = 20.0
"""For one finding: a model that takes long to train is not made small at any price."""
_PLAIN_FIRST = ("array float64", "text")


def shrink(finding: Finding, seconds: float = _SECONDS) -> Finding:
    """The smallest one that was found within `seconds`, with the same kind of difference."""
    end = time.monotonic() + seconds
    with _Sessions(compiling=finding.way == "onnx") as sessions:
        found: Finding | None = finding
        while found is not None and time.monotonic() < end:
            finding = found
            found = next(filter(None, (_again(sessions, finding, case, end) for case in simpler(finding.case))), None)
    return finding


def _again(sessions: _Sessions, finding: Finding, case: Case, end: float) -> Finding | None:
    """The same difference in a smaller case."""
    if size(case) >= size(finding.case) or time.monotonic() > end:
        return None
    kinds = (finding.difference.kind, finding.way)
    try:
        found = sessions.findings(case)
    except CannotBuild:
        return None
    return next((one for one in found if one.wanted is None and (one.difference.kind, one.way) == kinds), None)


def size(case: Case) -> int:
    return len(json.dumps(case.dump()))


class _Sessions:
    """The last model that was opened stays open: most of what is tried changes the request only."""

    def __init__(self, *, compiling: bool) -> None:
        self._compiling = compiling
        self._stack = ExitStack()
        self._recipe: Recipe | None = None
        self._open: Session | None = None

    def __enter__(self) -> _Sessions:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def findings(self, case: Case) -> list[Finding]:
        """Raises CannotBuild."""
        if self._open is None or self._recipe != case.recipe:
            self._stack.close()
            self._open = None
            self._open = self._stack.enter_context(session(case.recipe, compiling=self._compiling))
            self._recipe = case.recipe
        if case.ask.form == LOAD:
            return [found for found in (self._open.load_finding(),) if found is not None]
        return [one.finding for one in self._open.ask(case.ask) if one.finding is not None]


def simpler(case: Case) -> Iterator[Case]:
    """Cases that are perhaps smaller, those that save most first."""
    for ask in _simpler_asks(case.ask):
        yield replace(case, ask=ask)
    for recipe in _simpler_recipes(case.recipe):
        yield replace(case, recipe=recipe)
    yield from _without_columns(case)


def _simpler_asks(ask: Ask) -> Iterator[Ask]:
    rows = ask.rows
    if len(rows) > 1:
        yield replace(ask, rows=rows[: len(rows) // 2])
        yield replace(ask, rows=rows[len(rows) // 2 :])
        for i in range(len(rows)):
            yield replace(ask, rows=rows[:i] + rows[i + 1 :])
    if ask.params is not None:
        yield replace(ask, params=None)
        for name in ask.params:
            yield replace(ask, params={key: value for key, value in ask.params.items() if key != name})
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            for plain in _plainer(value):
                changed = (*row[:j], plain, *row[j + 1 :])
                yield replace(ask, rows=(*rows[:i], changed, *rows[i + 1 :]))


def _plainer(value: JSON) -> Iterator[JSON]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, float):
        yield from (0.0, 1.0)
        if abs(value) < 1e15:
            yield from (float(round(value)), round(value, 1), round(value, 3))
    elif isinstance(value, int):
        yield from (0, 1)
    elif isinstance(value, str):
        yield from ("", "a", value[: len(value) // 2])
    elif isinstance(value, list):
        yield from (value[:i] + value[i + 1 :] for i in range(len(value)))
        for i, part in enumerate(value):
            yield from ([*value[:i], plain, *value[i + 1 :]] for plain in _plainer(part))
    elif isinstance(value, dict):
        yield from ({k: v for k, v in value.items() if k != name} for name in value)
        for name, part in value.items():
            yield from ({**value, name: plain} for plain in _plainer(part))


def _simpler_recipes(recipe: Recipe) -> Iterator[Recipe]:
    empty = Recipe("")
    plain: dict[str, Any] = {name: getattr(empty, name) for name in ("cached", "orjson", "holes", "params", "method")}
    for name, value in {**plain, "seed": 0, "rows": 20, "example": True, "signed": True}.items():
        if getattr(recipe, name) != value:
            yield replace(recipe, **{name: value})
    for i in range(len(recipe.steps)):
        yield replace(recipe, steps=recipe.steps[:i] + recipe.steps[i + 1 :])
    for key in recipe.settings:
        yield replace(recipe, settings={name: value for name, value in recipe.settings.items() if name != key})
    for answer in _PLAIN_FIRST if recipe.answer else ():
        yield replace(recipe, answer=answer)


def _without_columns(case: Case) -> Iterator[Case]:
    recipe, ask = case.recipe, case.ask
    for i, spec in enumerate(recipe.inputs if len(recipe.inputs) > 1 else ()):
        inputs = recipe.inputs[:i] + recipe.inputs[i + 1 :]
        at = [j for j, name in enumerate(ask.columns) if name == spec.get("name")]
        if spec.get("name") is None:
            at = [i]
        kept = [j for j in range(len(ask.columns)) if j not in at]
        columns = tuple(ask.columns[j] for j in kept)
        rows = tuple(tuple(row[j] for j in kept) for row in ask.rows)
        yield Case(replace(recipe, inputs=inputs), replace(ask, columns=columns, rows=rows))
