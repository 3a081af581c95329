"""The rehearsal of a version before it replaces another one. Running processes are not affected.

Its control process is imported with all dependencies, and a copy of the store is opened, which migrates it.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from importlib import import_module
from pathlib import Path

from serinus.backends.sql import SqlStore
from serinus.core.home import Home
from serinus.targets.local.supervisor import registry, tls
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.backup import sqlite
from serinus.wiring.processes import processes_of


def rehearse(home: Home, settings: Settings) -> int:
    """Returns the exit code. Raises SerinusError, OSError and sqlite3.Error. The former store is kept as
    `Home.store_before`."""
    import_module("serinus.wiring.control")
    processes_of(home, settings)
    if not settings.serves:
        from serinus.wiring.cluster import cluster_settings

        cluster_settings(settings)
    registry.credentials(home, settings)
    if settings.tls_files:
        tls.ServerContext(home)
    if home.store.exists():
        _try_store(home)
    return 0


def _try_store(home: Home) -> None:
    """Opens a copy of the store. One that this version cannot read does not replace the kept copy."""
    with tempfile.TemporaryDirectory(dir=home.path, prefix=".rehearsal-") as place:
        kept, tried = Path(place) / "kept.db", Path(place) / "tried.db"
        sqlite.copy(home.store, kept)
        sqlite.copy(kept, tried)
        store = SqlStore(f"sqlite:///{tried}")
        store.in_flight()
        store.close()
        _forget_rows(kept)
        kept.replace(home.store_before)


def _forget_rows(file: Path) -> None:
    """Removes kept rows from a store, because nothing removes them from this copy when their time has come."""
    with closing(sqlite3.connect(file, isolation_level=None)) as store:
        if store.execute("SELECT 1 FROM sqlite_master WHERE name = 'kept_rows'").fetchone():
            store.execute("PRAGMA secure_delete = ON")
            store.execute("DELETE FROM kept_rows")
