"""Where the Delta table lies: in a directory of this machine, or in a bucket of an object store that speaks S3.

Everything else opens the table by `opened`, and writes to it, without knowing which of the two it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from serinus.core.buckets import BucketAddress
from serinus.lib import files
from serinus.predictions.table.buckets import Bucket


class Place(Protocol):
    """The place of the table. Implementations: Directory, and Bucket in `buckets`."""

    @property
    def uri(self) -> str:
        """The address, as deltalake and polars take it. It holds no credentials."""
        ...

    @property
    def options(self) -> dict[str, str] | None:
        """How it is accessed, as deltalake and polars take it. It may hold credentials."""
        ...

    @property
    def directory(self) -> Path | None:
        """The directory on this machine. None: the table is elsewhere, and outlives this machine."""
        ...

    def prepare(self) -> None:
        """Makes room for a new table. Raises OSError."""
        ...

    def settle(self, table: DeltaTable) -> None:
        """Makes the last commit of `table` durable, where writing it did not. Raises OSError."""
        ...

    def trouble(self, error: OSError | DeltaError) -> Exception:
        """Returns the exception to raise in place of `error`."""
        ...


class Directory:
    """A directory of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def uri(self) -> str:
        return str(self._path)

    @property
    def options(self) -> None:
        return None

    @property
    def directory(self) -> Path:
        return self._path

    def prepare(self) -> None:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def settle(self, table: DeltaTable) -> None:
        """Syncs the last commit to disk, because deltalake does not, and a segment may only be deleted after that."""
        commit = self._path / "_delta_log" / f"{table.version():020d}.json"
        for line in commit.read_text().splitlines():
            added = json.loads(line).get("add")
            if added:
                _sync(self._path / unquote(added["path"]))
        _sync(commit)

    def trouble(self, error: OSError | DeltaError) -> Exception:
        return error


def place_at(uri: str) -> Place:
    """Returns the place with this address: `s3://bucket/prefix`, or the path of a directory. Raises InvalidInput."""
    return Bucket(BucketAddress.parse(uri)) if "://" in uri else Directory(Path(uri))


@contextmanager
def told(place: Place) -> Iterator[None]:
    """Raises what goes wrong inside as the place tells it."""
    try:
        yield
    except (OSError, DeltaError) as error:
        said = place.trouble(error)
        if said is error:
            raise
        raise said from None


def opened(place: Place) -> DeltaTable | None:
    """Opens the newest version of the table. None: there is no table. Raises OSError, DeltaError and Unavailable."""
    with told(place):
        try:
            return DeltaTable(place.uri, storage_options=place.options)
        except TableNotFoundError:
            return None


def size_of(place: Place) -> int:
    """Returns the bytes that the present version of the table takes. Raises as `opened` does."""
    table = opened(place)
    if table is None:
        return 0
    return sum(table.get_add_actions(flatten=True).column("size_bytes").to_pylist())


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    files.sync_directory(path.parent)
