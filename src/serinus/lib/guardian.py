"""Runs one command, and ends it and everything that it has started as soon as the process that asked for it has ended.

python -I -S guardian.py LIFELINE SIGNAL COMMAND... started only by `serinus.lib.tied`

LIFELINE is a socket that keeps message boundaries. Only the process that asks holds its other end. The kernel reports
the end of that process, in whatever way it ended. These messages are sent:

    guardian  pid of the command, which leads a session of its own and waits
    asking    any message: the command may begin
    guardian  0, or the error number with which the command could not be started

When the process that asked has ended, the command first gets SIGNAL, and everything that is left then gets SIGKILL.
Nothing that the command starts can escape: this process is the subreaper (prctl(2)) of all its descendants, so that
those without a parent, in whatever session, become its children. It ends when there are none left, with the exit status
of the command.

The fewer modules are imported here, the sooner the command starts.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_GRACE = 2.0
"""The seconds between the first signal, if that is not SIGKILL, and SIGKILL."""
_PAUSE = 0.002
_NOT_STARTED = 127

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Runs the command, and ends when it and its descendants have ended."""
    lifeline, first, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    os.set_inheritable(lifeline, False)
    _process_control(_PR_SET_CHILD_SUBREAPER, 1)
    wakened, wakes = os.pipe()
    for end in (wakened, wakes):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    failed, failing = os.pipe()
    child = os.fork()
    if child == 0:
        _begin(command, lifeline, failing)
    _let_go_of_all_but(lifeline, wakened, wakes, failed)
    error = os.read(failed, 16)
    with contextlib.suppress(OSError):  # The process that asked has ended.
        os.write(lifeline, error or b"0")
    if not _ends_first(child, lifeline, wakened) and first != signal.SIGKILL:
        _ask_to_end(child, first)
    _end_as(_end(child))


def _begin(command: Sequence[str], lifeline: int, failing: int) -> None:
    """Becomes the command, once the process that asks has sent its message."""
    try:
        signal.set_wakeup_fd(-1)
        os.setsid()
        # This is for the case that only the guardian is killed. A process can undo it and its children do not inherit
        # it, so nothing else relies on it.
        _process_control(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.write(lifeline, b"%d" % os.getpid())
        if not os.read(lifeline, 16):
            os._exit(_NOT_STARTED)  # The process that asked has ended.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them.
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(command[0], tuple(command), _environment())  # noqa: S606
    except OSError as error:
        os.write(failing, b"%d" % (error.errno or 0))
    finally:
        os._exit(_NOT_STARTED)


def _environment() -> Mapping[bytes, bytes]:
    """The environment with which this process was started, since Python may have added the variables of a locale."""
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123  pathlib takes longer to import than all of this
        lines = file.read().split(b"\0")
    return {name: value for name, found, value in (line.partition(b"=") for line in lines) if found}


def _let_go_of_all_but(*kept: int) -> None:
    """Closes what only the command should hold: a process that reads from the command then learns of its end, and no
    directory is held."""
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard, inheritable=False)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) > 2 and int(name) not in kept:
            with contextlib.suppress(OSError):  # This was the descriptor of the listing, which is closed by now.
                os.close(int(name))


def _ends_first(child: int, lifeline: int, wakened: int) -> bool:
    """Waits until the command has ended. False if the process that asked has ended before."""
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    poll.register(wakened, select.POLLIN)
    while True:
        if _has_ended(child):
            return True
        if any(descriptor == lifeline for descriptor, _ in poll.poll()):
            return False
        with contextlib.suppress(BlockingIOError):
            os.read(wakened, 4096)


def _has_ended(child: int) -> bool:
    """Does not wait. Other children that have ended are forgotten; the number of the command is not reused."""
    while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if ended.si_pid == child:
            break
        os.waitpid(ended.si_pid, 0)
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _ask_to_end(child: int, number: int) -> None:
    _signal_group(child, number)
    deadline = time.monotonic() + _GRACE
    while not _has_ended(child) and time.monotonic() < deadline:
        time.sleep(_PAUSE)


def _end(child: int) -> int:
    """Ends the command and everything that it has started. Returns its exit status in the form of
    `os.waitstatus_to_exitcode`."""
    code = 0
    while children := _children():
        # The whole group is signalled at once, since what a process forks in the meantime is in its group, too.
        for pid in children:
            _signal_group(pid, signal.SIGKILL)
        reaped = False
        for pid in children:
            ended, status = os.waitpid(pid, os.WNOHANG)
            reaped = reaped or ended != 0
            if ended == child:
                code = os.waitstatus_to_exitcode(status)
        if not reaped:
            time.sleep(_PAUSE)
    return code


def _children() -> Sequence[int]:
    """No other process waits for them, so their numbers are not reused."""
    with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:  # noqa: PTH123
        return [int(pid) for pid in file.read().split()]


def _signal_group(pid: int, number: int) -> None:
    """Signals the group of a child, unless that is our own group, as it is until the child leads a session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        group = os.getpgid(pid)
        if group != os.getpgrp():
            os.killpg(group, number)
        os.kill(pid, number)


def _end_as(code: int) -> None:
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # SIGKILL has no handler.
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(max(code, 0))


def _process_control(option: int, value: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


if __name__ == "__main__":
    main()
