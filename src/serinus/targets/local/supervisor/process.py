"""The process of the supervisor."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from serinus.core.home import Home
from serinus.core.text import configure_logging
from serinus.lib import locks, processes
from serinus.targets.local.supervisor import directories, kernel, state, succession
from serinus.targets.local.supervisor.checks import Check
from serinus.targets.local.supervisor.process_manager import ProcessManager, ProcessSpec
from serinus.targets.local.supervisor.state import ProcessRecord
from serinus.targets.local.supervisor.version import installed

log = logging.getLogger(__name__)

ROUND = 0.2
_LOCK_SECONDS = 0.5


@dataclass(slots=True)
class _Stop:
    """A flag for signal handlers. `threading.Event` is not used, because its `set` in a signal handler can deadlock
    with its `wait`."""

    wanted: bool = False

    def __call__(self, *_: object) -> None:
        self.wanted = True


def supervise(home: Home, specs: Sequence[ProcessSpec], checks: Sequence[Check] = ()) -> int:
    """Keeps `specs` running until SIGTERM or SIGINT, or until the home is removed. Returns the exit code. A home has
    one."""
    configure_logging()
    logging.raiseExceptions = False  # A log that cannot be written is not a reason to end.
    # The lock is held until the process ends. It waits, because a check of the lock holds it for a moment.
    if locks.take(directories.supervisor_lock(home), seconds=_LOCK_SECONDS) is None:
        log.error("another supervisor keeps %s", home.path)
        return 1
    kernel.open_many_files()
    stop = _Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    manager = ProcessManager(home, specs)
    with contextlib.suppress(OSError):  # The status then shows them as stopped.
        state.forget_others(home, [state.SUPERVISOR, *(spec.name for spec in specs)])
    record = _own_record()
    if manager.outdated:
        _remember(home, replace(record, state=state.REPLACING))
        # The reason is for `up`, which may have the former version take over again.
        record = replace(record, reason=succession.succeed(manager, specs, checks, stop, ROUND))
    _remember(home, record)
    _keep(manager, stop, home)
    log.info("stopping")
    _remember(home, replace(record, state=state.STOPPING))
    left = manager.stop()
    with contextlib.suppress(OSError):
        (home.run / f"{state.SUPERVISOR}.json").unlink()
    return 1 if left else 0


def _keep(manager: ProcessManager, stop: _Stop, home: Home) -> None:
    place = home.path.stat()
    while not stop.wanted:
        try:
            manager.round()
        except Exception:  # The supervisor must survive a defect in one round.
            log.exception("a round failed")
        if not _is_still(home, place):
            log.warning("%s was removed", home.path)
            return
        time.sleep(ROUND)


def _is_still(home: Home, place: os.stat_result) -> bool:
    """Whether the home still exists. Nobody could find and stop processes of a home that was removed."""
    try:
        return os.path.samestat(home.path.stat(), place)
    except FileNotFoundError:
        return False
    except OSError:  # A file system that is unavailable for a moment is not a reason to stop serving.
        return True


def _own_record() -> ProcessRecord:
    me = processes.look(os.getpid())
    assert me is not None
    return ProcessRecord(state.SUPERVISOR, state.RUNNING, me.pid, me.identity, time.time(), version=installed())


def _remember(home: Home, record: ProcessRecord) -> None:
    with contextlib.suppress(OSError):  # It is then found by its mark.
        state.write(home, record)
