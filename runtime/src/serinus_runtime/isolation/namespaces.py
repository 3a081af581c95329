"""Namespaces and capabilities: a network without interfaces, a separate IPC namespace, and no privileges.

They are a second barrier behind the filter of system calls, and a process that root has started loses root's
privileges. User namespaces allow that for ordinary users, where the kernel and its administrator permit it.
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

    Returns False, without a change, where that is not permitted or the process has more than one thread.
    """
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK | _NEW_IPC) != 0:
        return False
    own = Path("/proc/self")
    # Where one of them cannot be written, the kernel shows the number of "nobody", and compares as before.
    for file, line in (("uid_map", f"{user} {user} 1"), ("setgroups", "deny"), ("gid_map", f"{group} {group} 1")):
        with contextlib.suppress(OSError):
            (own / file).write_text(line, encoding="ascii")
    return True


def drop_capabilities() -> None:
    """Drops all capabilities, including those of a new user namespace. With PR_SET_NO_NEW_PRIVS none can return.

    Raises OSError.
    """
    header, none = _Header(_CAPABILITIES_VERSION, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.byref(header), ctypes.byref(none)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
