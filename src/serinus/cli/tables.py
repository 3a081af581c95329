"""Tables as text, for pipes and for terminals that are too narrow for columns. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

GAP = "  "
WIDEST = 40
"""The largest width to which a column is padded. Longer cells do not widen the other rows."""


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yields a line for each row, whatever its length, without trailing blanks."""
    lines = [list(columns), *([" ".join(cell.split()) for cell in row] for row in rows)]
    widths = [max(len(cell) for cell in column if len(cell) <= WIDEST) for column in zip(*lines, strict=True)]
    for line in lines:
        yield GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def least_widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Returns the least width of each column, which is its longest word. Words, such as identifiers, are not broken."""
    return [
        max(len(word) for cell in column for word in (cell.split() or [""]))
        for column in zip(columns, *rows, strict=True)
    ]


def fitted(columns: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Returns widths in which the columns fit in `room` characters, with the widest ones wrapped between words. None:
    they do not fit."""
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    least = least_widths(columns, rows)
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - room
    while excess > 0:
        widest = max(range(len(widths)), key=lambda column: widths[column] - least[column])
        if widths[widest] == least[widest]:
            return None
        widths[widest] -= 1
        excess -= 1
    return widths


def listed(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yields a line for each cell, and an empty line between rows. Empty cells are left out."""
    for number, row in enumerate(rows):
        if number:
            yield ""
        for name, cell in zip(columns, row, strict=True):
            if cell:
                yield f"{name}: {cell}" if name else cell
