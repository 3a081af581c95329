"""Interpreters that have a model's libraries imported, for the few trials of one deployment.

To import them takes ten times as long as what is then tried. Nothing but that time depends on one being there.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from serinus import priority
from serinus.backends.host import launch
from serinus.backends.host.processes import parent
from serinus.backends.host.reach import readable
from serinus.backends.host.zygote import Unfit, spawn, threads_of, understood
from serinus.core.home import Home

log = logging.getLogger(__name__)

_IMPORT_SECONDS = 60.0
_FORK_SECONDS = 30.0
_KILLED_SECONDS = 5.0
_LONGEST_ANSWER = 4096
_KILLED = b"killed"
"""To a zygote whose trial has ended: so is what that has started."""


@dataclass(frozen=True, slots=True)
class TrialLimits:
    seconds: float = 120.0
    memory_bytes: int = 8 * 1024**3
    """That the process allocates for itself."""
    file_bytes: int = 1024**3
    """The largest file that it may write."""
    background: bool = False
    """It gets the processors when nobody else wants them."""

    nice: int = 5
    """By which it gives way to the workers, which have callers."""

    def put_on(self, pid: int) -> None:
        """Of a process that was just started."""
        if self.background:
            priority.put_last(pid)
        else:
            priority.give_way(pid, self.nice)
        launch.limit(pid, memory_bytes=self.memory_bytes, file_bytes=self.file_bytes)


class TookTooLong(Exception):
    """The trial was killed, with all that it started."""


class TrialZygote:
    """One model's, used by one thread at a time."""

    def __init__(self, home: Home, runtime: Path, python: Path, artifact: Path, limits: TrialLimits) -> None:
        """Returns when its imports are done. OSError where they do not end; Unfit where they leave threads."""
        self.python, self.artifact = python, artifact
        self.usable = True
        """Until a method has raised OSError."""
        home.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = Path(tempfile.mkdtemp(dir=home.scratch, prefix=".trials-"))
        self.scratch, self.given, self.beside = (self._directory / name for name in ("scratch", "given", "beside"))
        """Trials write to directories in the first, which they make themselves, and read in the second; the third is
        for those that it could not fork."""
        for path in (self.scratch, self.given, self.beside):
            path.mkdir(mode=0o700)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._process = self._spawn(home, runtime, theirs.fileno())
        except OSError:
            self._control.close()
            shutil.rmtree(self._directory, ignore_errors=True)
            raise
        try:
            limits.put_on(self._process.pid)
            if threads := threads_of(self._answer(_IMPORT_SECONDS)):
                raise Unfit(f"its libraries start threads when they are imported ({', '.join(threads)})")
        except (OSError, Unfit):
            self.close()
            raise

    def run(self, module: str, config: str, output: IO[bytes], errors: IO[bytes], limits: TrialLimits) -> int:
        """The exit status of `serinus_runtime.<module>` with the file `config`; a signal is negative. TookTooLong;
        OSError where it could not be forked or the zygote has gone."""
        try:
            message = json.dumps({"module": module, "config": config}).encode()
            socket.send_fds(self._control, [message], [output.fileno(), errors.fileno()])
            answer = self._answer(_FORK_SECONDS)
            if "pid" not in answer:
                raise ConnectionError(answer.get("error", "the zygote gave no pid"))
            pidfd = self._child(answer["pid"])
            try:
                limits.put_on(answer["pid"])
                return self._end(answer["pid"], pidfd, limits.seconds)
            finally:
                os.close(pidfd)
        except OSError:
            self.usable = False
            raise

    def close(self) -> None:
        self._control.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # it holds nothing that could be lost
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _child(self, pid: Any) -> int:
        """A descriptor of the process that the zygote names, which is a claim: it must be its child. OSError."""
        if type(pid) is not int:
            raise ConnectionError("the zygote gave no pid")
        pidfd = os.pidfd_open(pid)
        if parent(pid) != self._process.pid:
            os.close(pidfd)
            raise ConnectionError("the zygote named a process that is not its own")
        return pidfd

    def _end(self, pid: int, pidfd: int, seconds: float) -> int:
        try:
            ended = self._ended(pid, seconds)
        except TimeoutError as error:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            try:
                self._ended(pid, _KILLED_SECONDS)
            except OSError:  # it is not what it was, and goes with all that it has
                self.usable = False
            raise TookTooLong from error
        if type(ended) is not int:
            raise ConnectionError("the zygote gave no exit status")
        return ended

    def _ended(self, pid: int, seconds: float) -> Any:
        """What the zygote says of how the trial has ended; all that the trial has started is killed by then. It cannot
        leave the group of the trial, whose number is its own until the zygote has waited for it. OSError."""
        if not self._answer(seconds).get("dead"):
            raise ConnectionError("the zygote did not say that its trial has ended")
        if parent(pid) == self._process.pid:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self._control.send(_KILLED)
        return self._answer(_KILLED_SECONDS).get("ended")

    def _spawn(self, home: Home, runtime: Path, control: int) -> subprocess.Popen[bytes]:
        config = {
            "control_fd": control,
            "artifact": str(self.artifact),
            "readable": readable(home.path, self.python, self.artifact, self.given, *launch.code(runtime)),
            "scratch": str(self.scratch),
            "confine": launch.confined(home),
        }
        return spawn("trial_zygote", self.python, runtime, config, subprocess.DEVNULL)

    def _answer(self, seconds: float) -> Mapping[str, Any]:
        self._control.settimeout(seconds)
        said = self._control.recv(_LONGEST_ANSWER)
        if not said:
            raise ConnectionResetError("the zygote is gone")
        return understood(said)


class TrialZygotes:
    """Keeps at most one that nobody uses, and that not for long: workers could have its memory. Thread-safe."""

    def __init__(self, home: Home, *, runtime: Path | None = None, idle: float = 4.0) -> None:
        """One a home: removes what trials have left that nobody waits for any more, as their process was killed.

        `runtime`: as for `Trials`. `idle`: seconds for which a zygote waits for the next trial of its model.
        """
        self._home = home
        for left in home.scratch.glob(".trial*"):
            shutil.rmtree(left, ignore_errors=True)
        self._runtime = launch.stage(home, runtime or launch.runtime_source())
        self._idle = idle
        self._lock = threading.Lock()
        self._waiting: TrialZygote | None = None
        self._timer: threading.Timer | None = None
        self._unfit: set[Path] = set()
        """Interpreters whose libraries cannot be forked."""

    def start(self, python: Path, artifact: Path, limits: TrialLimits) -> TrialZygote | None:
        """To be given back. None where it does not come up, which the log says."""
        if python in self._unfit:
            return None
        try:
            return TrialZygote(self._home, self._runtime, python, artifact, limits)
        except Unfit as error:
            self._unfit.add(python)
            log.info("no trials are forked from %s: %s", python, error)
        except OSError as error:
            log.info("trials of %s are not forked: %s", artifact.name, error or type(error).__name__)
        return None

    def take(self, python: Path, artifact: Path) -> TrialZygote | None:
        """The one that waits, if it is that model's; to be given back."""
        with self._lock:
            found = self._waiting
            if found is None or (found.python, found.artifact) != (python, artifact):
                return None
            self._swap(None)
            return found

    def give_back(self, zygote: TrialZygote) -> None:
        with self._lock:
            gone = self._swap(zygote) if zygote.usable else zygote
        if gone is not None:
            gone.close()

    def close(self) -> None:
        with self._lock:
            gone = self._swap(None)
        if gone is not None:
            gone.close()

    def _swap(self, zygote: TrialZygote | None) -> TrialZygote | None:
        """The one that has waited until now."""
        if self._timer is not None:
            self._timer.cancel()
        gone, self._waiting, self._timer = self._waiting, zygote, None
        if zygote is not None:
            self._timer = threading.Timer(self._idle, self._tired_of, (zygote,))
            self._timer.daemon = True
            self._timer.start()
        return gone

    def _tired_of(self, zygote: TrialZygote) -> None:
        with self._lock:
            if self._waiting is not zygote:
                return
            self._swap(None)
        zygote.close()
