"""The control group below which the kubelet keeps those of pods."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from clusterlab import LabError
from clusterlab.place import CGROUP

_ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "cpuset", "hugetlb", "memory", "pids")
"""What the kubelet looks for."""
_SECONDS = 20.0


def make() -> None:
    """Makes it in each hierarchy. Raises LabError."""
    try:
        for hierarchy in _hierarchies():
            group = hierarchy / CGROUP
            controllers = hierarchy / "cgroup.controllers"
            if controllers.exists():  # version 2, where a group has the controllers that the one above it hands down
                there = [name for name in _CONTROLLERS if name in controllers.read_text().split()]
                (hierarchy / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in there))
            group.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):  # of version 1, where an empty set holds no process
                if (group / name).exists() and not controllers.exists():
                    (group / name).write_text((hierarchy / name).read_text())
    except OSError as error:
        raise LabError(
            f"The control group {CGROUP} cannot be made: {error}. The lab needs writable control groups."
        ) from error


def remove() -> None:
    """Removes it with all below it, once the kernel has ended what ran there. Raises LabError."""
    deadline = time.monotonic() + _SECONDS
    for hierarchy in _hierarchies():
        top = hierarchy / CGROUP
        while top.is_dir():
            try:
                for directory, _, _ in os.walk(top, topdown=False):
                    Path(directory).rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise LabError(f"The control group {top} is still in use: {error.strerror}.") from error
                time.sleep(0.05)


def _hierarchies() -> Iterator[Path]:
    """The one of version 2, or each of version 1; several names of one are one."""
    if (_ROOT / "cgroup.controllers").exists():
        yield _ROOT
        return
    seen = set()
    for path in sorted(_ROOT.iterdir()):
        if path.is_dir() and (path / "cgroup.procs").exists() and (path.stat().st_dev not in seen):
            seen.add(path.stat().st_dev)
            yield path
