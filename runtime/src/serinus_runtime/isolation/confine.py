"""Confinement of this process before any of a model's code is read. It cannot be undone.

A model is foreign code that runs as the same user as the control plane. File modes alone would let it read the token
and write the store. After `confine` it can read its own files and libraries, write its own scratch directory, and use
the sockets that it was given. It can create none, cannot change modes, owners or times of files, and cannot signal,
limit, trace or read other processes (`landlock`, `permitted`, `namespaces`).

RLIMIT_NPROC is not used. It counts all threads of the user, so one model's limit would depend on all the others. Where
there are control groups, the host limits the processes of a worker by one.
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
# One thread for each worker. A second one would delay other workers and increase the p99.
_ONE_THREAD = (
    "OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "LOKY_MAX_CPU_COUNT",
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "TOKENIZERS_PARALLELISM": "false"}

# Libraries that start a thread when they are imported, so that a zygote could not fork: the telemetry of ONNX
# Runtime, and the purging threads of the jemalloc in Arrow and in libraries written in Rust.
_NO_THREADS = {
    "ORT_DISABLE_TELEMETRY": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "_RJEM_MALLOC_CONF": "background_thread:false",
}


def prepare(scratch: Path) -> None:
    """Clears the environment, and uses `scratch` as home, temporary and current directory. To be called before any
    library is imported.

    Raises StartFailure where `scratch` is a link, or not a directory of this user.
    """
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
    """Allows imports of the environment's packages, where the interpreter was started without them (`-S`).

    Their `.pth` files may contain code of the model, which must not run before the confinement. A forked worker has the
    packages already.
    """
    global _with_packages
    if sys.flags.no_site and not _with_packages:
        import site

        site.main()
    _with_packages = True


def has_packages() -> bool:
    """Whether this process was forked with the packages, before the confinement."""
    return _with_packages


_level = ""
"""How this process, or the one that forked it, is confined, in words. Empty: it is not."""


def confine(
    readable: Iterable[Path],
    scratch: Path | None,
    keep: Sequence[int] | None,
    memory: int | None = None,
    *,
    kind: str = permitted.TRIAL,
    required: bool = True,
) -> list[str]:
    """Confines this process permanently. Returns notes about what this machine cannot do.

    A second call allows what both calls allow. `keep` are the descriptors that stay open in addition to the standard
    ones. None: all, because imported libraries may use some. `memory` is the limit of private memory in bytes. `kind`
    is one of `permitted`. Raises StartFailure where there is no Landlock, unless it is not `required`.
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
    """Returns how this process is confined, in words. Empty: it is not."""
    return _level


def _give_up_rights(version: int) -> None:
    """Drops privileges once. A forked process has none either. `version` is that of Landlock."""
    global _level
    if _level:
        return
    # This must come before the process becomes non-dumpable, which hides its own files in /proc from it.
    apart = namespaces.enter()
    _process_control(_PR_SET_NO_NEW_PRIVS, 1)
    _process_control(_PR_SET_DUMPABLE, 0)
    namespaces.drop_capabilities()
    calls = "system-call allow-list" if seccomp.known() else "no system-call filter on this architecture"
    own = "user, network and IPC namespaces" if apart else "no user namespaces"
    files = f"Landlock ABI {version}" if version else "no Landlock"
    _level = f"{files}, {calls}, {own}"


def own_directories() -> tuple[Path, ...]:
    """Returns the directories of this interpreter and of this package."""
    own = Path(__file__).resolve().parent.parent
    return (Path(sys.prefix), Path(sys.base_prefix), own, accelerators.directory())


def _limit(memory: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, _LARGEST_FILE)
    if memory is not None:
        # RLIMIT_AS is not used, because libraries reserve gigabytes of address space that they never touch.
        _lower(resource.RLIMIT_DATA, memory)


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (bound, bound))


def _close_others(keep: Sequence[int]) -> None:
    for entry in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(entry.name)
        if descriptor > 2 and descriptor not in keep:
            with contextlib.suppress(OSError):  # The descriptor of the listing itself, which is closed by now.
                os.close(descriptor)


def _process_control(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
