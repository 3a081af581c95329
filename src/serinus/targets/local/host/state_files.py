"""The files from which a host learns, after the death of the earlier one, which releases are to run and which workers
may be running.

host/<release>.json a Placed, as long as the release is placed host/workers/<pid>.json a WorkerRecord, from the worker's
start until it is known to be gone host/long/<release> an empty file: the release is served the long way, whenever it is
placed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BeforeValidator, TypeAdapter

from serinus.core.errors import InvalidInput
from serinus.core.home import Home
from serinus.core.release import USUAL, Release, Scale
from serinus.lib import files

_LONGEST_NAME = 200
"""In bytes. It leaves room for prefixes and suffixes under the 255 bytes of a file name."""


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A worker that may be running."""

    release: str
    pid: int
    identity: str
    """The identity of the process (see `lib.processes`). The pid may belong to another process by now."""
    ready: bool
    """Whether it has answered its warm-up."""
    scale: Scale | None = None
    """The scale that it was started with, or None if an earlier version started it, which did not record it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A release that is to run, and its scale."""

    release: Release
    scale: Scale = USUAL


def _of_an_earlier_version(document: Any) -> Any:
    """Converts what an earlier version wrote, which was a release alone. The settings of that release contained the
    scale, and a compiled release named the interpreter of its environment, whose directory is named by its digest."""
    if not isinstance(document, dict) or "release" in document:
        return document
    settings = document.get("settings")
    scale = dict(settings) if isinstance(settings, dict) else {}
    cache, compiled = scale.get("cache"), document.get("compiled")
    if isinstance(cache, dict) and "max_bytes" in cache:
        scale["cache_bytes"] = cache["max_bytes"]
    if isinstance(compiled, dict) and "python" in compiled:
        environment = Path(str(compiled["python"])).parent.parent.name
        compiled = {"digest": compiled.get("digest"), "environment_digest": environment}
    return {"release": {**document, "compiled": compiled}, "scale": scale}


AnyPlaced = Annotated[Placed, BeforeValidator(_of_an_earlier_version)]
"""As this version or an earlier one writes it as JSON."""
_PLACED: TypeAdapter[Placed] = TypeAdapter(AnyPlaced)
_WORKER = TypeAdapter(WorkerRecord)


def file_name(release_id: str) -> str:
    """The release's name as part of a path. Raises InvalidInput for a name that could lead elsewhere."""
    name = quote(release_id, safe="")
    if not name or name.startswith(".") or len(name) > _LONGEST_NAME:
        raise InvalidInput(
            "A release id must not be empty, start with a dot, or be longer than a file name allows.",
            hint="Rename the registered model in MLflow.",
        )
    return name


class StateFiles:
    """Reads and writes the files. A write is complete or absent, whenever the host stops; that of a release also when
    the machine stops."""

    def __init__(self, home: Home) -> None:
        self._desired = home.host
        self._workers = home.host / "workers"
        self._workers.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._long = home.host / "long"

    def placed(self) -> Mapping[str, Placed]:
        """Returns the placed releases, by id."""
        found = [_PLACED.validate_json(file.read_bytes()) for file in sorted(self._desired.glob("*.json"))]
        return {one.release.id: one for one in found}

    def releases(self) -> Mapping[str, Release]:
        """Returns the placed releases without their scales, by id."""
        return {name: one.release for name, one in self.placed().items()}

    def keep(self, release: Release, scale: Scale = USUAL) -> None:
        """Records that a release is placed."""
        files.write(self._desired / f"{file_name(release.id)}.json", _PLACED.dump_json(Placed(release, scale)))

    def forget(self, release_id: str) -> None:
        """Records that a release is not placed any more."""
        (self._desired / f"{file_name(release_id)}.json").unlink(missing_ok=True)
        files.sync_directory(self._desired)

    def keep_long(self, release_id: str) -> None:
        """Records that the release is served the long way, also when it is removed and placed again."""
        self._long.mkdir(mode=0o700, exist_ok=True)
        files.write(self._long / file_name(release_id), b"")

    def is_long(self, release_id: str) -> bool:
        """Whether the release is served the long way."""
        return (self._long / file_name(release_id)).exists()

    def workers(self) -> Sequence[WorkerRecord]:
        """Returns the recorded workers. Those that became ready last come last."""
        files = sorted(self._workers.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        found = [worker for file in files if (worker := _worker(file)) is not None]
        return sorted(found, key=lambda worker: worker.ready)

    def note(self, worker: WorkerRecord) -> None:
        """The file need not outlast the machine, since the worker does not, so nothing waits for the disk."""
        files.write(self._workers / f"{worker.pid}.json", _WORKER.dump_json(worker), durable=False)

    def drop(self, pid: int) -> None:
        """Removes the record of a worker that has ended."""
        (self._workers / f"{pid}.json").unlink(missing_ok=True)


def _worker(file: Path) -> WorkerRecord | None:
    """Returns None and removes the file if it was damaged by a stop of the machine, since the worker stopped with
    it."""
    try:
        return _WORKER.validate_json(file.read_bytes())
    except ValueError:
        file.unlink()
        return None
