"""Interpreters that have a model's libraries imported, for the few trials of one deployment.

Importing them takes ten times as long as the trial itself. Only that time depends on a zygote being there. The zygotes
end with this process.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from serinus_runtime.isolation.scratch import remove
from serinus_runtime.process.watching import TookTooMuch, Watch
from serinus_runtime.process.zygote_protocol import Unfit, check_first, understood

from serinus.core.home import Home
from serinus.lib import tied
from serinus.lib.processes import parent
from serinus.targets.local.host import launch
from serinus.targets.local.host.processes import descriptor_of
from serinus.targets.local.host.reach import readable
from serinus.targets.local.host.trial_limits import TrialLimits
from serinus.targets.local.host.zygote import spawn

log = logging.getLogger(__name__)

_IMPORT_SECONDS = 60.0
_FORK_SECONDS = 30.0
_KILLED_SECONDS = 5.0
_LONGEST_ANSWER = 4096
_BEGIN = b"begin"
"""Written to the pipe of a trial that has its limits."""
_KILLED = b"killed"
"""Sent to a zygote whose trial has ended: everything that the trial started is killed."""


class TrialZygote:
    """The zygote of one model, which is used by one thread at a time."""

    def __init__(self, home: Home, runtime: Path, python: Path, artifact: Path, limits: TrialLimits) -> None:
        """Returns when its imports are done. Raises OSError where they do not end, and Unfit where they leave
        threads."""
        self.python, self.artifact = python, artifact
        self.usable = True
        """True until a method has raised OSError."""
        home.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = Path(tempfile.mkdtemp(dir=home.scratch, prefix=".trials-"))
        self.scratch, self.given, self.beside = (self._directory / name for name in ("scratch", "given", "beside"))
        """Trials write to directories in the first, which they make themselves, and read from the second. The third is
        for trials that could not be forked."""
        for path in (self.scratch, self.given, self.beside):
            path.mkdir(mode=0o700)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._process = self._spawn(home, runtime, theirs.fileno(), limits)
        except OSError:
            self._control.close()
            _removed(self._directory)
            raise
        try:
            watch = Watch(self.scratch, (), replace(limits, seconds=_IMPORT_SECONDS))
            check_first(self._watched(watch))
        except TookTooMuch as error:
            self.close()
            raise TimeoutError(str(error)) from error
        except (OSError, Unfit):
            self.close()
            raise

    def run(self, module: str, config: str, output: IO[bytes], errors: IO[bytes], limits: TrialLimits) -> int:
        """The exit status of `serinus_runtime.<module>` with the file `config`; it is negative for a signal. Raises
        TookTooMuch, and OSError where the trial could not be forked or the zygote is gone."""
        try:
            with self._begun(module, config, output, errors, limits) as (pid, pidfd):
                watch = Watch(self.scratch, (output, errors), limits)
                return self._end(pid, pidfd, watch)
        except OSError:
            self.usable = False
            raise

    def close(self) -> None:
        """Ends the zygote and removes its files."""
        self._control.close()
        self._process.kill()  # It holds nothing that could be lost.
        self._process.wait()
        _removed(self._directory)

    @contextmanager
    def _begun(
        self, module: str, config: str, output: IO[bytes], errors: IO[bytes], limits: TrialLimits
    ) -> Iterator[tuple[int, int]]:
        """Yields the pid of a trial that has begun under its limits, and a descriptor of its process. Raises
        OSError."""
        with ExitStack() as stack:
            waits, begin = os.pipe()
            stack.callback(os.close, begin)
            try:
                message = json.dumps({"module": module, "config": config}).encode()
                socket.send_fds(self._control, [message], [output.fileno(), errors.fileno(), waits])
            finally:
                os.close(waits)
            answer = self._answer(_FORK_SECONDS)
            if "pid" not in answer:
                raise ConnectionError(answer.get("error", "the zygote gave no pid"))
            pid = answer["pid"]
            pidfd = self._child(pid)
            stack.callback(os.close, pidfd)
            limits.put_on(pid)
            os.write(begin, _BEGIN)
            yield pid, pidfd

    def _child(self, pid: Any) -> int:
        """A descriptor of the process that the zygote names. The zygote's statement is only a claim: the process must
        be its child. Raises OSError otherwise."""
        pidfd = descriptor_of(pid)
        if parent(pid) != self._process.pid:
            os.close(pidfd)
            raise ConnectionError("the zygote named a process that is not its own")
        return pidfd

    def _end(self, pid: int, pidfd: int, watch: Watch) -> int:
        try:
            ended = self._ended(pid, partial(self._watched, watch))
        except TookTooMuch:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            try:
                self._ended(pid, partial(self._answer, _KILLED_SECONDS))
            except OSError:  # It is in an unknown state, and ends with its processes.
                self.usable = False
            raise
        if type(ended) is not int:
            raise ConnectionError("the zygote gave no exit status")
        return ended

    def _ended(self, pid: int, answer: Callable[[], Mapping[str, Any]]) -> Any:
        """Returns the zygote's message about the end of the trial, after all that the trial has started was killed. The
        trial's processes cannot leave the trial's group, whose number is not reused until the zygote has waited for the
        trial. Raises OSError."""
        if not answer().get("dead"):
            raise ConnectionError("the zygote did not say that its trial has ended")
        if parent(pid) == self._process.pid:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self._control.send(_KILLED)
        return self._answer(_KILLED_SECONDS).get("ended")

    def _spawn(self, home: Home, runtime: Path, control: int, limits: TrialLimits) -> tied.Tied:
        config = {
            "control_fd": control,
            "artifact": str(self.artifact),
            "readable": readable(home.path, self.python, self.artifact, self.given, *launch.code(runtime)),
            "scratch": str(self.scratch),
            "confine": launch.confined(home),
        }
        start = partial(tied.start, prepare=limits.put_on)
        return spawn("process.trial_zygote", self.python, runtime, config, subprocess.DEVNULL, start)

    def _watched(self, watch: Watch) -> Mapping[str, Any]:
        while True:
            with suppress(TimeoutError):
                return self._answer(watch.look())

    def _answer(self, seconds: float) -> Mapping[str, Any]:
        self._control.settimeout(seconds)
        said = self._control.recv(_LONGEST_ANSWER)
        if not said:
            raise ConnectionResetError("the zygote is gone")
        return understood(said)


def _removed(directory: Path) -> None:
    try:
        remove(directory)
    except OSError as error:
        log.warning("what a trial has left could not be removed: %s", error.strerror)


class TrialZygotes:
    """Keeps at most one zygote that nobody uses, for a short time, since the workers could use its memory. It is
    thread-safe."""

    def __init__(self, home: Home, *, runtime: Path | None = None, idle: float = 4.0) -> None:
        """There is one for each home. Removes the files of trials that nobody waits for any more because their process
        was killed.

        `runtime` is as for `Trials`. `idle` is the number of seconds for which a zygote waits for the next trial of its
        model.
        """
        self._home = home
        for left in home.scratch.glob(".trial*"):
            _removed(left)
        self._runtime = launch.stage(home, runtime or launch.runtime_source())
        self._idle = idle
        self._lock = threading.Lock()
        self._waiting: TrialZygote | None = None
        self._timer: threading.Timer | None = None
        self._unfit: set[Path] = set()
        """The interpreters whose libraries cannot be forked."""

    def start(self, python: Path, artifact: Path, limits: TrialLimits) -> TrialZygote | None:
        """The zygote has to be given back. None where it does not come up; the log says why."""
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
        """The waiting zygote, if it is that of this model. It has to be given back."""
        with self._lock:
            found = self._waiting
            if found is None or (found.python, found.artifact) != (python, artifact):
                return None
            self._swap(None)
            return found

    def give_back(self, zygote: TrialZygote) -> None:
        """Takes back a zygote, which then waits for the next trial of its model if it is usable."""
        with self._lock:
            gone = self._swap(zygote) if zygote.usable else zygote
        if gone is not None:
            gone.close()

    def close(self) -> None:
        """Ends the zygote that waits."""
        with self._lock:
            gone = self._swap(None)
        if gone is not None:
            gone.close()

    def _swap(self, zygote: TrialZygote | None) -> TrialZygote | None:
        """The zygote that has waited until now."""
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
