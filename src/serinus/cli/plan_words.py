"""Plans of changes in words: lines for a terminal, and a comment on a pull request. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from serinus.core.text import one_line

if TYPE_CHECKING:
    from serinus.resources import FieldChange, MergePlan, PlannedChange

MARKER = "<!-- serinus plan -->"
"""The first line of the Markdown, by which a later run finds the comment that it has to replace."""
LONGEST = 60_000
"""The largest number of characters of the Markdown. GitHub refuses comments of more than 65,536."""
_ROWS = 200
"""The largest number of rows of the table."""
_LINES = 40
"""The largest number of mistakes, or of fields, in the section of a file."""
_CHARACTERS = 400
"""The largest number of characters of a code span."""

_TITLES = {
    "new": "first release",
    "release": "another release",
    "scale": "scale only",
    "later": "applies later",
    "nothing": "nothing",
    "removed": "spec deleted",
    "rollback": "rollback",
    "rewritten": "written again",
    "unknown": "not known",
    "refused": "refused",
}
_STYLES = {"removed": "red", "refused": "red", "rollback": "yellow", "release": "cyan", "new": "cyan"}
_SERVER = "By the control plane:"


class Line(NamedTuple):
    """A line and its style."""

    text: str
    style: str = ""


def in_text(plan: MergePlan) -> Iterator[Line]:
    """Yields the lines for a terminal or a pipe."""
    yield Line(_between(plan))
    if not plan.changes:
        yield Line("No file of a model changes.")
    for one in plan.changes:
        yield Line("")
        yield Line(f"{one.file}: {_TITLES[one.effect]}", _STYLES.get(one.effect, ""))
        yield from (Line(f"  {said}") for said in (one.summary, *one.error.splitlines(), one.hint) if said)
        yield from (Line(f"  {field.field}: {field.before} -> {field.after} ({_where(field)})") for field in one.fields)
        yield from (Line(f"  {number}. {step}") for number, step in enumerate(one.steps, start=1))
        yield from (Line(f"  note: {note}") for note in one.notes)
        yield from (Line(f"  warning: {warning}", "yellow") for warning in one.warnings)
        if one.server:
            yield Line(f"  {_SERVER}")
            yield from (Line(f"    {said}") for said in one.server)
    if plan.notes:
        yield Line("")
        yield from (Line(f"note: {note}") for note in plan.notes)


def in_markdown(plan: MergePlan) -> str:
    """Returns a comment on a pull request. Text from files is in code spans, so that it mentions nobody and is no
    markup."""
    head = [MARKER, "### Serinus plan", "", _between(plan), ""]
    if plan.changes:
        head += ["| model | file | effect |", "| --- | --- | --- |"]
    else:
        head.append("No file of a model changes.")
    changes = sorted(plan.changes, key=lambda one: not one.error)  # Mistakes first: the rest may be cut off.
    rows = [f"| {_code(one.model)} | {_code(one.file)} | {_title(one)} |" for one in changes]
    notes = ["", *(f"- {_quoted(note)}" for note in plan.notes)] if plan.notes else []
    return _fitting(head, rows, ["\n".join(_section(one)) for one in changes], notes)


def _fitting(head: Sequence[str], rows: Sequence[str], sections: Sequence[str], notes: Sequence[str]) -> str:
    """Returns as much as a comment may have. Rows come before sections."""
    left = LONGEST - sum(len(line) + 1 for line in (*head, *notes)) - 200
    shown: list[str] = []
    details: list[str] = []
    for part, into in ((rows[:_ROWS], shown), (sections, details)):
        for one in part:
            left -= len(one) + 2
            if left < 0:
                break
            into.append(one)
    hidden = max(len(rows) - len(shown), len(sections) - len(details))
    more = ["", f"{hidden} more: run `serinus plan` in a checkout to see all of it."] if hidden else []
    return "\n".join([*head, *shown, *details, *more, *notes])


def _section(one: PlannedChange) -> Iterator[str]:
    yield ""
    yield f"<details{' open' if one.error else ''}><summary><b>{one.model}</b>: {_TITLES[one.effect]}</summary>"
    yield ""
    yield from _most([f"- {_code(mistake)}" for mistake in one.error.splitlines()], "- {} more")
    yield from (f"- {_quoted(said)}" for said in (one.summary, one.hint) if said)
    yield from (f"- note: {_quoted(note)}" for note in one.notes)
    yield from (f"- warning: {_code(warning)}" for warning in one.warnings)
    if one.fields:
        yield from ("", "| field | before | after | line |", "| --- | --- | --- | --- |")
        yield from _most([_row(field) for field in one.fields], "| {} more | | | |")
    if one.steps:
        yield ""
        yield from (f"{number}. {step}" for number, step in enumerate(one.steps, start=1))
    if one.server:
        yield from ("", _SERVER, "")
        yield from (f"- {_quoted(said)}" for said in one.server)
    yield from ("", "</details>")


def _row(field: FieldChange) -> str:
    line = field.line if field.line is not None else "default"
    return f"| {_code(field.field)} | {_code(field.before)} | {_code(field.after)} | {line} |"


def _most(lines: Sequence[str], more: str) -> Sequence[str]:
    """Returns the first lines, and `more` with the number of those that are left out."""
    left = len(lines) - _LINES
    return [*lines[:_LINES], more.format(left)] if left > 0 else lines


def _between(plan: MergePlan) -> str:
    until = f"the commit {plan.until[:10]}" if plan.until else "the working tree"
    return f"From the commit {plan.since[:10]} to {until}:"


def _title(one: PlannedChange) -> str:
    return f"**{_TITLES[one.effect]}**" if one.error else _TITLES[one.effect]


def _where(field: FieldChange) -> str:
    return f"line {field.line}" if field.line is not None else "the default"


def _code(text: str) -> str:
    """Returns a code span that can stand in a table."""
    text = one_line(text)
    text = text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}..."
    # A backslash before the one that escapes the stroke would be taken as the escaped character.
    text = re.sub(r"(\\*)\|", lambda found: f"{found[1]} \\|" if found[1] else "\\|", text)
    ticks = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def _quoted(text: str) -> str:
    """Returns a sentence of Serinus, which may quote a file, as Markdown. Its own code spans are kept."""
    parts = re.split(r"(`[^`]*`)", one_line(text))
    return "".join(part if n % 2 else _escaped(part) for n, part in enumerate(parts))


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_\[\]<>#|~])", r"\\\1", text)
