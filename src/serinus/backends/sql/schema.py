"""Creates a store's tables, or migrates those of an earlier version of Serinus.

It must be called in a transaction that writes, so that a migration that fails leaves the store unchanged. Alembic is
imported only where there is something to migrate.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select

from serinus.backends.sql.tables import SCHEMA, alembic_version, audit_head, leadership, metadata, schema_version
from serinus.core.errors import Refused

MIGRATIONS = Path(__file__).parent / "migrations"

_BEFORE_MIGRATIONS = {1: None, 2: "0002"}
"""The migration that corresponds to each number in `schema_version`. None: before the first one."""


def bring_up(connection: Connection, place: str) -> bool:
    """Creates or migrates the tables. Returns whether they were created.

    Raises Refused where a newer version of Serinus has written the store, and RuntimeError where a migration does not
    end at the latest one.
    """
    found = _found(connection, place)
    if found == _NOTHING:
        _create(connection)
    elif found != SCHEMA:
        _migrate(connection, found, place)
    return found == _NOTHING


def create_or_require(connection: Connection, place: str) -> bool:
    """Creates the tables where there are none. Returns whether they were created.

    Raises Refused where they are those of another version of Serinus.
    """
    found = _found(connection, place)
    if found == _NOTHING:
        _create(connection)
    else:
        _require(found, place)
    return found == _NOTHING


def require(connection: Connection, place: str) -> bool:
    """Returns False, because it creates nothing. Raises Refused where the tables are missing, or are those of another
    version of Serinus."""
    found = _found(connection, place)
    if found == _NOTHING:
        raise Refused(f"{place} has no store.", hint="Name the one that Serinus has used.")
    _require(found, place)
    return False


_NOTHING = ""


def _create(connection: Connection) -> None:
    metadata.create_all(connection)
    connection.execute(insert(schema_version).values(version=3))
    connection.execute(insert(alembic_version).values(version_num=SCHEMA))
    connection.execute(insert(audit_head).values(id=1, entries=0, digest=""))
    connection.execute(insert(leadership).values(id=1, term=0, holder=""))


def _require(found: str | None, place: str) -> None:
    # Migrations are numbered. Those that this version does not know have higher numbers.
    if found is not None and found > SCHEMA:
        raise _refusal(place, found)
    if found != SCHEMA:
        raise Refused(
            f"{place} was written by an earlier version of Serinus: it has schema {found or 1}, and this version needs "
            f"{SCHEMA}.",
            hint="Start Serinus of this version with it once (`serinus up`), which migrates it, and end it again. "
            "Restore a backup into a home first.",
        )


def _found(connection: Connection, place: str) -> str | None:
    """Returns the last migration of the store. None: before the first one. `_NOTHING`: the store is empty."""
    tables = inspect(connection)
    if tables.has_table(alembic_version.name):
        found: str = connection.execute(select(alembic_version.c.version_num)).scalar_one()
        return found
    if not tables.has_table(schema_version.name):
        return _NOTHING
    number = connection.execute(select(schema_version.c.version)).scalar_one()
    if number not in _BEFORE_MIGRATIONS:
        raise _refusal(place, str(number))
    return _BEFORE_MIGRATIONS[number]


def _migrate(connection: Connection, found: str | None, place: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise _refusal(place, found)
    if found is not None and not inspect(connection).has_table(alembic_version.name):
        alembic_version.create(connection)
        connection.execute(insert(alembic_version).values(version_num=found))
    command.upgrade(config, SCHEMA)
    reached = connection.execute(select(alembic_version.c.version_num)).scalar_one()
    if reached != SCHEMA:
        raise RuntimeError(f"the migrations of the store end at {reached}, and its tables are of {SCHEMA}")


def _refusal(place: str, found: str) -> Refused:
    return Refused(
        f"{place} was written by a newer version of Serinus: it has schema {found}, this version reads schemas up to "
        f"{SCHEMA}.",
        hint="Use the version of Serinus that wrote this home, or start with another --home.",
    )
