"""Confinement of this process, before any of a model's code is read. Nothing of it can be taken back.

A model is code from somewhere else that runs as the same user as the control plane: file modes alone would let it
read the token and write the store. After `confine` it can read its own files and libraries, write its own scratch
directory, and use the sockets that it was given; it makes none, cannot change modes, owners or times of files, and
cannot signal, limit, trace or read other processes (`landlock`, `permitted`, `namespaces`).

RLIMIT_NPROC is left alone: it counts all threads of the user, so one model's limit would depend on all the others.
Where there are control groups, the host bounds a worker's processes by one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
from pathlib import Path
from typing import Iterable, Sequence

from serinus_runtime.base import accelerators
from serinus_runtime.base.errors import StartFailure
from serinus_runtime.isolation import copying, landlock, namespaces, permitted, seccomp, written

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_LARGEST_FILE = 1 << 30

_SYSTEM = (
    "/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd",
    "/etc/group", "/etc/mime.types", "/etc/os-release", "/sys/devices/system", "/sys/fs/cgroup", "/proc/cpuinfo",
    "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/self", "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip
_KEPT = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
# One thread a worker: a second one only makes neighbours wait, and p99 with them.
_ONE_THREAD = (
    "OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "LOKY_MAX_CPU_COUNT",
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "TOKENIZERS_PARALLELISM": "false"}
# Libraries that start a thread when they are imported, which keeps a zygote from forking: telemetry of ONNX Runtime,
# and the purging threads of the jemalloc in Arrow and in libraries written in Rust.
_NO_THREADS = {
    "ORT_DISABLE_TELEMETRY": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "_RJEM_MALLOC_CONF": "background_thread:false",
}


def prepare(scratch: Path) -> None:
    """A clean environment, with `scratch` as home, temporary and current directory. Before any library is imported.
    StartFailure where `scratch` is a link, or no directory of this user's."""
    descriptor = _opened(scratch, make=True)
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update(dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "MPLCONFIGDIR"), str(scratch)))
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    os.environ.update(_QUIET)
    os.environ.update(_NO_THREADS)
    os.environ["MLFLOW_TRACKING_URI"] = (scratch / "mlruns").as_uri()
    os.fchdir(descriptor)
    os.close(descriptor)


def _opened(scratch: Path, *, make: bool = False) -> int:
    try:
        if make:
            scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        return written.opened(scratch)
    except OSError as error:
        raise StartFailure(f"its scratch directory is not a plain directory of its own ({error.strerror})") from error


_with_packages = False


def with_packages() -> None:
    """Lets the environment's packages be imported, where the interpreter was started without them (`-S`): their `.pth`
    files may hold code, which is the model's and comes after the confinement. A forked worker has them already."""
    global _with_packages
    if sys.flags.no_site and not _with_packages:
        import site

        site.main()
    _with_packages = True


def has_packages() -> bool:
    """Whether they were let in already: before the confinement, this process was forked with them."""
    return _with_packages


_level = ""
"""By what this process is confined, in words; also of one that was forked from it. Empty: it is not."""


def confine(
    readable: Iterable[Path],
    scratch: Path | None,
    keep: Sequence[int] | None,
    memory: int | None = None,
    *,
    kind: str = permitted.TRIAL,
    required: bool = True,
) -> list[str]:
    """Confines this process for good; the notes say what this machine cannot do. Again: what is allowed now and was
    allowed before.

    `keep`: descriptors that stay open beside the standard ones; None: all, as libraries that are imported may hold
    some. `memory`: bytes of private memory. `kind`: of `permitted`. StartFailure where there is no Landlock, unless it
    is not `required`.
    """
    version = landlock.abi()
    if version < 1 and required:
        raise StartFailure("this kernel has no Landlock, so the model cannot be confined; Linux 5.13 or newer has it")
    if keep is not None:
        _close_others(keep)
    _limit(memory)
    _give_up_rights(version)
    allowed: list[tuple[Path | int, int]] = [(path, landlock.READ) for path in (*readable, *map(Path, _SYSTEM))]
    allowed.append((Path("/dev/null"), landlock.DEVICE))
    if scratch is not None:
        descriptor = _opened(scratch)
        allowed.append((descriptor, landlock.WRITE))
    notes = []
    if version < 1:
        notes.append("this kernel has no Landlock: the model can read every file that its user can read")
    else:
        landlock.restrict(allowed)
    if scratch is not None:
        os.close(descriptor)
    copying.without_modes()
    if not seccomp.restrict(kind, version):
        notes.append(
            "system calls are not filtered on this architecture: sockets, files' modes and other processes are open "
            "to it"
        )
    return notes


def level() -> str:
    """What this process is confined by, in words; empty where it is not confined."""
    return _level


def _give_up_rights(version: int) -> None:
    """Once: a forked process has none, either. `version`: of Landlock."""
    global _level
    if _level:
        return
    apart = namespaces.enter()  # before the process is not dumpable, as that hides its own files of /proc from it
    _process_control(_PR_SET_NO_NEW_PRIVS, 1)
    _process_control(_PR_SET_DUMPABLE, 0)
    namespaces.drop_capabilities()
    calls = "system-call allow-list" if seccomp.known() else "no system-call filter on this architecture"
    own = "user, network and IPC namespaces" if apart else "no user namespaces"
    files = f"Landlock ABI {version}" if version else "no Landlock"
    _level = f"{files}, {calls}, {own}"


def own_directories() -> tuple[Path, ...]:
    """What this interpreter and this package themselves are read from."""
    own = Path(__file__).resolve().parent.parent
    return (Path(sys.prefix), Path(sys.base_prefix), own, accelerators.directory())


def _limit(memory: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, _LARGEST_FILE)
    if memory is not None:
        # Not RLIMIT_AS: libraries reserve gigabytes of address space that they never touch.
        _lower(resource.RLIMIT_DATA, memory)


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (bound, bound))


def _close_others(keep: Sequence[int]) -> None:
    for entry in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(entry.name)
        if descriptor > 2 and descriptor not in keep:
            with contextlib.suppress(OSError):  # the listing's own, closed by now
                os.close(descriptor)


def _process_control(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
