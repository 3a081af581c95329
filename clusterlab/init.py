"""The first process in the lab's namespaces: it starts the programs, waits until each is ready, and restarts what ends.

    python -m clusterlab.init DIRECTORY

When it ends, for whatever reason, the kernel ends all that runs in the lab; with the last of them go the mounts and the
network. So nothing is left by a lab that is killed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusterlab import LabError, cgroups, machine, network, programs, rooms
from clusterlab.place import Place, write_state
from clusterlab.programs import Program

PATIENCE = 300.0
"""Seconds in which some program becomes ready, while one is not."""
_PAUSE = 0.1
_LONGEST_PAUSE = 30.0


@dataclass(slots=True)
class Run:
    """What is known of one program."""

    program: Program
    pid: int | None = None
    ready: bool = False
    restarts: int = 0
    ended: str = ""
    """How it ended last."""
    again: float = 0.0
    """When it is started again, on the monotonic clock."""


class Init:
    def __init__(self, place: Place, table: Sequence[Program]) -> None:
        self._place = place
        self._runs = {program.name: Run(program) for program in table}
        self._began = time.monotonic()

    def start(self) -> None:
        """Until all are ready. Raises LabError: one has ended, or does not become ready."""
        self._tell("starting")
        progress = time.monotonic()
        while waiting := [run for run in self._runs.values() if not run.ready]:
            self._reap()
            for run in waiting:
                if run.ended:
                    raise LabError(f"{run.program.name} {run.ended}. The end of its log:\n{self._tail(run)}")
                if run.pid is None and all(self._runs[name].ready for name in run.program.after):
                    run.program.before()
                    self._launch(run)
                elif run.pid is not None and run.program.ready():
                    run.ready = True
                    progress = time.monotonic()
                    self._say(f"{run.program.name} is ready ({progress - self._began:.1f} s)")
                    self._tell("starting")
            if time.monotonic() - progress > PATIENCE:
                [first, *_] = [run for run in waiting if run.pid is not None]
                raise LabError(
                    f"{first.program.name} is not ready after {PATIENCE:.0f} s. "
                    f"The end of its log:\n{self._tail(first)}"
                )
            time.sleep(_PAUSE)

    def keep(self) -> None:
        """Forever: reaps what ends, and starts programs again, after 1 s, then 2 s, up to 30 s."""
        self._tell("up")
        while True:
            changed = self._reap()
            for run in self._runs.values():
                if run.pid is None and time.monotonic() >= run.again:
                    self._launch(run)
                    changed = True
            if changed:
                self._tell("up")
            time.sleep(_PAUSE)

    def fail(self, problem: str) -> None:
        self._say(problem)
        self._tell("failed", problem)

    def _launch(self, run: Run) -> None:
        program = run.program
        with self._place.log(program.name).open("ab") as log:
            started = subprocess.Popen(
                program.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._place.directory,
                env={"PATH": machine.PATH, "HOME": str(self._place.directory), **program.environment},
            )
        started.returncode = 0  # it is reaped here, not by subprocess
        run.pid = started.pid

    def _reap(self) -> bool:
        """Whether a program has ended. What containers leave behind is reaped as well."""
        changed = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return changed
            if pid == 0:
                return changed
            for run in self._runs.values():
                if run.pid == pid:
                    self._ended(run, os.waitstatus_to_exitcode(status))
                    changed = True

    def _ended(self, run: Run, code: int) -> None:
        run.pid = None
        run.ended = f"was ended by signal {-code}" if code < 0 else f"has ended with status {code}"
        run.again = time.monotonic() + min(_LONGEST_PAUSE, 2.0**run.restarts)
        run.restarts += 1
        self._say(f"{run.program.name} {run.ended}")

    def _tail(self, run: Run) -> str:
        log = self._place.log(run.program.name)
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return "\n".join(f"  {line[:400]}" for line in lines[-8:])

    def _say(self, line: str) -> None:
        with self._place.progress.open("a") as log:
            log.write(f"{line}\n")

    def _tell(self, state: str, problem: str = "") -> None:
        told: dict[str, Any] = {
            name: {"running": run.pid is not None, "ready": run.ready, "restarts": run.restarts, "ended": run.ended}
            for name, run in self._runs.items()
        }
        write_state({"state": state, "problem": problem, "programs": told})


def main() -> None:
    place = Place(Path(sys.argv[1]))
    sys.stdout.write("here\n")
    sys.stdout.flush()
    if sys.stdin.readline() != "go\n":
        return  # who started it is gone, before anybody else knows of it
    init = Init(place, ())
    try:
        rooms.settle(place)
        network.settle()
        cgroups.make()
        init = Init(place, programs.all_of(place))
        init.start()
    except (LabError, OSError, subprocess.SubprocessError) as error:
        init.fail(str(error))
        raise SystemExit(1) from None
    init.keep()


if __name__ == "__main__":
    main()
