"""Transactions on the store's database: one context manager for reading, one for writing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy

from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

from serinus.backends.sql import postgres, schema, sqlite
from serinus.core.errors import Refused

_WRITES = "serinus_writes"
"""The execution option of connections whose transactions write."""


class Database:
    """A database. Thread-safe. Failures become `Unavailable`, with the reason in words.

    Raises Refused where a newer version of Serinus has written it, or the driver is not installed.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self._own = sqlite if parsed.get_backend_name() == "sqlite" else postgres
        if self._own is postgres:
            parsed = postgres.with_driver(parsed)
            self._place = postgres.place_of(parsed)
        else:
            self._place = parsed.database or parsed.render_as_string(hide_password=True)
        try:
            engine = create_engine(parsed, pool_pre_ping=self._own is postgres)
        except ModuleNotFoundError as error:
            raise Refused(
                f"{self._place} needs a driver that is not installed ({error.name}).",
                hint="Install it with `pip install 'serinus[postgres]'`.",
            ) from error
        self._check: Callable[[Connection], None] = lambda _: None
        self._reading_engine = self._own.prepare(engine, _WRITES)
        self._writing_engine = engine.execution_options(**{_WRITES: True})
        with self.write() as connection:
            if schema.bring_up(connection, self._place):
                self._own.protect_audit(connection)

    def close(self) -> None:
        """Closes all connections."""
        self._writing_engine.dispose()

    def checked(self, check: Callable[[Connection], None]) -> Database:
        """Returns the same database, in which `check` begins every transaction that writes. What it raises ends the
        transaction."""
        other = copy(self)
        other._check = check
        return other

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Opens a transaction with one consistent view."""
        with self._explained(), self._reading_engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Opens a transaction that writes. There is one at a time. It is committed durably at the end, or rolled
        back."""
        with self._explained(), self._writing_engine.begin() as connection:
            self._check(connection)
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:  # It violates a constraint of the schema. The caller knows which one.
            raise
        except DBAPIError as error:
            raise self._own.explain(error, self._place) from error
