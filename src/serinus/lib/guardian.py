"""Runs commands, each with a guardian, which ends the command and everything that it has started as soon as the process
that asked for it has ended.

python -I -S guardian.py CONTROL        started only by `serinus.lib.tied`

CONTROL is a socket that keeps message boundaries, and only the process that asks holds its other end. Each message has
descriptors: a file with the command (`_Command`), the lifeline, the directory and the three standard streams of the
command, and those that it inherits. This process forks a guardian for each, because a fork takes a fiftieth of the time
in which an interpreter starts. It ends with the process that asks, and guardians do not need it.

The lifeline is a socket like CONTROL, of one command. The kernel reports the end of the process that asked, in whatever
way it ended. These messages are sent:

    guardian  pid of the command, which leads a session of its own and waits
    asking    any message: the command may begin
    guardian  0, or the error number with which the command could not be started
    guardian  `ENDED`, the exit status of the command and the processor time of it and of everything that it has
              started, in seconds, when all of that has ended

When the process that asked has ended, or sends no more, the command first gets SIGNAL, and everything that is left then
gets SIGKILL. Nothing that the command starts can escape: its guardian is the subreaper (prctl(2)) of all its
descendants, so that those without a parent, in whatever session, become its children.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import marshal
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
import warnings  # noqa: F401  `os.execvpe` imports it, in each fork
from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_GRACE = 2.0
"""The seconds between the first signal, if that is not SIGKILL, and SIGKILL."""
_PAUSE = 0.002
_NOT_STARTED = 127
_MOST_DESCRIPTORS = 253
"""The kernel's limit for one message (SCM_MAX_FD)."""
_SIZE = struct.calcsize("i")

ENDED = b"ended "

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Forks a guardian for each command, until the process that asks has ended."""
    (number,) = sys.argv[1:]  # An earlier version of `tied` gives more, and is told of its error by the end of this.
    control = socket.socket(fileno=int(number))
    control.set_inheritable(False)
    gc.disable()  # It would copy memory in each fork.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # The kernel then forgets guardians that have ended.
    while True:
        descriptors = _received(control)
        if not descriptors:
            return
        if os.fork() == 0:
            try:
                control.close()
                _guard(descriptors)
            except BaseException:  # noqa: BLE001  told where the command's own errors go
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(_NOT_STARTED)
        for descriptor in descriptors:
            os.close(descriptor)


def _received(control: socket.socket) -> Sequence[int]:
    """Returns the descriptors of the next message, none of which the command inherits. Empty: the other end is gone.

    `socket.recv_fds` does not pass flags on in Python 3.11, and this program imports nothing but the standard library.
    """
    space = socket.CMSG_SPACE(_MOST_DESCRIPTORS * _SIZE)
    _, parts, _, _ = control.recvmsg(1, space, socket.MSG_CMSG_CLOEXEC)
    return [number for *_, data in parts for (number,) in struct.iter_unpack("i", data)]


def _guard(descriptors: Sequence[int]) -> None:
    """Runs the command, and ends when it and its descendants have ended."""
    document, lifeline, directory, *streams = descriptors
    told = os.pread(document, os.fstat(document).st_size, 0)
    arguments, environment, first, mask, inherited = marshal.loads(told)  # noqa: S302  it comes from the parent process
    os.setsid()
    os.umask(mask)
    os.fchdir(directory)
    lifeline = _hold((0, 1, 2, *inherited), streams, lifeline)
    _process_control(_PR_SET_CHILD_SUBREAPER, 1)
    wakened, wakes = os.pipe()
    for end in (wakened, wakes):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    failed, failing = os.pipe()
    child = os.fork()
    if child == 0:
        _begin(arguments, environment, lifeline, failing)
    _let_go_of_all_but(lifeline, wakened, wakes, failed)
    error = os.read(failed, 16)
    _tell(lifeline, error or b"0")
    if not _ends_first(child, lifeline, wakened) and first != signal.SIGKILL:
        _ask_to_end(child, first)
    code = _end(child)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    _tell(lifeline, ENDED + b"%d %.6f" % (code, used.ru_utime + used.ru_stime))


def _hold(numbers: Sequence[int], descriptors: Sequence[int], lifeline: int) -> int:
    """Gives descriptors the numbers that they have in the command. Returns the new number of the lifeline.

    They are moved out of the way first, since one may have the number that another one gets.
    """
    above = max(numbers) + 1
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, above) for descriptor in (lifeline, *descriptors)]
    for number, descriptor in zip(numbers, moved[1:], strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    return moved[0]


def _begin(arguments: list[bytes], environment: Mapping[bytes, bytes], lifeline: int, failing: int) -> None:
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
        os.execvpe(arguments[0], arguments, environment)  # noqa: S606
    except OSError as error:
        os.write(failing, b"%d" % (error.errno or 0))
    finally:
        os._exit(_NOT_STARTED)


def _tell(lifeline: int, message: bytes) -> None:
    with contextlib.suppress(OSError):  # The process that asked has ended.
        os.write(lifeline, message)


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


def _process_control(option: int, value: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


if __name__ == "__main__":
    main()
