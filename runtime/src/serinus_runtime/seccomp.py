"""A small system call filter for what Landlock leaves open: UDP and other sockets, and reading another's memory.

Classic BPF over `struct seccomp_data` (number, architecture, instruction pointer, six arguments). Numbers:
`include/uapi/linux/{seccomp,bpf_common,audit}.h` and the system call tables of the two architectures.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket

_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SOCKET = {"x86_64": 41, "aarch64": 198}
# ptrace, process_vm_readv, process_vm_writev, bpf, perf_event_open, userfaultfd, pidfd_getfd, io_uring_setup
_DENIED = {
    "x86_64": (101, 310, 311, 321, 298, 323, 438, 425),
    "aarch64": (117, 270, 271, 280, 241, 282, 438, 425),
}
_X32_BIT = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW = 0x7FFF0000
_DENY = 0x00050000 | errno.EPERM

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


_restricted = False
"""Whether this process has the filter, by its own call or from the one that it was forked from."""


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def _program(machine: str) -> list[tuple[int, int, int, int]]:
    """Instructions (code, jump if true, jump if false, value); jumps count from the next instruction."""
    denied = _DENIED[machine]
    program = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, _ARCHITECTURE[machine]),
        (_RETURN, 0, 0, _DENY),  # 32-bit calls, which have other numbers
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, len(denied) + 5, 0, _X32_BIT),
    ]
    program += [(_EQUAL, len(denied) - i + 4, 0, number) for i, number in enumerate(denied)]
    program += [
        (_EQUAL, 0, 3, _SOCKET[machine]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 1, 0, socket.AF_UNIX),
        (_RETURN, 0, 0, _DENY),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _DENY),
    ]
    return program


def restrict() -> bool:
    """Filters this thread and all that it starts from now on: sockets are Unix sockets, nobody is traced.

    False where the architecture is not known here. Needs PR_SET_NO_NEW_PRIVS; raises OSError. Once: every further
    filter would cost each system call again.
    """
    global _restricted
    if _restricted:
        return True
    machine = platform.machine()
    if machine not in _ARCHITECTURE:
        return False
    rows = _program(machine)
    program = _Program(len(rows), (_Instruction * len(rows))(*(_Instruction(*row) for row in rows)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(program), 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    _restricted = True
    return True
