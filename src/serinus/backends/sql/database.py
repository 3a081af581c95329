"""Transactions on the store's database: one context manager for reading, one for writing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy

from sqlalchemy import Connection, Table, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

from serinus.backends.sql import postgres, schema, sqlite
from serinus.core.errors import Refused

_WRITES = "serinus_writes"
"""The execution option of connections whose transactions write."""

_ENDING_SECONDS = 3.0
"""The time that a server may take to end the session of a control plane that has ended."""
_PAUSE = 0.05


class Database:
    """A database. Thread-safe. Failures become `Unavailable`, with the reason in words.

    `opening` is a function of `schema`, which creates, migrates or only checks the tables. Raises Refused where it
    does, and where the driver is not installed.
    """

    def __init__(self, url: str, opening: Callable[[Connection, str], bool] = schema.bring_up) -> None:
        parsed = make_url(url)
        self._own = sqlite if parsed.get_backend_name() == "sqlite" else postgres
        if self._own is postgres:
            parsed = postgres.with_driver(parsed)
            self.place = postgres.place_of(parsed)
        else:
            self.place = parsed.database or parsed.render_as_string(hide_password=True)
        try:
            engine = create_engine(parsed, pool_pre_ping=self._own is postgres, hide_parameters=True)
        except ModuleNotFoundError as error:
            raise Refused(
                f"{self.place} needs a driver that is not installed ({error.name}).",
                hint="Install it with `pip install 'serinus[postgres]'`.",
            ) from error
        self._check: Callable[[Connection], None] = lambda _: None
        self._reading_engine = self._own.prepare(engine, _WRITES)
        self._writing_engine = engine.execution_options(**{_WRITES: True})
        with self.write() as connection:
            if opening(connection, self.place):
                self._own.protect_audit(connection)

    def close(self) -> None:
        """Closes all connections."""
        self._writing_engine.dispose()

    def use_alone(self) -> None:
        """Raises Refused where another process uses it. None does then until it is closed.

        Only PostgreSQL knows. A SQLite database belongs to a home, which has a lock of its own.
        """
        deadline = time.monotonic() + _ENDING_SECONDS
        while not self._is_alone():
            if time.monotonic() >= deadline:
                raise Refused(
                    f"{self.place} is used by a control plane.",
                    hint="End every control plane that uses it: `serinus down`, and in a cluster `kubectl scale "
                    "statefulset serinus-control --replicas=0`. `SELECT * FROM pg_stat_activity` shows who is left.",
                )
            time.sleep(_PAUSE)

    def _is_alone(self) -> bool:
        with self.read() as connection:
            return bool(self._own.use_alone(connection))

    def number_on(self, connection: Connection, table: Table) -> None:
        """Has rows that are inserted from now on get higher numbers than those in the table."""
        self._own.number_on(connection, table)

    def checked(self, check: Callable[[Connection], None]) -> Database:
        """Returns the same database, in which `check` begins every transaction that writes. What it raises ends the
        transaction."""
        other = copy(self)
        other._check = check
        return other

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Opens a transaction with one consistent view."""
        with self.explained(), self._reading_engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Opens a transaction that writes. There is one at a time. It is committed durably at the end, or rolled
        back."""
        with self.explained(), self._writing_engine.begin() as connection:
            self._check(connection)
            yield connection

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Raises the errors of the database in words for people."""
        try:
            yield
        except IntegrityError:  # It violates a constraint of the schema. The caller knows which one.
            raise
        except DBAPIError as error:
            raise self._own.explain(error, self.place) from error
