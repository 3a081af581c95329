"""What a confined model may read: its own files, its environment, and the parts of the system that Python needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from serinus.targets.local.host import launch

_SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl",
    "/dev/null",
    "/dev/urandom",
    "/proc/self",
    "/proc/cpuinfo",  # BLAS chooses its kernels by it
    "/proc/meminfo",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",  # thread pools ask how many processors they may use
)


def readable(home: Path, python: Path, *own: Path) -> Sequence[str]:
    """Absolute paths that exist. `python` is the interpreter of the model's environment, `own` what else it needs.

    Nothing but the environment, `own` and what lies in them is readable inside `home`, wherever the home lies.
    """
    wanted = [*own, _environment(python), *_interpreter(launch.base(python)), *map(Path, _SYSTEM)]
    hidden = home.resolve()
    return sorted({str(part) for tree in wanted if tree.exists() for part in _without(hidden, tree)})


def _environment(python: Path) -> Path:
    """The directory of the virtual environment, or the interpreter alone where it is in none."""
    root = launch.root(python)
    return root if (root / "pyvenv.cfg").exists() else python


def _interpreter(base: Path) -> Iterator[Path]:
    """Where the interpreter itself and its standard library lie. Its parts, not its prefix, which may be `/`."""
    prefix = base.resolve().parent.parent
    yield from (prefix / part for part in ("bin", "lib", "lib64", "share", "ssl"))


def _without(hidden: Path, tree: Path) -> Iterator[Path]:
    """`tree`, or the largest parts of it that do not hold `hidden`.

    Links are followed for the comparison only: `/proc/self` must stay what it is until the worker opens it.
    """
    real = tree.resolve()
    if not hidden.is_relative_to(real):
        yield tree
    elif real != hidden:
        for child in sorted(tree.iterdir()):
            if not child.is_symlink():  # a rule on a link would open what it points to
                yield from _without(hidden, child)
