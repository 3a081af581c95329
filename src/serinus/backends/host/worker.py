"""One worker process: started on a listening socket, listened to until it is ready, stopped."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from io import FileIO
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, FiniteFloat, StringConstraints

from serinus.backends.host import launch
from serinus.backends.host.listener import Listener
from serinus.backends.host.logs import log_path
from serinus.backends.host.processes import Process, identity
from serinus.backends.host.reach import readable
from serinus.backends.host.records import Records, WorkerRecord, file_name
from serinus.core.home import Home
from serinus.core.values import Release

log = logging.getLogger(__name__)

_LAST_WORDS = 0.5
"""Seconds that a report may still take to arrive after its writer has exited."""

_Words = Annotated[str, StringConstraints(strip_whitespace=True)]


class Report(BaseModel):
    """A line of the worker's report pipe. A model could write it: nothing here is trusted beyond its type."""

    state: Literal["loading", "ready", "failed"]
    reason: _Words = ""
    load_seconds: FiniteFloat | None = None
    memory_bytes: int | None = None
    confined: bool = False
    notes: list[_Words] = []


@dataclass(slots=True)
class Worker:
    """`reports` is the reading end of its pipe; None for a worker that an earlier host started."""

    process: Process
    record: WorkerRecord
    reports: FileIO | None = field(default=None, repr=False)

    async def outcome(self, seconds: float) -> Report | None:
        """The report that it is ready or has failed; None where none came before its exit or within `seconds`."""
        if self.reports is None:
            return None
        stream = asyncio.StreamReader()
        connect = asyncio.get_running_loop().connect_read_pipe
        transport, _ = await connect(lambda: asyncio.StreamReaderProtocol(stream), self.reports)
        reading = asyncio.create_task(_first_outcome(stream))
        either: set[asyncio.Future[Any]] = {reading, self.process.exited}
        try:
            async with asyncio.timeout(seconds):
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if self.process.exited.done():
                    await asyncio.wait({reading}, timeout=_LAST_WORDS)
                elif reading.result() is None:  # it has closed the pipe without a word
                    await asyncio.wait({self.process.exited})
            return reading.result() if reading.done() else None
        except TimeoutError:
            return None
        finally:
            reading.cancel()
            transport.close()


@dataclass(frozen=True, slots=True)
class Launcher:
    """Starts workers. `runtime` is the staged directory with `serinus_runtime`."""

    home: Home
    records: Records
    runtime: Path
    confined: bool

    def start(self, release: Release, listener: Listener) -> Worker:
        """Raises OSError where it cannot be started: no such interpreter, no memory, no descriptors."""
        scratch = self.scratch(release.id)
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        receiver, sender = os.pipe()
        try:
            child = self._spawn(release, scratch, listener.socket.fileno(), sender)
        except OSError:
            os.close(receiver)
            raise
        finally:
            os.close(sender)
        launch.limit(child.pid)
        record = WorkerRecord(release.id, child.pid, identity(child.pid) or "", ready=False)
        note(self.records, record)
        return Worker(Process.of(child), record, FileIO(receiver))

    def _spawn(self, release: Release, scratch: Path, listening: int, reporting: int) -> subprocess.Popen[bytes]:
        config = _in_memory(self._config(release, scratch, listening, reporting))
        try:
            with log_path(self.home, release.id).open("ab") as output:
                return subprocess.Popen(
                    launch.command(release.python, self.runtime, "worker", f"/proc/self/fd/{config}"),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=scratch,
                    env=launch.environment(release.python, scratch),
                    pass_fds=(config, listening, reporting),
                    start_new_session=True,  # Ctrl-C at the terminal of `up` is not for models
                )
        finally:
            os.close(config)

    def _config(self, release: Release, scratch: Path, listening: int, reporting: int) -> Mapping[str, Any]:
        return {
            "release": release.id,
            "model": release.model,
            "version": release.version,
            "artifact": str(release.artifact_path),
            "listen_fd": listening,
            "report_fd": reporting,
            "log": {"socket": str(self.home.log_socket), "token": self._log_token(release.id)},
            "scratch": str(scratch),
            "settings": asdict(release.settings),
            "readable": readable(self.home.path, release.python, release.artifact_path, *launch.code(self.runtime)),
            "confine": self.confined,
        }

    def _log_token(self, release_id: str) -> str:
        """Lets the worker speak to the collector as this release and no other."""
        secret = self.home.secret.read_text().strip()
        return hmac.new(secret.encode(), f"log:{release_id}".encode(), hashlib.sha256).hexdigest()

    def scratch(self, release_id: str) -> Path:
        return self.home.scratch / file_name(release_id)


async def _first_outcome(stream: asyncio.StreamReader) -> Report | None:
    try:
        async for line in stream:
            report = Report.model_validate_json(line)
            if report.state != "loading":
                return report
    except ValueError:  # of pydantic for what is no report, of the stream for a line without an end
        return Report(state="failed", reason="it reported something that the runtime does not say")
    return None


def note(records: Records, record: WorkerRecord) -> None:
    """On a full disk serving goes on: the next host would leave this worker running, which the log then explains."""
    try:
        records.note(record)
    except OSError as error:
        log.warning("worker %d of %s could not be noted: %s", record.pid, record.release, error)


def _in_memory(config: Mapping[str, Any]) -> int:
    """A descriptor to read it from. Not a file: it holds a token, and a full disk must not keep a worker from
    starting."""
    descriptor = os.memfd_create("serinus-worker-config")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(json.dumps(config).encode())
    return descriptor
