"""Whether a started worker is ready, by its own report and by the kernel's view of it."""

from __future__ import annotations

from collections.abc import Callable

from serinus_runtime.isolation import observed
from serinus_runtime.process.last_words import why_ended

from serinus.targets.local.host.worker import Launcher, Worker

_TIME_TO_EXIT = 1.0
"""Seconds in which a worker must end after it has reported a failure."""


async def why_not_ready(
    worker: Worker, launcher: Launcher, seconds: float, damaged: Callable[[str], None]
) -> str | None:
    """Returns why the worker did not become ready within `seconds`, in words. It has ended then. None: it is ready, and
    has a `report`.

    `damaged` is called with the reason where its compiled files are not those that were proven.
    """
    process, report = worker.process, await worker.outcome(seconds)
    if report is None and not process.exited.done():
        await process.kill()
        return f"was not ready within {seconds:g} s and was killed"
    if report is None:
        return f"while loading: {why_ended(process.exited.result(), launcher.last_words(worker))}"
    if report.state == "failed":
        if report.damaged:
            damaged(report.reason)
        return why_ended(await process.gone(_TIME_TO_EXIT), report.reason)
    if launcher.confined and not (report.confined and observed.holds(process.pid)):
        await process.kill()
        return "was killed because it did not confine itself (Landlock, system calls)"
    worker.report = report
    return None
