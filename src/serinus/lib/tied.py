"""Processes that end with the process that asked for them, in whatever way it ends, including `kill -9`.

Everything that such a process has started ends with it, in whatever session or group it runs, also when the process
ended by itself. A separate process ensures this (`guardian`). It is not for processes that are to outlive this one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from serinus.lib import guardian

_GUARDIAN = Path(guardian.__file__)
_Stream = int | IO[bytes] | None
_OF_THE_LOADER = "LD_LIBRARY_PATH"
"""Without it an interpreter that was moved may not find its own library, and the guardian is this interpreter."""


class Tied:
    """A running command. It ends when this object is no longer referenced and, as a context manager, at the end of the
    block."""

    def __init__(self, guard: subprocess.Popen[bytes], lifeline: socket.socket, pid: int) -> None:
        self.pid = pid
        """The pid of the command itself, which leads a session of its own."""
        self.stdout, self.stderr = guard.stdout, guard.stderr
        self._guard = guard
        self._lifeline = lifeline
        self._process = os.pidfd_open(pid)

    def wait(self, timeout: float | None = None) -> int:
        """Returns the exit status in the form of `subprocess`, when the command and everything that it has started have
        ended. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        code = self._guard.wait(timeout)
        if self._process >= 0:
            with contextlib.suppress(ProcessLookupError):  # It still runs only where the guardian was killed.
                signal.pidfd_send_signal(self._process, signal.Signals.SIGKILL)
                os.killpg(self.pid, signal.SIGKILL)
            os.close(self._process)
            self._process = -1
        self.kill()
        return code

    def communicate(self, given: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
        """As `subprocess.Popen.communicate`."""
        return self._guard.communicate(given, timeout)

    def kill(self) -> None:
        """Ends the command and everything that it has started, without waiting for it. Any thread may call it."""
        self._lifeline.close()

    def __enter__(self) -> Tied:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.wait()
        for stream in (self._guard.stdin, self.stdout, self.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):  # The command has not read all of its input.
                    stream.close()


def start(
    command: Sequence[str | Path],
    *,
    stdin: _Stream = subprocess.DEVNULL,
    stdout: _Stream = None,
    stderr: _Stream = None,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    prepare: Callable[[int], None] = lambda _: None,
    first: signal.Signals = signal.SIGKILL,
) -> Tied:
    """Starts `command` in a session of its own. Parameters that are not described here are those of `subprocess.Popen`.

    `prepare` is called with its pid before it runs, to put limits on it. `first` is the signal that it gets two seconds
    before SIGKILL, when this process has ended or ends it. `LD_LIBRARY_PATH` is inherited whatever `env` says. Raises
    OSError where it cannot be started.
    """
    if env is not None and _OF_THE_LOADER in os.environ:
        env = {_OF_THE_LOADER: os.environ[_OF_THE_LOADER], **env}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with theirs:
            guard = subprocess.Popen(
                # The guardian is as isolated as its command may have to be: no variable, directory or package
                # influences it.
                [sys.executable, "-I", "-S", _GUARDIAN, str(theirs.fileno()), str(int(first)), *command],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                env=env,
                pass_fds=(theirs.fileno(), *pass_fds),
                start_new_session=True,
            )
        try:
            tied = Tied(guard, ours, _told(ours))
            with contextlib.ExitStack() as stack:
                stack.push(tied)
                prepare(tied.pid)
                ours.send(b"begin")
                if error := _told(ours):
                    raise OSError(error, os.strerror(error), str(command[0]))
                stack.pop_all()
        except BaseException:
            ours.close()
            guard.wait()
            raise
    except BaseException:
        ours.close()
        raise
    return tied


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    given: bytes = b"",
    timeout: float,
    first: signal.Signals = signal.SIGKILL,
) -> subprocess.CompletedProcess[bytes]:
    """Runs `command` to its end and returns what it prints. Raises OSError where it cannot be started, and
    subprocess.TimeoutExpired where it was ended after `timeout` seconds."""
    pipe = subprocess.PIPE
    with start(command, stdin=pipe, stdout=pipe, stderr=pipe, env=env, first=first) as process:
        stdout, stderr = process.communicate(given, timeout)
        return subprocess.CompletedProcess(list(command), process.wait(), stdout, stderr)


def _told(lifeline: socket.socket) -> int:
    said = lifeline.recv(16)
    if not said:
        raise OSError(errno.ECHILD, "its guardian has ended")
    return int(said)
