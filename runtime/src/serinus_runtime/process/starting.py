"""The start of a process with a model's code: in a directory of its own, under limits, and with none of the variables
of the process that starts it."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from pathlib import Path
from typing import IO, Any, Callable, Iterator, Mapping, Sequence

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
"""Old builds of OpenBLAS crash on newer processors, unless a variable names a processor."""
_ON_THEIR_WAY = 300
"""The number of descriptors by which one message may exceed the limit (SCM_MAX_FD is 253), and some of the host's
own."""


def start(
    command: Sequence[str],
    python: Path,
    scratch: Path,
    output: IO[bytes] | int,
    errors: IO[bytes] | int,
    passed: Sequence[int] = (),
    variables: Sequence[str] = (),
    before: Callable[[], None] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a process with `options`, as `outliving` does. Raises OSError.

    It also has those of this process's environment variables that are in `variables`. `before` is called in the new
    process before the command. Only a process without other threads may give it (see `preexec_fn` of `subprocess`).
    """
    with options(python, scratch, output, errors, passed) as chosen:
        more = {name: os.environ[name] for name in variables if name in os.environ}
        return outliving(command, preexec_fn=before, **{**chosen, "env": {**chosen["env"], **more}})


def outliving(command: Sequence[str], **chosen: Any) -> subprocess.Popen[bytes]:
    """Starts a process that leads a session of its own, and continues when this process has ended. Raises OSError.

    `chosen` are options of `subprocess.Popen`.
    """
    # Ctrl-C in the terminal of `up` is not meant for models.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **chosen)


@contextlib.contextmanager
def options(
    python: Path, scratch: Path, output: IO[bytes] | int, errors: IO[bytes] | int, passed: Sequence[int] = ()
) -> Iterator[Mapping[str, Any]]:
    """Yields options of `subprocess.Popen` for a process that runs `python` in the directory `scratch`.

    The directory is created where it does not exist, and entered by the descriptor that was checked. The process
    inherits the descriptors `passed`. The options are valid within the block. Raises OSError.
    """
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
    """Returns the variables of a model's process. It has one thread, because many models share the processors."""
    return {
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "USER": "model",  # So that nothing needs to read /etc/passwd.
        **dict.fromkeys(_ONE_THREAD, "1"),
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
    }


def limit(pid: int, *, memory_bytes: int | None = None, file_bytes: int | None = None) -> None:
    """Sets limits of a process that was just started, or of this one (`pid` is 0). Its children inherit them.

    Core dumps are disabled, because they would contain callers' data. `memory_bytes` limits the memory that it
    allocates. It may have fewer descriptors than this process, because the kernel refuses to pass descriptors while
    more of the same user's are in transit than the limit of the sender allows. A process that reaches the lower limit
    leaves room for this one.
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
