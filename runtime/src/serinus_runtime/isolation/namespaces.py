"""Namespaces and capabilities of this process: a network without any interface, IPC of its own, and no rights.

What the filter of system calls refuses has no way in here either, and a process that root has started is no longer
root's. User namespaces let an ordinary user do that, where the kernel and its administrator allow it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

_NEW_USER, _NEW_NETWORK, _NEW_IPC = 0x10000000, 0x40000000, 0x08000000
_CAPABILITIES_VERSION = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))


def enter() -> bool:
    """Enters new user, network and IPC namespaces, in which users and groups keep their numbers.

    False, and nothing is changed, where that is not allowed, or this process has more than one thread.
    """
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK | _NEW_IPC) != 0:
        return False
    own = Path("/proc/self")
    # Where one of them is not to be written, the kernel shows the number of "nobody", and compares as before.
    for file, line in (("uid_map", f"{user} {user} 1"), ("setgroups", "deny"), ("gid_map", f"{group} {group} 1")):
        with contextlib.suppress(OSError):
            (own / file).write_text(line, encoding="ascii")
    return True


def drop_capabilities() -> None:
    """All of them, also those that come with a new user namespace. With PR_SET_NO_NEW_PRIVS none can come back.
    Raises OSError."""
    header, none = _Header(_CAPABILITIES_VERSION, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.byref(header), ctypes.byref(none)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
