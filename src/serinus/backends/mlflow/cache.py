"""Model files on this machine, by digest. Only complete and checked artifacts are visible under their digest.

<digest>/            an artifact with read-only files
.runs/<run>/         files of runs, such as evaluation rows, which are downloaded whenever they are requested
.versions/<key>      the digest of a version, as JSON
.incoming/<key>/     a download in progress
.removed/            removals in progress
.locks/<key>         a lock during both, which the kernel releases when its holder dies
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from serinus.backends.mlflow.artifact import read_artifact
from serinus.backends.mlflow.client import disk_full
from serinus.backends.mlflow.files import Inventory, take_inventory, walk
from serinus.core.release import Artifact
from serinus.core.storage import Stored
from serinus.lib import files, locks

_FILES_LOCK = "files"
_DIGEST = re.compile("[0-9a-f]{64}")
_RUN_ID = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*")
RUNS = ".runs"
_RUN = "run-"
"""The prefix of the names of runs."""


class ArtifactCache:
    """Stores model files. Safe for several threads and processes."""

    def __init__(self, path: Path, indexes: Collection[str] = ()) -> None:
        """`indexes` are passed to `read_artifact`."""
        self._path = path
        self._indexes = tuple(indexes)

    def artifact(self, key: str, download: Callable[[Path], Path]) -> Artifact:
        """Returns the artifact with this key.

        Where it is unknown, `download` writes its files below a directory and returns their path. Concurrent calls
        download once. Raises Unbuildable, and stores nothing then.
        """
        known = self._known(key)
        if known is not None:
            return known
        with self._locked(key):
            return self._known(key) or self._add(key, download)

    def path(self, digest: str) -> Path:
        """Returns the directory with the files of an artifact."""
        return self._path / digest

    def _known(self, key: str) -> Artifact | None:
        try:
            record = json.loads((self._path / ".versions" / key).read_text())
        except FileNotFoundError:
            return None
        root = self._path / record["digest"]
        with self._locked(_FILES_LOCK):
            if not _touch(root):  # It was removed to free disk space.
                return None
        return read_artifact(root, Inventory(record["digest"], record["size_bytes"]), self._indexes)

    def _add(self, key: str, download: Callable[[Path], Path]) -> Artifact:
        incoming = self._path / ".incoming" / key
        # The remains of a process that was killed, whose lock this process has now.
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir(parents=True)
        try:
            root = download(incoming)
            inventory = take_inventory(root)
            read_artifact(root, inventory, self._indexes)
            final = self._path / inventory.digest
            if not final.is_dir():
                _seal(root)
            with self._locked(_FILES_LOCK):
                if not _touch(final):
                    _move(root, final)
                    _touch(final)
            artifact = read_artifact(final, inventory, self._indexes)
            self._remember(key, inventory)
            return artifact
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise disk_full() from error
            raise
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def stored(self) -> Sequence[Stored]:
        found = []
        for root in (*self._path.glob("*/"), *self._path.glob(f"{RUNS}/*/")):
            name = root.name if root.parent == self._path else f"{_RUN}{root.name}"
            with suppress(OSError):
                if self._place(name) is not None:
                    found.append(Stored(name, (root,), root.stat().st_mtime))
        return found

    def keep_of_run(self, run_id: str, path: PurePosixPath, file: Path) -> Path:
        """Moves a downloaded file to the files of its run."""
        final = self._path / RUNS / run_id / path
        with self._locked(_FILES_LOCK):
            final.parent.mkdir(parents=True, exist_ok=True)
            file.replace(final)
            _touch(self._path / RUNS / run_id)
        return final

    def _place(self, name: str) -> Path | None:
        """Returns the path of an artifact or of the files of a run. None: the name is of neither."""
        if _DIGEST.fullmatch(name):
            return self._path / name
        run = name.removeprefix(_RUN)
        return self._path / RUNS / run if name != run and _RUN_ID.fullmatch(run) else None

    def remove(self, name: str, since: float) -> bool:
        """See `core.storage.Storage.remove`."""
        root, aside = self._place(name), self._path / ".removed"
        with self._locked(_FILES_LOCK):
            shutil.rmtree(aside, ignore_errors=True)  # The remains of a process that was killed.
            if root is None or not root.is_dir() or root.stat().st_mtime >= since:
                return False
            root.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        return True

    def _remember(self, key: str, inventory: Inventory) -> None:
        directory = self._path / ".versions"
        directory.mkdir(exist_ok=True)
        record = {"digest": inventory.digest, "size_bytes": inventory.size_bytes}
        files.write(directory / key, json.dumps(record))

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        directory = self._path / ".locks"
        directory.mkdir(parents=True, exist_ok=True)
        with locks.held(directory / key, mode=locks.WRITE_ONLY):  # Zygotes may read below this directory.
            yield


def _touch(root: Path) -> bool:
    """Marks it as used, so that it is not removed. Returns whether it exists."""
    try:
        os.utime(root)
    except FileNotFoundError:
        return False
    return True


def _move(root: Path, final: Path) -> None:
    try:
        root.rename(final)
    except OSError:
        if not final.is_dir():  # Otherwise another version with the same content was first.
            raise


def _seal(root: Path) -> None:
    """Syncs the files to disk, so that a power failure leaves no empty file under a digest, and makes them
    read-only."""
    for path in walk(root):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.chmod(0o444)
