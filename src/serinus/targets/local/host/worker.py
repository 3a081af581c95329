"""One worker process: it is started on a listening socket, listened to until it is ready, and stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from serinus_runtime.isolation.scratch import remove
from serinus_runtime.process import starting
from serinus_runtime.process.in_memory import in_memory
from serinus_runtime.process.last_words import last_words
from serinus_runtime.process.load_report import Load
from serinus_runtime.process.process_memory import Known, Memory, resident
from serinus_runtime.process.reports import LAST_WORDS, Report, Reports
from serinus_runtime.process.wire import pair

from serinus.core.home import Home
from serinus.core.keys import router_key
from serinus.core.release import USUAL, Release, Scale
from serinus.core.text import one_line
from serinus.disturbances import Journal
from serinus.lib.processes import identity
from serinus.targets.local.host import launch
from serinus.targets.local.host.cgroups import Groups
from serinus.targets.local.host.listener import Listener
from serinus.targets.local.host.logs import log_path
from serinus.targets.local.host.processes import Process
from serinus.targets.local.host.reach import readable
from serinus.targets.local.host.sockets import Sockets
from serinus.targets.local.host.state_files import StateFiles, WorkerRecord, file_name
from serinus.targets.local.host.wires import Wires
from serinus.targets.local.host.zygotes import Zygotes, key

log = logging.getLogger(__name__)

_Begin = Callable[[Release, Path, Sequence[int]], Awaitable[Process | None]]
"""Starts a worker with a scratch directory and these descriptors, or returns None."""


@dataclass(slots=True, eq=False)
class Worker:
    """`reports` is None for a worker that an earlier host started."""

    process: Process
    record: WorkerRecord
    reports: Reports | None = field(default=None, repr=False)
    cpu_seconds: float = 0.0
    """As last measured."""
    requests: int = 0
    waiting: int = 0
    """As last reported."""
    forked: bool = True
    """Whether it was forked from its environment's zygote. Otherwise it is an interpreter of its own and shares no
    libraries."""
    memory: Memory | None = None
    """As last measured."""
    known: Known | None = None
    """From the worker itself, or from the kernel where the kernel tells us."""
    weighed: float = 0.0
    """The time of that measurement, by the loop's clock."""
    why_stopped: str = ""
    """Why it was stopped, if it was stopped for something that it did."""
    log_from: int = 0
    """The size of its log in bytes when it was started."""
    long: bool = False
    """Whether it uses the long way."""
    report: Report | None = field(default=None, repr=False)
    """The report that it is ready."""

    def take_note(self, report: Report) -> None:
        """Takes note of what the worker says about its own size, since nobody else can determine it later."""
        self.memory = report.memory
        if report.memory is not None and (now := resident(self.record.pid)) is not None:
            self.known = Known(report.memory, now)

    async def outcome(self, seconds: float) -> Report | None:
        """The report that it is ready or has failed. None where no report came before its exit or within `seconds`."""
        if self.reports is None:
            return None
        return await self.reports.outcome(self.process.exited, seconds)

    def stats(self) -> Load | None:
        """Returns the load that the worker has reported, or None if an earlier host started it."""
        return None if self.reports is None else self.reports.stats()


@dataclass(frozen=True)
class Launcher:
    """Starts workers. `runtime` is the staged directory with `serinus_runtime`."""

    home: Home
    state_files: StateFiles
    runtime: Path
    confined: bool
    sockets: Sockets
    wires: Wires
    groups: Groups
    cores: int
    journal: Journal
    """Records what the host does that callers notice."""

    @cached_property
    def zygotes(self) -> Zygotes:
        """The zygotes from which workers are forked."""
        return Zygotes(self.home, self.runtime, self.confined, self.cores)

    async def start(
        self, release: Release, listener: Listener, proven: str, *, long: bool = False, scale: Scale = USUAL
    ) -> Worker:
        """`proven` is what an earlier worker of the release has reported. `long` says that the worker is to use no
        shorter way.

        Raises OSError where it cannot be started, because there is no such interpreter, no memory, or no descriptor.
        """
        log_from = _size(log_path(self.home, release.id))
        more = {"proven": proven, "long": long, "settings": settings_of(release, scale)}
        forked = await self._tried(self._forked, release, self.scratch(release), listener, more)
        started = forked or await self._tried(self._fresh, release, self.own_scratch(release), listener, more)
        assert started is not None  # an interpreter is started, or there is an OSError
        process, reports, ours = started
        process.exited.add_done_callback(lambda _: asyncio.get_running_loop().call_later(LAST_WORDS, reports.close))
        record = WorkerRecord(release.id, process.pid, identity(process.pid) or "", ready=False, scale=scale)
        note(self.state_files, record)
        self.wires.add(record, process, ours)
        worker = Worker(process, record, reports, forked=forked is not None, log_from=log_from, long=long)
        self.groups.put(process.pid, scale)
        process.exited.add_done_callback(lambda _: self._ungroup(worker, scale))
        return worker

    def last_words(self, worker: Worker) -> str:
        """Returns the error that the worker wrote last to its log, or an empty text."""
        try:
            with log_path(self.home, worker.record.release).open("rb") as written:
                return last_words(written, worker.log_from, errors_alone=True)
        except OSError:
            return ""

    def _ungroup(self, worker: Worker, scale: Scale) -> None:
        if self.groups.end(worker.process.pid) and not worker.why_stopped:
            most = (scale.memory_limit_bytes or 0) >> 20
            worker.why_stopped = f"was killed, with all that it had started, beyond its limit of {most} MiB"

    async def _tried(
        self, begin: _Begin, release: Release, scratch: Path, listener: Listener, more: Mapping[str, Any]
    ) -> tuple[Process, Reports, socket.socket] | None:
        """Returns what `begin` starts, with its reports and this end of its wire. `more` belongs to its configuration.

        Each try has a wire of its own: a worker that was forked and lost may have reported before it ended, and its
        report must not be taken for that of the next one.
        """
        process = None
        ours, theirs = pair()
        reports = Reports(os.dup(ours.fileno()), one_line)
        try:
            listening, reporting = listener.socket.fileno(), theirs.fileno()
            with log_path(self.home, release.id).open("ab") as output:
                told = in_memory({**self._config(release, scratch, listening, reporting), **more})
                try:
                    process = await begin(release, scratch, (listening, reporting, told, output.fileno()))
                finally:
                    os.close(told)
        finally:
            theirs.close()
            if process is None:
                reports.close()
                ours.close()
        return None if process is None else (process, reports, ours)

    async def _forked(self, release: Release, _scratch: Path, carried: Sequence[int]) -> Process | None:
        """Returns a fork of the zygote, or None if none can be forked."""
        return await self.zygotes.fork(self.interpreter(release), roots(self.home, release), carried)

    async def _fresh(self, release: Release, scratch: Path, carried: Sequence[int]) -> Process | None:
        """Starts a new interpreter."""
        listening, reporting, told, output = carried
        python = self.interpreter(release)
        command = launch.command(python, self.runtime, "process.worker", f"/proc/self/fd/{told}")
        child = starting.start(command, python, scratch, output, output, (told, listening, reporting))
        starting.limit(child.pid)
        return Process.of(child)

    def _config(self, release: Release, scratch: Path, listening: int, reporting: int) -> Mapping[str, Any]:
        artifact, graph = files_of(self.home, release)
        own = [artifact, *([graph] if graph else []), *launch.code(self.runtime)]
        return {
            "release": release.id,
            "model": release.model,
            "version": release.version,
            "artifact": str(artifact),
            "compiled": str(graph) if graph else None,
            "digest": release.compiled.digest if release.compiled else None,
            "listen_fd": listening,
            "report_fd": reporting,
            "log": True,
            "router": router_key(self.home.secret.read_text(), release.id),
            "scratch": str(scratch),
            "readable": readable(self.home.path, self.interpreter(release), *own),
            "confine": self.confined,
        }

    def interpreter(self, release: Release) -> Path:
        """The interpreter of the environment that its workers run in."""
        return self.home.interpreter(environment_of(release))

    def check(self, release: Release) -> None:
        """Raises InvalidInput where a digest of the release is not one, and could lead out of the home."""
        files_of(self.home, release)
        self.home.interpreter(release.environment_digest)
        self.interpreter(release)

    def scratch(self, release: Release) -> Path:
        """The scratch directory of a forked worker. It lies in the directory of its zygote, which is all that the
        zygote may write in. The worker makes it itself, confined as the zygote is. Nothing here looks into it."""
        return self.home.scratch / key(self.interpreter(release)) / file_name(release.id)

    def scratches(self, release: Release) -> Sequence[Path]:
        """All directories that workers of the release may have written in."""
        return self.scratch(release), self.own_scratch(release)

    def clear(self, release: Release) -> None:
        """Removes what the release's workers have left. None of them may still live. It has to be called in a thread of
        its own."""
        for directory in self.scratches(release):
            if directory.is_symlink():
                log.warning("the scratch directory of %s was replaced by a link, which is removed", release.id)
            try:
                remove(directory)
            except OSError as error:
                log.warning("what workers of %s have left could not be removed: %s", release.id, error.strerror)

    def own_scratch(self, release: Release) -> Path:
        """The scratch directory of a worker that is an interpreter of its own. It lies in a directory that nothing
        confined can write in."""
        return self.home.scratch / "own" / file_name(release.id)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def settings_of(release: Release, scale: Scale) -> Mapping[str, Any]:
    """As `serinus_runtime.base.config.Settings` reads them."""
    settings = {**asdict(release.settings), "memory_limit_bytes": scale.memory_limit_bytes}
    if release.settings.cache is not None:
        settings["cache"] = {"max_bytes": scale.cache_bytes, "ttl_seconds": release.settings.cache.ttl_seconds}
    return settings


def suits(started_with: Scale | None, scale: Scale) -> bool:
    """Whether a worker has those parts of the scale that it is told at its start and keeps until its end. For a worker
    that an earlier version started, which did not record them, it is assumed: a new host replaces it in any case."""
    if started_with is None:
        return True
    return (started_with.memory_limit_bytes, started_with.cache_bytes) == (scale.memory_limit_bytes, scale.cache_bytes)


def the_long_way(release: Release) -> Release:
    """The same release, served by its own libraries."""
    return replace(release, compiled=None)


def environment_of(release: Release) -> str:
    """The digest of the environment that its workers run in."""
    return release.compiled.environment_digest if release.compiled else release.environment_digest


def files_of(home: Home, release: Release) -> tuple[Path, Path | None]:
    """The directory of its artifact and that of its graph. Raises InvalidInput where a digest is not one."""
    return home.artifact(release.artifact_digest), home.graph(release.compiled.digest) if release.compiled else None


def roots(home: Home, release: Release) -> set[Path]:
    """The directories that the zygote of its environment must be able to read. They hold the files of this release, and
    of others."""
    return {home.artifacts, *([home.compiled] if release.compiled else [])}


def note(files: StateFiles, record: WorkerRecord) -> None:
    """If the disk is full, serving continues. The next host would then leave this worker running; the log explains
    it."""
    try:
        files.note(record)
    except OSError as error:
        log.warning("worker %d of %s could not be noted: %s", record.pid, record.release, error)
