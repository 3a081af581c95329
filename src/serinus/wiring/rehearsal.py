"""What a version of Serinus tries before it takes the place of another one: nothing that runs is touched.

Its control process is imported with all that it stands on, and a copy of the store is opened, which migrates it.
"""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path

from serinus.backends.sql import SqlStore
from serinus.core.home import Home
from serinus.targets.local.supervisor import registry, tls
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.backup import sqlite
from serinus.wiring.processes import processes_of


def rehearse(home: Home, settings: Settings) -> int:
    """The exit code. Raises SerinusError, OSError or sqlite3.Error. The store before is kept as `Home.store_before`."""
    import_module("serinus.wiring.control")
    processes_of(home, settings)
    registry.credentials(home, settings)
    if settings.tls_files:
        tls.ServerContext(home)
    if home.store.exists():
        _try_store(home)
    return 0


def _try_store(home: Home) -> None:
    """A copy that this version cannot read does not take the place of the one that is kept."""
    with tempfile.TemporaryDirectory(dir=home.path, prefix=".rehearsal-") as place:
        kept, tried = Path(place) / "kept.db", Path(place) / "tried.db"
        sqlite.copy(home.store, kept)
        sqlite.copy(kept, tried)
        store = SqlStore(f"sqlite:///{tried}")
        store.in_flight()
        store.close()
        kept.replace(home.store_before)
