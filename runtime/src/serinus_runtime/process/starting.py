"""How a process with a model's code in it is started: with a directory of its own, under limits, and with none of the
variables of the process that starts it."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from pathlib import Path
from typing import IO, Any, Iterator, Mapping, Sequence

from serinus_runtime.isolation import written

_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
)

_PASSED_ON = ("TZ", "OPENBLAS_CORETYPE")
"""Old builds of OpenBLAS crash on processors that are newer than they, unless told which one to take it for."""
_ON_THEIR_WAY = 300
"""Descriptors by which one message may exceed the limit (SCM_MAX_FD is 253), and some of our own."""


def start(
    command: Sequence[str],
    python: Path,
    scratch: Path,
    output: IO[bytes] | int,
    errors: IO[bytes] | int,
    passed: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Starts `command` with the `options` for it, as `outliving` does. Raises OSError."""
    with options(python, scratch, output, errors, passed) as chosen:
        return outliving(command, **chosen)


def outliving(command: Sequence[str], **chosen: Any) -> subprocess.Popen[bytes]:
    """Starts a process that leads a session of its own, and goes on when this one has ended. `chosen`: options of
    `subprocess.Popen`. Raises OSError."""
    # Ctrl-C in the terminal of `up` is not meant for models..
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **chosen)


@contextlib.contextmanager
def options(
    python: Path, scratch: Path, output: IO[bytes] | int, errors: IO[bytes] | int, passed: Sequence[int] = ()
) -> Iterator[Mapping[str, Any]]:
    """Options of `subprocess.Popen`, as long as the block goes on, for a process that runs `python` in the directory
    `scratch`, which is made where it is not there, and is entered by the descriptor that was looked at. It inherits the
    descriptors `passed`. Raises OSError."""
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = written.opened(scratch)
    try:
        yield {
            "stdout": output,
            "stderr": errors,
            "cwd": f"/proc/self/fd/{directory}",
            "env": environment(python, scratch),
            "pass_fds": tuple(passed),
        }
    finally:
        os.close(directory)


def environment(python: Path, scratch: Path) -> dict[str, str]:
    """Variables of a model's process: none of ours, and one thread, as many models share the processors."""
    variables = {
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "USER": "model",  # So that nothing needs to read /etc/passwd.
    }
    variables |= dict.fromkeys(_ONE_THREAD, "1")
    return variables | {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def limit(pid: int, *, memory_bytes: int | None = None, file_bytes: int | None = None) -> None:
    """Puts a process that has just been started under limits, which its children inherit.

    Never a core dump, which would hold the callers' data. `memory_bytes` counts what it allocates for itself. Fewer
    descriptors than this process may have: the kernel lets nobody pass one on while more of the same user's are on
    their way than its own limit allows to be open, so that who fills the lower limit leaves room for us.
    """
    most_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_DATA: memory_bytes,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: max(most_files - _ON_THEIR_WAY, most_files // 2),
    }
    for kind, most in limits.items():
        if most is not None:
            # It has ended already, which the caller will see, or it has lowered its own limits.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                resource.prlimit(pid, kind, (most, most))
