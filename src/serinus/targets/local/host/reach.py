"""The files that a confined model may read: its own, its environment, and the parts of the system that Python needs."""

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
    "/proc/cpuinfo",  # BLAS selects its kernels by it.
    "/proc/meminfo",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",  # Thread pools read the number of processors there.
)


def readable(home: Path, python: Path, *own: Path) -> Sequence[str]:
    """Returns absolute paths that exist. `python` is the interpreter of the model's environment, `own` further paths.

    Within `home`, only the environment and `own` are readable, wherever the home lies.
    """
    wanted = [*own, _environment(python), *_interpreter(launch.base(python)), *map(Path, _SYSTEM)]
    hidden = home.resolve()
    return sorted({str(part) for tree in wanted if tree.exists() for part in _without(hidden, tree)})


def _environment(python: Path) -> Path:
    """Returns the directory of the virtual environment, or the interpreter where there is none."""
    root = launch.root(python)
    return root if (root / "pyvenv.cfg").exists() else python


def _interpreter(base: Path) -> Iterator[Path]:
    """Yields the interpreter and its standard library, by their parts and not by the prefix, which may be `/`."""
    prefix = base.resolve().parent.parent
    yield from (prefix / part for part in ("bin", "lib", "lib64", "share", "ssl"))


def _without(hidden: Path, tree: Path) -> Iterator[Path]:
    """Yields `tree`, or its largest parts that do not contain `hidden`.

    Links are followed for the comparison only. `/proc/self` must not be resolved until the worker opens it.
    """
    real = tree.resolve()
    if not hidden.is_relative_to(real):
        yield tree
    elif real != hidden:
        for child in sorted(tree.iterdir()):
            if not child.is_symlink():  # A rule on a link would allow its target.
                yield from _without(hidden, child)
