"""How a worker is started."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from serinus.core.release import Release
from serinus.disturbances import Journal
from serinus.targets.local.host.listener import Listener
from serinus.targets.local.host.processes import Process
from serinus.targets.local.host.state_files import StateFiles
from serinus.targets.local.host.worker import Launcher

READY = b'{"state": "ready", "confined": true}\n'


class Zygotes:
    """Loses the worker that it has forked, which has reported by then."""

    async def fork(self, python: Path, roots: Any, descriptors: Sequence[int]) -> None:
        _, reporting, *_ = descriptors
        os.write(reporting, READY)


class Launching(Launcher):
    """Its own interpreters report nothing."""

    async def _fresh(self, release: Release, scratch: Path, carried: Sequence[int]) -> Process | None:
        return Process.of(subprocess.Popen(["sleep", "1000"], pass_fds=carried[:2]))


def test_what_a_lost_fork_has_reported_is_not_taken_for_a_report_of_the_next_worker(
    hosted: Any, tmp_path: Path
) -> None:
    async def started() -> None:
        home = hosted.home
        nothing: Any = SimpleNamespace(add=lambda *_: None, put=lambda *_: None, end=lambda _: False)
        journal = Journal(home.disturbances, "host")
        launcher = Launching(home, StateFiles(home), tmp_path, False, nothing, nothing, nothing, 1, journal)
        launcher.__dict__["zygotes"] = Zygotes()
        listener = Listener(home.sockets / "release")
        worker = await launcher.start(hosted.release(), listener, "")
        try:
            assert worker.reports is not None
            assert not worker.forked
            assert await worker.reports.outcome(worker.process.exited, 0.5) is None
        finally:
            await worker.process.kill()
            listener.close()

    asyncio.run(started())
