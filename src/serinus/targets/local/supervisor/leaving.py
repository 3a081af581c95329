"""A process that completes its requests while one of another version has already replaced it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from serinus.core.home import Home
from serinus.targets.local.supervisor import state
from serinus.targets.local.supervisor.state import ProcessRecord

GOODBYE = 40.0
"""Seconds within which it must end by itself after the new one answers."""
KILL_SECONDS = 5.0


@dataclass(slots=True)
class Leaving:
    """A process that was replaced."""

    home: Home
    record: ProcessRecord
    dismissal: Sequence[str]
    """The command that has it complete its requests."""
    until: float = 0.0
    """The time at which it is told to end. 0: the new process does not answer yet."""
    _dismissing: subprocess.Popen[bytes] | None = None

    @classmethod
    def of(cls, home: Home, record: ProcessRecord, dismissal: Sequence[str]) -> Leaving:
        """Records that the process is being replaced. Raises OSError, and then it is not."""
        leaving = replace(record, name=f"{record.name}{state.BEFORE}", state=state.STOPPING)
        state.write(home, leaving)
        return cls(home, leaving, dismissal)

    @classmethod
    def found(cls, home: Home, successor: ProcessRecord, dismissal: Sequence[str]) -> Leaving | None:
        """Returns the process that an earlier supervisor has replaced by `successor`. None: there is none."""
        record = state.read(home, f"{successor.name}{state.BEFORE}")
        return None if record is None or record.pid == successor.pid else cls(home, record, dismissal)

    def see_off(self, now: float, answers: Callable[[], bool]) -> bool:
        """Continues the replacement. Returns whether the process has ended. `answers`: whether the new one answers."""
        if self._dismissing is not None:
            self._dismissing.poll()  # Reaps it.
        if not state.alive(self.record):
            state.forget(self.home, self.record.name)
            return True
        if self.until and now > self.until:
            signalled(self.record, signal.SIGTERM)
        elif not self.until and answers():
            self.until = now + GOODBYE
            self._dismiss()
        return False

    def end(self) -> None:
        """Ends the process at once."""
        if state.alive(self.record):
            signalled(self.record, signal.SIGKILL, KILL_SECONDS)
        state.forget(self.home, self.record.name)

    def _dismiss(self) -> None:
        if not self.dismissal:
            return
        with Path(os.devnull).open("r+b") as nothing:
            self._dismissing = subprocess.Popen(
                list(self.dismissal), stdin=nothing, stdout=nothing, stderr=nothing, cwd=self.home.path
            )


def signalled(record: ProcessRecord, number: signal.Signals, patience: float = 0.0) -> bool:
    """Sends a signal to a process. Returns whether it has ended within `patience` seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(record.pid, number)
    deadline = time.monotonic() + patience
    while state.alive(record):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True
