"""A filter of system calls. Calls that are not permitted (`permitted`) fail with an error and end nothing.

It is classic BPF over `struct seccomp_data` (number, architecture, instruction pointer, six arguments), with a binary
search for the number. Linux 5.11 and newer evaluate it once for every number when it is installed, and not again for
calls that are permitted whatever their arguments. Constants are those of
`include/uapi/linux/{seccomp,bpf_common,audit}.h`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from functools import lru_cache
from typing import Mapping, Tuple

from serinus_runtime.isolation import permitted
from serinus_runtime.isolation.permitted import Conditions
from serinus_runtime.isolation.syscalls import MACHINES, NEWEST, number

_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_LOAD, _AND, _RETURN, _JUMP = 0x20, 0x54, 0x06, 0x05
_EQUAL, _AT_LEAST = 0x15, 0x35
_NUMBER, _ARCH, _FIRST_ARGUMENT, _ARGUMENT = 0, 4, 16, 8
_FARTHEST = 255
"""The number of instructions that a conditional jump can skip."""

_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2

Row = Tuple[int, int, int, int]
"""Code, jump if true, jump if false, value. Jumps count from the next instruction."""

_installed: set[str] = set()
"""The kinds whose filter this process has, by its own call or inherited from the process that forked it."""


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def known(machine: str | None = None) -> bool:
    """Whether there is a filter for this architecture."""
    return (machine or platform.machine()) in MACHINES


def restrict(kind: str, landlock: int) -> bool:
    """Filters this thread, and everything that it starts from then on, as a process of that kind (`permitted.WORKER`,
    ...).

    Returns False where the architecture is unknown. Needs PR_SET_NO_NEW_PRIVS. Does nothing where the filter of this
    kind is installed already. With two filters, both must permit a call. `landlock` is the kernel's ABI. Raises
    OSError.
    """
    if not known():
        return False
    if kind in _installed:
        return True
    filtering = _made(kind, landlock, _own(landlock))
    if kind == permitted.ZYGOTE:  # For all processes that it will fork.
        _made(permitted.WORKER, landlock, _own(landlock))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(filtering), 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    _installed.add(kind)
    return True


def _own(landlock: int) -> int:
    """Returns the process's number, where a filter depends on it."""
    return os.getpid() if landlock < 6 else 0


@lru_cache(maxsize=None)
def _made(kind: str, landlock: int, own: int) -> _Program:
    rows = program(permitted.calls(kind, landlock, own), permitted.refused_with(kind), platform.machine())
    return _Program(len(rows), (_Instruction * len(rows))(*(_Instruction(*row) for row in rows)))


def program(calls: Mapping[str, Conditions], refused_with: Mapping[str, int], machine: str) -> list[Row]:
    """Returns the instructions of a filter that permits `calls` and refuses all others.

    They fail with EPERM, with the error in `refused_with`, or with ENOSYS where they are newer than the table.
    """
    outcomes: dict[int, list[Row]] = {}
    for name, code in refused_with.items():
        _set(outcomes, name, machine, [_error(code)])
    for name, conditions in calls.items():
        _set(outcomes, name, machine, _checked(conditions))
    return [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, _ARCHITECTURE[machine]),
        _error(errno.EPERM),  # 32-bit calls have other numbers.
        (_LOAD, 0, 0, _NUMBER),
        *_search(_ranges(outcomes)),
    ]


def _set(outcomes: dict[int, list[Row]], name: str, machine: str, rows: list[Row]) -> None:
    found = number(name, machine)
    if found is not None:
        outcomes[found] = rows


def _error(code: int) -> Row:
    return (_RETURN, 0, 0, _ERROR | code)


def _checked(conditions: Conditions) -> list[Row]:
    """Permits the call where all conditions hold."""
    rows: list[Row] = []
    for where in conditions:
        rows.append((_LOAD, 0, 0, _FIRST_ARGUMENT + _ARGUMENT * where.argument))
        if where.mask != 0xFFFFFFFF:
            rows.append((_AND, 0, 0, where.mask))
        # Skips the other values and the refusal.
        rows += [(_EQUAL, len(where.values) - place, 0, value) for place, value in enumerate(where.values)]
        rows.append(_error(errno.EPERM))
    return [*rows, (_RETURN, 0, 0, _ALLOW)]


def _ranges(outcomes: Mapping[int, list[Row]]) -> list[tuple[int, list[Row]]]:
    """Returns (first number, instructions from there on) in order. The numbers of other ways to call the kernel (x32)
    are far above, and are covered too."""
    refused = [_error(errno.EPERM)]
    ranges: list[tuple[int, list[Row]]] = []
    for place in range(NEWEST + 2):
        done = [_error(errno.ENOSYS)] if place > NEWEST else outcomes.get(place, refused)
        if not ranges or ranges[-1][1] != done:
            ranges.append((place, done))
    return ranges


def _search(ranges: list[tuple[int, list[Row]]]) -> list[Row]:
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    below, above = _search(ranges[:middle]), _search(ranges[middle:])
    first = ranges[middle][0]
    if len(below) <= _FARTHEST:
        return [(_AT_LEAST, len(below), 0, first), *below, *above]
    return [(_AT_LEAST, 0, 1, first), (_JUMP, 0, 0, len(below)), *below, *above]
