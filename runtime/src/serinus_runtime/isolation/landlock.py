"""Landlock by its three system calls. Names and numbers are those of `include/uapi/linux/landlock.h`.

Its scope grows with the kernel's ABI, and `restrict` uses everything that the running kernel supports: 1 files, 2 links
across directories, 3 truncation, 4 TCP, 5 ioctls of devices, 6 signals and abstract Unix sockets. In every ABI, a
process in a domain can only trace, or read the memory of, processes of the same domain. ABI 7 only adds settings for
the kernel's audit log. Landlock does not cover sockets other than TCP and abstract ones, or changes of a file without
opening it, such as its mode (see `permitted`). Names, sizes and times of files, and the targets of links, can be read
everywhere.
"""

from __future__ import annotations

import ctypes
import os
import stat
from pathlib import Path
from typing import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEVICE = 1 << 14, 1 << 15
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP = 0b11
_SIGNALS_AND_ABSTRACT_SOCKETS = 0b11

READ = _EXECUTE | _READ_FILE | _READ_DIR
DEVICE = _READ_FILE | _WRITE_FILE
WRITE = ((1 << 15) - 1) & ~_EXECUTE
"""Rights to read, create, change and remove files below a directory, without the right to execute them."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # This is the meaning of `_pack_`. Python 3.14 requires it explicitly.
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def abi() -> int:
    """Returns the kernel's Landlock ABI. 0: it has none, or it is disabled."""
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    except OSError:
        return 0


def restrict(allowed: Iterable[tuple[Path | int, int]]) -> None:
    """Confines this thread, and everything that it starts from then on, to `allowed`: rights below paths or
    descriptors.

    Paths that do not exist are ignored. TCP, signals to other processes and abstract Unix sockets are denied as far as
    the kernel can. Needs PR_SET_NO_NEW_PRIVS. Raises OSError.
    """
    version = abi()
    handled = _FILE_RIGHTS[max(known for known in _FILE_RIGHTS if known <= max(version, 1))]
    attributes = _Ruleset(handled, _TCP if version >= 4 else 0, _SIGNALS_AND_ABSTRACT_SOCKETS if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path, rights in allowed:
            _allow(ruleset, path, rights & handled)
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path | int, rights: int) -> None:
    try:
        parent = os.dup(path) if isinstance(path, int) else os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        rule = _PathBeneath(rights if stat.S_ISDIR(os.fstat(parent).st_mode) else rights & _OF_A_FILE, parent)
        _call(
            _ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_RULE_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0)
        )
    finally:
        os.close(parent)
