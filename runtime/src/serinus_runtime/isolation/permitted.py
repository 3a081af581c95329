"""The system calls that a process with a model's code may use. All others are refused.

The list is determined by calls that no rule of Landlock covers. Modes, owners, times and attributes of files are
changed by path, or by a descriptor that is open for reading, and limits, priorities and scheduling of processes by
their number. A filter sees numbers and not paths, so these calls are refused everywhere, including the scratch
directory.
"""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple, Tuple

from serinus_runtime.isolation.syscalls import SPECIAL, USED

WORKER, TRIAL, ZYGOTE, BUILD = "worker", "trial", "zygote", "build"
"""Kinds of processes. A trial or a build cannot leave its process group, by which everything that it has started is
ended. A zygote may use what its forked workers need before they confine themselves further. In a build, calls that
change modes, owners and times succeed without an effect, because linkers and installers fail without them."""


class Where(NamedTuple):
    """The call is permitted where the lower 32 bits of this argument, under `mask`, are one of `values`."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


Conditions = Tuple[Where, ...]
"""All of them must hold. None: always permitted."""

_NEW_NAMESPACES = 0x7E020000
_CLONE_PARENT = 0x8000  # The child would be the host's.
_STREAM, _SEQPACKET, _KIND_OF_SOCKET = 1, 5, 0xF
_O_TRUNC, _O_ACCMODE = 0o1000, 0o3
_PR_SET_SECCOMP = 22

# For its own process: names, the signal at its parent's end, timer slack, huge pages, vector lengths. PR_SET_NAME,
# PR_SET_VMA (names of memory) and PR_SET_NO_NEW_PRIVS (set already) are the only others that change something.
_PRCTL = (1, 2, 3, 15, 16, 21, 23, 29, 30, 38, 39, 41, 42, 51, 52, 56, 64, 0x53564D41)
# Duplicates, flags, locks, sizes of pipes and seals. Not F_SETOWN and F_SETSIG, which signal another process, nor
# leases
# and F_NOTIFY, which work on files that are open for reading.
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 9, 36, 37, 38, 1027, 1030, 1031, 1032, 1033, 1034)
# TCGETS, TCGETS2, TIOCGPGRP, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, FIOASYNC, FICLONE, FICLONERANGE. Many
# others change a file, or a file system, by a descriptor that is open for reading.
_IOCTL = (
    0x5401, 0x802C542A, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x5452, 0x40049409, 0x4020940D,
)  # fmt: skip
_SAME_PROCESS = (Where(0, (0,)),)

_LIMITED: dict[str, Conditions] = {
    "clone": (Where(0, (0,), _NEW_NAMESPACES | _CLONE_PARENT),),
    "fcntl": (Where(1, _FCNTL),),
    "ioctl": (Where(1, _IOCTL),),
    "personality": (Where(0, (0xFFFFFFFF,)),),  # Reading only.
    "prctl": (Where(0, _PRCTL),),
    "prlimit64": _SAME_PROCESS,
    "sched_setaffinity": _SAME_PROCESS,
    # Datagram sockets are refused, because `sendto` reaches every other socket with a path.
    "socketpair": (Where(0, (socket.AF_UNIX,)), Where(1, (_STREAM, _SEQPACKET), _KIND_OF_SOCKET)),
}

_SUCCEEDS = 0
_PASSED_OVER = ("chmod", "fchmod", "chown", "fchown", "lchown", "fchmodat", "fchmodat2", "fchownat",
                "utime", "utimes", "futimesat", "utimensat")  # fmt: skip

_REFUSED_WITH = {
    # Callers fall back to older calls, whose arguments a filter can see.
    **dict.fromkeys(("clone3", "openat2", "execveat"), errno.ENOSYS),
    # As on a file system without attributes.
    **dict.fromkeys((name for name in SPECIAL if "xattr" in name), errno.EOPNOTSUPP),
}


def calls(kind: str, landlock: int, own: int = 0) -> dict[str, Conditions]:
    """Returns what a process of that kind may use.

    `landlock` is the kernel's ABI. More calls are refused where it covers less. `own` is the process's number, which
    alone it may signal. 0: it may signal none.
    """
    found: dict[str, Conditions] = {**dict.fromkeys(USED, ()), **_LIMITED}
    if kind in (WORKER, ZYGOTE):
        found.update(setsid=(), setpgid=())
    if kind == ZYGOTE:
        found.update(dict.fromkeys((name for name in SPECIAL if name.startswith("landlock_")), ()))
        found["prctl"] = (Where(0, (*_PRCTL, _PR_SET_SECCOMP)),)
    if landlock < 3:
        found.update(_without_truncation())
    if landlock < 6:
        # A zygote does not know the numbers of the processes that it will fork, so none of them may send signals.
        own_alone = (Where(0, (own,) if own and kind != ZYGOTE else ()),)
        found.update(dict.fromkeys(("kill", "tkill", "tgkill"), own_alone))
    return found


def refused_with(kind: str) -> dict[str, int]:
    """Returns the calls that are refused with another error than EPERM. 0: the call succeeds without an effect."""
    return {**_REFUSED_WITH, **(dict.fromkeys(_PASSED_OVER, _SUCCEEDS) if kind == BUILD else {})}


def _without_truncation() -> dict[str, Conditions]:
    """Refuses `open` with truncation of a file for reading, which this version of Landlock does not check."""
    flags = _O_TRUNC | _O_ACCMODE
    values = tuple(way | more for way in range(4) for more in (0, _O_TRUNC) if way | more != _O_TRUNC)
    never = (Where(0, ()),)
    return {"truncate": never, "open": (Where(1, values, flags),), "openat": (Where(2, values, flags),)}
