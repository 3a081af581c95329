"""Processes that end with the process that asked for them, in whatever way it ends, including `kill -9`.

Everything that such a process has started ends with it, in whatever session or group it runs, also when the process
ended by itself. A separate process ensures this (`guardian`). It is not for processes that are to outlive this one.

Guardians are forked from an interpreter that is started with the first command, which is why a command starts in
milliseconds (docs/decisions/0077-guardians-are-forked.md).
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import marshal
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from serinus.lib import guardian

_GUARDIAN = Path(guardian.__file__)
_Stream = int | IO[bytes] | None
_OF_THE_LOADER = "LD_LIBRARY_PATH"
"""Without it an interpreter that was moved may not find its own library."""
_STANDARD = ("stdin", "stdout", "stderr")
_PIPED = 4096
"""The bytes that a pipe with space takes without waiting (PIPE_BUF)."""


class Tied:
    """A running command. It ends when this object is no longer referenced and, as a context manager, at the end of the
    block."""

    def __init__(self, lifeline: socket.socket, pid: int, streams: Mapping[str, IO[bytes]]) -> None:
        self.pid = pid
        """The pid of the command itself, which leads a session of its own."""
        self.stdin, self.stdout, self.stderr = (streams.get(name) for name in _STANDARD)
        """This side of what was asked for as a pipe."""
        self.cpu_seconds = 0.0
        """The processor time of the command and of everything that it has started, once `wait` has returned; 0 where
        its guardian was killed."""
        self._lifeline = lifeline
        self._process = os.pidfd_open(pid)
        self._code: int | None = None
        self._waiting = threading.Lock()

    def wait(self, timeout: float | None = None) -> int:
        """Returns the exit status in the form of `subprocess`, when the command and everything that it has started have
        ended. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        with self._waiting:
            if self._code is None:
                self._code = self._ended(timeout)
            return self._code

    def _ended(self, timeout: float | None) -> int:
        self._lifeline.settimeout(timeout)
        try:
            while not (said := _received(self._lifeline)).startswith(guardian.ENDED):
                pass  # It was ended before it began.
            status, used = said.removeprefix(guardian.ENDED).split()
            code, self.cpu_seconds = int(status), float(used)
        except (TimeoutError, BlockingIOError) as error:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from error
        except OSError:  # The guardian was killed. The command may still run.
            code = -signal.SIGKILL
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.Signals.SIGKILL)
                os.killpg(self.pid, signal.SIGKILL)
        os.close(self._process)
        self._lifeline.close()
        return code

    def communicate(self, given: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
        """As `subprocess.Popen.communicate`, but a stream that is no pipe has nothing."""
        deadline = None if timeout is None else time.monotonic() + timeout
        rest = memoryview(given or b"")
        found: Mapping[IO[bytes] | None, bytearray] = {self.stdout: bytearray(), self.stderr: bytearray()}
        with selectors.DefaultSelector() as selector:
            for stream in (self.stdout, self.stderr):
                if stream is not None:
                    selector.register(stream, selectors.EVENT_READ)
            if self.stdin is not None:
                selector.register(self.stdin, selectors.EVENT_WRITE)
            while selector.get_map():
                left = _left(deadline)
                if left == 0:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
                for key, _ in selector.select(left):
                    if key.fileobj is self.stdin:
                        try:
                            rest = rest[os.write(key.fd, rest[:_PIPED]) :]
                        except BrokenPipeError:  # It has not read all of its input.
                            rest = rest[:0]
                        ended = not rest
                    else:
                        data = os.read(key.fd, 1 << 16)
                        found[key.fileobj] += data  # type: ignore[index]
                        ended = not data
                    if ended:
                        selector.unregister(key.fileobj)
                        key.fileobj.close()  # type: ignore[union-attr]
        self.wait(_left(deadline))
        return bytes(found[self.stdout]), bytes(found[self.stderr])

    def kill(self) -> None:
        """Ends the command and everything that it has started, without waiting for it. Any thread may call it."""
        with contextlib.suppress(OSError):  # It has ended.
            self._lifeline.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Tied:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.wait()
        for stream in (self.stdin, self.stdout, self.stderr):
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
    before SIGKILL, when this process has ended or ends it. It has the environment, the directory and the umask of this
    process, and its limits and priority as they were when the first command started. `LD_LIBRARY_PATH` is inherited
    whatever `env` says. Raises OSError where it cannot be started.
    """
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        lifeline, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.callback(lifeline.close)
        theirs.callback(end.close)
        streams: dict[str, IO[bytes]] = {}
        numbers = [
            _stream(number, asked, streams, ours, theirs) for number, asked in enumerate((stdin, stdout, stderr))
        ]
        directory = _opened(theirs, cwd or ".", os.O_PATH | os.O_DIRECTORY)
        document = os.memfd_create("command")
        theirs.callback(os.close, document)
        with open(document, "wb", closefd=False) as file:
            marshal.dump(_document(command, env, pass_fds, first), file)
        _guardians.ask([document, end.fileno(), directory, *numbers, *pass_fds])
        theirs.close()
        tied = Tied(lifeline, int(_received(lifeline)), streams)
        ours.pop_all()
    with contextlib.ExitStack() as stack:
        stack.push(tied)
        prepare(tied.pid)
        lifeline.send(b"begin")
        if error := int(_received(lifeline)):
            raise OSError(error, os.strerror(error), str(command[0]))
        stack.pop_all()
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


class _Guardians:
    """The process that guardians are forked from. It is started when the first command is, and again where it has
    ended. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, descriptors: Sequence[int]) -> None:
        """Hands a command over."""
        with self._lock:
            if self._control is not None:
                with contextlib.suppress(ConnectionError):  # It was killed.
                    socket.send_fds(self._control, [b"."], descriptors)
                    return
                self.end()
            self._control = self._started()
            socket.send_fds(self._control, [b"."], descriptors)

    def _started(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # It is as isolated as a command may have to be: no variable, directory or package influences it.
            environment = {name: os.environ[name] for name in (_OF_THE_LOADER,) if name in os.environ}
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", _GUARDIAN, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=environment,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        return ours

    def end(self) -> None:
        """Ends it. The guardians and their commands go on."""
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait()
            self._control = self._process = None

    def forget(self) -> None:
        """Leaves it to the process that this one was forked from."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.returncode = 0  # It is no child of this one.
        self.__init__()  # type: ignore[misc]


_guardians = _Guardians()
atexit.register(_guardians.end)
os.register_at_fork(after_in_child=_guardians.forget)


def _document(
    command: Sequence[str | Path], env: Mapping[str, str] | None, inherited: Sequence[int], first: signal.Signals
) -> tuple[list[bytes], dict[bytes, bytes], int, int, list[int]]:
    """Returns what the guardian is told."""
    environment = dict(os.environ if env is None else env)
    if _OF_THE_LOADER in os.environ:
        environment.setdefault(_OF_THE_LOADER, os.environ[_OF_THE_LOADER])
    return (
        [os.fsencode(word) for word in command],
        {os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
        int(first),
        _umask(),
        list(inherited),
    )


def _umask() -> int:
    """Returns the umask. `os.umask` would change that of all threads."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    raise OSError(errno.ENOSYS, "the kernel does not tell the umask")


def _stream(
    number: int, asked: _Stream, streams: dict[str, IO[bytes]], ours: contextlib.ExitStack, theirs: contextlib.ExitStack
) -> int:
    """Returns the descriptor that is the command's standard stream of this number. Adds this side of a pipe to
    `streams`."""
    if asked is None:
        return number
    if asked == subprocess.DEVNULL:
        return _opened(theirs, os.devnull, os.O_RDWR)
    if asked != subprocess.PIPE:
        return asked if isinstance(asked, int) else asked.fileno()
    read, write = os.pipe()
    here, there, mode = (write, read, "wb") if number == 0 else (read, write, "rb")
    theirs.callback(os.close, there)
    streams[_STANDARD[number]] = ours.enter_context(os.fdopen(here, mode, buffering=0 if number == 0 else -1))
    return there


def _opened(stack: contextlib.ExitStack, path: str | Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _received(lifeline: socket.socket) -> bytes:
    if not (said := lifeline.recv(64)):
        raise OSError(errno.ECHILD, "its guardian has ended")
    return said
