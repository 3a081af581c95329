"""Output: for people at a terminal, in plain lines for a pipe, or in JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import typer

from serinus.core.errors import Refused
from serinus.core.text import harmless, harmless_in_json

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 10_000
"""The width of a pipe, where lines are never wrapped."""

STYLES = {
    "serving": "green",
    "running": "green",
    "pass": "green",
    "cleared": "green",
    "promoted": "green",
    "champion": "green",
    "ready": "green",
    "trouble": "red",
    "fail": "red",
    "aborted": "red",
    "retired": "dim",
    "scaled": "green",
    "failed": "red",
    "inconclusive": "yellow",
    "open": "yellow",
    "held back": "yellow",
    "backing-off": "red",
    "gone": "red",
    "rolling-out": "cyan",
    "starting": "cyan",
}


class Terminal:
    """Writes output."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    @cached_property
    def console(self) -> Console:
        """The console of rich, created on first use."""
        from rich.console import Console

        there = Console(markup=False, highlight=False, emoji=False)
        return there if there.is_terminal else Console(markup=False, highlight=False, emoji=False, width=PIPE_WIDTH)

    @property
    def live(self) -> bool:
        """Whether the output is a terminal that can be redrawn."""
        return not self.as_json and self.console.is_terminal and not self.console.is_dumb_terminal

    def json(self, document: Any, *, lines: bool = False) -> None:
        """Prints a JSON document. With `lines` on one line, for a stream."""
        text = json.dumps(document, indent=None if lines else 2, ensure_ascii=False)
        print(harmless_in_json(text), flush=lines)

    def line(self, text: str = "", style: str = "") -> None:
        """Prints a line."""
        self.console.print(harmless(text), style=style or None, soft_wrap=True)

    def plain(self, text: str) -> None:
        """Prints text immediately, without changes except for control characters. It is for output of other
        programs."""
        print(harmless(text), flush=True)

    def aside(self, text: str) -> None:
        """Prints like `plain`, on stderr."""
        print(harmless(text), file=sys.stderr, flush=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Prints a table. Words, such as identifiers, are not broken. Where columns do not fit, each row becomes a
        list.

        In a pipe no line is wrapped, and none has trailing blanks.
        """
        from serinus.cli.tables import GAP, aligned, fitted, listed

        cells = [[harmless(str(cell)) for cell in row] for row in rows]
        if not self.console.is_terminal:
            for line in aligned(columns, cells):
                print(line)
            return
        widths = fitted(columns, cells, self.console.width)
        if widths is None:
            for line in listed(columns, cells):
                self.line(line)
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, len(GAP), 0, 0))
        for column, width in zip(columns, widths, strict=True):
            table.add_column(column, width=width)
        for row in cells:
            table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
        self.console.print(table)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Asks for confirmation. Raises Refused where there is no terminal, and Abort where the answer is no."""
        if yes:
            return
        if not sys.stdin.isatty():
            raise Refused(
                f"{question} This needs a confirmation, and there is no terminal to ask on",
                hint="Confirm it with --yes.",
            )
        typer.confirm(question, abort=True, err=True)


def complain(error: str, hint: str) -> None:
    """Prints an error and its hint on stderr."""
    from rich.console import Console
    from rich.text import Text

    there = Console(stderr=True, markup=False, highlight=False, emoji=False)
    there.print(Text("error: ", style="bold red").append(harmless(error), style="default"), soft_wrap=True)
    if hint:
        there.print(harmless(hint), soft_wrap=True)
