"""Starts Envoy so that it outlives its parent. It is run as a script and imports nothing else.

An Envoy that can hand over its listening sockets asks the kernel to end it when its parent ends (PR_SET_PDEATHSIG of
prctl(2)). That cannot be switched off, and the end of the supervisor must not affect callers. So a filter of system
calls has this one request succeed without an effect. All other system calls are allowed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Sequence

MACHINES = {"x86_64": (0xC000003E, 317, 157), "aarch64": (0xC00000B7, 277, 167)}
"""The architecture as the filter sees it, and the numbers of seccomp(2) and prctl(2)."""
PLAIN = "--disable-hot-restart"
FIRST = "--restart-epoch"
"""The first of the options that only an Envoy with hot restart has. They come last."""

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _SUCCEED = 0x7FFF0000, 0x00050000
_SET_MODE_FILTER, _WITHOUT_MITIGATIONS = 1, 4
"""The operation and its flag SECCOMP_FILTER_FLAG_SPEC_ALLOW. Without it, kernels before 5.16 slow down filtered
processes."""
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def ignore_the_end_of_the_parent() -> None:
    """Installs the filter for this process and the programs that it executes.

    Raises OSError, and KeyError on an unknown architecture.
    """
    architecture, seccomp, prctl = MACHINES[platform.machine()]
    rows = (
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, 5, architecture),
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, 0, 3, prctl),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 0, 1, _PR_SET_PDEATHSIG),
        (_RETURN, 0, 0, _SUCCEED),
        (_RETURN, 0, 0, _ALLOW),
    )
    program = _Program(len(rows), (_Instruction * len(rows))(*(_Instruction(*row) for row in rows)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    if libc.syscall(seccomp, _SET_MODE_FILTER, _WITHOUT_MITIGATIONS, ctypes.byref(program)) != 0:
        raise OSError(ctypes.get_errno(), "seccomp(SECCOMP_SET_MODE_FILTER)")


def plain(command: Sequence[str]) -> list[str]:
    """Returns the command without hot restart."""
    return [*command[: command.index(FIRST)], PLAIN] if FIRST in command else list(command)


def main(command: Sequence[str]) -> None:
    """Installs the filter and executes the command, without hot restart where the filter is not possible."""
    try:
        ignore_the_end_of_the_parent()
    except (OSError, KeyError) as error:
        print(f"Envoy is started without hot restart: {error}", file=sys.stderr, flush=True)
        command = plain(command)
    os.execv(command[0], list(command))  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
