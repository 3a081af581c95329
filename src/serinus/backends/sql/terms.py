"""The terms of control planes: the store takes no decision of a lower term than the highest that has begun.

A control plane that is stopped, such as by a frozen machine, cannot know when it wakes that another one has taken over
meanwhile. So the highest term is compared in each transaction that stores a decision. There is one writer at a time:
whoever begins a term sees all that was decided before, and what was decided before comes no later.
"""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from serinus.backends.sql.tables import leadership
from serinus.core.errors import Superseded
from serinus.core.ports import Leadership


def last(connection: Connection) -> tuple[int, str]:
    """Returns the highest term that has begun, and whose it is."""
    row = connection.execute(select(leadership.c.term, leadership.c.holder)).one()
    return row.term, row.holder


def begin(connection: Connection, term: int, holder: str) -> None:
    """Begins a term. Must be called in a transaction that writes."""
    begun, by = last(connection)
    if begun > term or (begun == term and by != holder):
        raise _superseded(begun, by, term)
    connection.execute(update(leadership).values(term=term, holder=holder))


def check(connection: Connection, deciding: Leadership) -> None:
    """Raises Superseded where a higher term has begun, and ends the leadership then. Must be called in the transaction
    that stores the decision."""
    term = deciding.term()
    begun, by = last(connection)
    if begun > term:
        error = _superseded(begun, by, term)
        deciding.end(error.message)
        raise error


def _superseded(begun: int, by: str, term: int) -> Superseded:
    return Superseded(
        f"The store refuses what this control plane decides in term {term}: {by or 'another one'} decides in term "
        f"{begun}.",
        hint="Nothing was stored. This control plane stops deciding.",
    )
