"""Runs a command, and fails if processes that it has started are left when it has ended:

    python scripts/nothing_left.py SECONDS COMMAND ...

What is left after SECONDS is named on standard error, and killed. Otherwise the exit status is that of the command.
Nothing escapes, because this process is the subreaper (prctl(2)) of everything that the command starts, in whatever
session.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_PAUSE = 0.05


def main(seconds: float, command: Sequence[str]) -> int:
    """Returns the exit status."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The terminal sends it to the command as well, which decides.
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execvp(command[0], command)  # noqa: S606
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(child, number))
    code = _ended(child)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    left = _left(time.monotonic() + seconds)
    if not left:
        return code
    print("These processes were started and not ended:", *left, sep="\n", file=sys.stderr)
    while pids := _children():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap()
        time.sleep(_PAUSE)
    return code or 1


def _ended(child: int) -> int:
    """Waits for the command, and reaps everything that ends before. Returns the exit status as of a shell."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _left(deadline: float) -> Sequence[str]:
    """Returns descriptions of the processes that are still there at `deadline`. Empty: none is."""
    while (pids := _children()) and time.monotonic() < deadline:
        _reap()
        time.sleep(_PAUSE)
    return [_description(pid) for pid in pids]


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _children() -> Sequence[int]:
    """Nobody else waits for them, so their numbers are not used again."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def _description(pid: int) -> str:
    process = Path(f"/proc/{pid}")
    command = (process / "cmdline").read_text(errors="replace").rstrip("\0").replace("\0", " ")
    places = []
    for name in ("cwd", "fd/1", "fd/2"):
        with contextlib.suppress(OSError):  # It belongs to another user, or hides from others.
            places.append(f"{name} {(process / name).readlink()}")
    return f"  {pid}: {command} ({', '.join(places)})"


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
