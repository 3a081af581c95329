"""The files of a home that a backup contains, and the order in which they are read.

A file that another one names is read after it: the store names artifacts, and MLflow's database its files. These are
written before they are named, and hardly ever removed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from serinus.backends.git.bundles import bundle
from serinus.core.home import Home
from serinus.predictions.paths import counts_path, outcomes_path
from serinus.predictions.table.places import Place
from serinus.predictions.table.snapshot import segments_and_table
from serinus.wiring.backup import sqlite
from serinus.wiring.backup.archive import Writer

FLEET = "fleet.bundle"
_FILES = ("settings.json", "secret", "token", "mlflow-password")
_DATABASES = ("store.db", "mlflow/mlflow.db")
_TREES = (
    "tls",
    "collectors",
    "envoy/xds",
    "artifacts",
    "compiled",
    "disturbances",
    "host/long",
    "mlflow/artifacts",
)
_MOVED = "golden"
"""Kept rows of a home that has not been started since an earlier version, or of a backup by one."""
_LOCKS = "environments/resolved"
"""The locks from which the same environments are built again."""
_LEFT_OUT = {"artifacts/.incoming", "artifacts/.locks", "compiled/.aside", "compiled/locks"}
_PROPOSALS = "mlflow/proposals.json"
_PREDICTIONS = ("predictions/counts.db", "predictions/outcomes.db")
_WRITER = "predictions/writer"


def known(name: str) -> bool:
    """Whether a backup may contain a file of this name."""
    if name in (*_FILES, *_DATABASES, *_PREDICTIONS, _WRITER, _PROPOSALS, FLEET):
        return True
    parents = {str(parent) for parent in PurePosixPath(name).parents}
    return bool(parents & {*_TREES, _MOVED, _LOCKS, "predictions/segments", "predictions/delta"})


def take(home: Home, archive: Writer, table: Place) -> None:
    """Writes all files to the archive. `table` is the place of the prediction log's table. Raises OSError,
    sqlite3.Error and Unavailable."""
    with tempfile.TemporaryDirectory(dir=home.path, prefix=".backup-") as place:
        scratch = Path(place)
        _add_tree(home, archive, _MOVED)  # It comes before the store, to which the rows in it may be moved meanwhile.
        for name in _FILES:
            _add(home, archive, name)
        for name in _DATABASES:
            _add_database(home.path / name, archive, name, scratch)
        _add(home, archive, _PROPOSALS)
        if bundle(home.fleet, scratch / FLEET):
            with (scratch / FLEET).open("rb") as file:
                archive.add(FLEET, file)
        for name in (*_TREES, _LOCKS):
            _add_tree(home, archive, name)
        _add_predictions(home, archive, table, scratch)


def _add_predictions(home: Home, archive: Writer, table: Place, scratch: Path) -> None:
    _add(home, archive, _WRITER)
    _add_database(outcomes_path(home), archive, _PREDICTIONS[1], scratch)

    def counted() -> None:
        _add_database(counts_path(home), archive, _PREDICTIONS[0], scratch)

    for path, file in segments_and_table(home, table, counted):
        archive.add(path.relative_to(home.path).as_posix(), file)


def _add(home: Home, archive: Writer, name: str) -> None:
    path = home.path / name
    if path.is_symlink() or not path.is_file():
        return
    with path.open("rb") as file:
        archive.add(name, file)


def _add_database(path: Path, archive: Writer, name: str, scratch: Path) -> None:
    if not path.exists():
        return
    taken = scratch / path.name
    sqlite.copy(path, taken)
    with taken.open("rb") as file:
        archive.add(name, file)
    taken.unlink()


def _add_tree(home: Home, archive: Writer, name: str) -> None:
    for path in _files(home.path / name):
        inside = path.relative_to(home.path)
        if not {parent.as_posix() for parent in inside.parents} & _LEFT_OUT:
            try:
                _add(home, archive, inside.as_posix())
            except FileNotFoundError:
                continue  # It was removed meanwhile, so nothing names it.


def _files(root: Path) -> Iterator[Path]:
    """Yields files. Links are not followed."""
    for directory, _, names in os.walk(root):
        yield from (Path(directory, name) for name in sorted(names))
