"""Tables as text, for a pipe and for a terminal that is too narrow for columns. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

GAP = "  "
WIDEST = 40
"""Characters to which a column is padded at most: a cell that is longer is not made room for in every other row."""


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A line a row, whatever its length, without blanks at its end."""
    lines = [list(columns), *([" ".join(cell.split()) for cell in row] for row in rows)]
    widths = [max(len(cell) for cell in column if len(cell) <= WIDEST) for column in zip(*lines, strict=True)]
    for line in lines:
        yield GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def least_widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """The least width of each column: the longest word in it, which an identifier is and which is not broken."""
    return [
        max(len(word) for cell in column for word in (cell.split() or [""]))
        for column in zip(columns, *rows, strict=True)
    ]


def fitted(columns: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Widths in which the columns fit beside each other in `room` characters, the widest ones folded between words;
    None: they do not."""
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
    """A line a cell, and an empty one between two rows. Empty cells are left out."""
    for number, row in enumerate(rows):
        if number:
            yield ""
        for name, cell in zip(columns, row, strict=True):
            if cell:
                yield f"{name}: {cell}" if name else cell
