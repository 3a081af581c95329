"""Keeping processes running, a round at a time. The clock is given, so that back-off is tested without waiting."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from serinus.core.home import Home
from serinus.supervisor import state
from serinus.supervisor.state import ProcessRecord

FIRST_DELAY = 0.2
LONGEST_DELAY = 30.0
HEALTHY_AFTER = 60.0
LOG_LIMIT = 20_000_000


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What should run."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's own."""
    stop_seconds: float = 15.0
    """How long it may take to end by itself after SIGTERM."""


@dataclass(slots=True)
class _Watched:
    spec: ProcessSpec
    record: ProcessRecord | None = None
    child: subprocess.Popen[bytes] | None = None
    delay: float = 0.0
    next_try: float = 0.0


class Keeper:
    """`specs`: in the order of starting; they are stopped the other way round."""

    def __init__(self, home: Home, specs: Sequence[ProcessSpec], now: Callable[[], float] = time.time) -> None:
        self._home = home
        self._now = now
        self._watched = [_Watched(spec, record=state.read(home, spec.name)) for spec in specs]

    def round(self) -> None:
        """Starts what should run and does not, unless it is backing off."""
        for watched in self._watched:
            if watched.child is not None:
                watched.child.poll()  # reaps, so that a dead child is seen as dead
            if state.alive(watched.record):
                self._note_health(watched)
            else:
                self._revive(watched)

    def _note_health(self, watched: _Watched) -> None:
        assert watched.record is not None
        if watched.delay and self._now() - watched.record.since > HEALTHY_AFTER:
            watched.delay = 0.0

    def _revive(self, watched: _Watched) -> None:
        now = self._now()
        died = watched.record is not None and watched.record.state == "running"
        if died:
            self._back_off(watched, now)
        if now >= watched.next_try:
            self._start(watched, now)

    def _back_off(self, watched: _Watched, now: float) -> None:
        """The first restart is at once; one that dies again soon waits twice as long each time."""
        assert watched.record is not None
        watched.next_try = now + watched.delay
        watched.delay = min(max(2 * watched.delay, FIRST_DELAY), LONGEST_DELAY)
        reason = _end_in_words(watched.child)
        self._remember(watched, replace(watched.record, state="backing-off", reason=reason))

    def _start(self, watched: _Watched, now: float) -> None:
        if watched.record is not None:
            _sweep_group(watched.record.pid)
        restarts = watched.record.restarts + 1 if watched.record and watched.record.state == "backing-off" else 0
        reason = watched.record.reason if watched.record and restarts else ""
        try:
            watched.child = self._spawn(watched.spec)
        except OSError as error:
            watched.delay = min(max(2 * watched.delay, FIRST_DELAY), LONGEST_DELAY)
            watched.next_try = now + watched.delay
            failed = ProcessRecord(watched.spec.name, "backing-off", 0, 0, now, restarts, f"cannot be started: {error}")
            self._remember(watched, failed)
            return
        pid = watched.child.pid
        started = state.start_ticks(pid) or 0
        self._remember(watched, ProcessRecord(watched.spec.name, "running", pid, started, now, restarts, reason))

    def _spawn(self, spec: ProcessSpec) -> subprocess.Popen[bytes]:
        log = self._home.logs / f"{spec.name}.log"
        _turn_over(log)
        with log.open("ab") as output:
            return subprocess.Popen(
                list(spec.command),
                env={**os.environ, **spec.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal of `up` is not meant for it
                cwd=self._home.path,
            )

    def _remember(self, watched: _Watched, record: ProcessRecord) -> None:
        watched.record = record
        # A full disk must not stop the one that keeps the others running; what is in memory goes on.
        with contextlib.suppress(OSError):
            state.write(self._home, record)

    def stop(self) -> None:
        """Ends everything, in the order of the specs, each with its time to finish what is in flight."""
        for watched in reversed(self._watched):
            if not state.alive(watched.record) or watched.record is None:
                continue
            self._end(watched, watched.record)
            self._remember(watched, replace(watched.record, state="stopped", reason="stopped by `serinus down`"))

    def _end(self, watched: _Watched, record: ProcessRecord) -> None:
        for sent, patience in ((signal.SIGTERM, watched.spec.stop_seconds), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, sent)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                if watched.child is not None:
                    watched.child.poll()
                if not state.alive(record):
                    return
                time.sleep(0.05)


def _sweep_group(leader: int) -> None:
    """Ends what a dead process left behind in its group (a server's workers that still hold its port).

    While no process has the number of the group, the group is the dead one's: numbers of living groups are not reused.
    """
    if leader > 0 and state.start_ticks(leader) is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)


def _end_in_words(child: subprocess.Popen[bytes] | None) -> str:
    if child is None or child.returncode is None:
        return "died"
    if child.returncode < 0:
        return f"killed by {signal.Signals(-child.returncode).name}"
    return f"exited with {child.returncode}"


def _turn_over(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
