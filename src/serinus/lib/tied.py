"""Processes that end with the process that asked for them, whatever way that goes: `kill -9` of it included.

All that such a process has started ends with it, in whatever session or group that runs, once it has ended by itself
as well. A process of its own sees to that (`guardian`). Not for what is to outlive this process.
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


class Tied:
    """A running command. It ends when nobody refers to this any more. As a context: ended at its end."""

    def __init__(self, guard: subprocess.Popen[bytes], lifeline: socket.socket, pid: int) -> None:
        self.pid = pid
        """The pid of the command itself, which leads a session of its own."""
        self.stdout, self.stderr = guard.stdout, guard.stderr
        self._guard = guard
        self._lifeline = lifeline
        self._process = os.pidfd_open(pid)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, as `subprocess` gives it, when it and all that it has started are gone. Raises
        subprocess.TimeoutExpired after `timeout` seconds."""
        code = self._guard.wait(timeout)
        if self._process >= 0:
            with contextlib.suppress(ProcessLookupError):  # it is there only where somebody has killed the guardian
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
        """Has it end, with all that it has started, and does not wait for that. Any thread may call it."""
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
                with contextlib.suppress(OSError):  # what it was given and has not read
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
    """Starts `command`, in a session of its own. What is not said here is as for `subprocess.Popen`.

    `prepare` is called with its pid before it runs, to put limits on it. `first`: what it gets, two seconds before
    SIGKILL, when this process is gone or ends it. Raises OSError where it cannot be started.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with theirs:
            guard = subprocess.Popen(
                # As isolated as what it starts may have to be: no variable, directory or package has a say in it.
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
    """Runs `command` to its end and takes what it prints. Raises OSError where it cannot be started, and
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
