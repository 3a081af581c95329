"""Control groups, by which the kernel limits a worker together with everything that it has started. rlimits cannot do
that.

They are only used within a group that systemd has delegated to this process (`Delegate=yes`, which marks the group with
`user.delegate`). Version 2 only allows processes in leaf groups, so other processes of the delegated group are moved to
a leaf of their own. See https://docs.kernel.org/admin-guide/cgroup-v2.html and https://systemd.io/CGROUP_DELEGATION/.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from serinus.core.release import Scale

log = logging.getLogger(__name__)

_WORKER = "serinus-worker-"
_OTHERS = "serinus-others"
_CONTROLLERS = ("cpu", "memory", "pids")
_PERIOD_US = 10_000
"""The usual 100 ms would delay a request by nearly as much."""
_MOST_PROCESSES = 512
"""The number of processes and threads of one worker. It is far more than libraries start, and limits fork bombs."""


@dataclass(frozen=True, slots=True)
class Groups:
    """A group for each worker below `root`. None: nothing is done."""

    root: Path | None = None
    controllers: frozenset[str] = frozenset()
    _left: set[Path] = field(default_factory=set, compare=False, repr=False)
    """Groups that could not be removed yet."""

    def put(self, pid: int, scale: Scale) -> None:
        """Moves a worker, and everything that it will start, to a group with limits. Without a group it serves all the
        same."""
        if self.root is None:
            return
        for left in list(self._left):
            self._remove(left)
        group = self._of(pid)
        try:
            group.mkdir(exist_ok=True)
            for file, value in self._limits(scale).items():
                (group / file).write_text(value)
            (group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            log.warning("worker %d is in no control group of its own: %s", pid, error)

    def limit_processors(self, pid: int, scale: Scale) -> None:
        """Changes the processor limit of a worker's group."""
        if self.root is not None and "cpu" in self.controllers:
            try:
                (self._of(pid) / "cpu.max").write_text(_processors(scale))
            except OSError as error:
                log.warning("the limit of processors of worker %d was not changed: %s", pid, error)

    def end(self, pid: int) -> bool:
        """Kills what a worker that has ended has left, and removes its group. Returns whether the kernel had killed one
        of them for lack of memory."""
        if self.root is None:
            return False
        group = self._of(pid)
        killed = _count(group / "memory.events", "oom_kill") > 0
        with suppress(OSError):  # It never had a group, or Linux is older than 5.14.
            (group / "cgroup.kill").write_text("1")
        self._remove(group)
        return killed

    def missing(self, scale: Scale) -> str:
        """Returns which limits are not enforced, in words. Empty: all are."""
        if scale.cpu_limit is None or "cpu" in self.controllers:
            return ""
        return "its limit of processors is not kept: that needs a control group delegated by systemd (Delegate=yes)"

    def _limits(self, scale: Scale) -> dict[str, str]:
        limits = {}
        if "pids" in self.controllers:
            limits["pids.max"] = str(_MOST_PROCESSES)
        if "cpu" in self.controllers and scale.cpu_limit is not None:
            limits["cpu.max"] = _processors(scale)
        if "memory" in self.controllers and scale.memory_limit_bytes is not None:
            limits |= {"memory.max": str(scale.memory_limit_bytes), "memory.oom.group": "1"}
        return limits

    def _of(self, pid: int) -> Path:
        assert self.root is not None
        return self.root / f"{_WORKER}{pid}"

    def _remove(self, group: Path) -> None:
        self._left.discard(group)
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:  # A killed process has not ended yet, or the group is that of an earlier host's worker.
            self._left.add(group)


def _processors(scale: Scale) -> str:
    quota = "max" if scale.cpu_limit is None else str(max(1_000, round(scale.cpu_limit * _PERIOD_US)))
    return f"{quota} {_PERIOD_US}"


def claim(proc: Path = Path("/proc/self")) -> Groups:
    """Takes over the delegated group in which this process runs, if there is one. `proc` is the /proc directory of the
    process."""
    root = _delegated(proc)
    if root is None:
        return Groups()
    try:
        _clear(root)
        return Groups(root, _switched_on(root), set(root.glob(f"{_WORKER}*")))
    except OSError as error:
        log.warning("workers are in no control groups, although %s is delegated: %s", root, error)
        return Groups()


def _delegated(proc: Path) -> Path | None:
    mount = _mount(proc)
    own = next((line[3:] for line in _lines(proc / "cgroup") if line.startswith("0::")), None)
    if mount is None or own is None:
        return None
    here = mount / own.lstrip("/")
    # Parents are not searched. They are marked for others, such as a user's session for their systemd.
    group = here.parent if here.name == _OTHERS else here
    with suppress(OSError):
        if os.getxattr(group, "user.delegate") == b"1":
            return group
    return None


def _mount(proc: Path) -> Path | None:
    """See proc_pid_mountinfo(5): the mount point is field 5, and the type follows the dash."""
    for line in _lines(proc / "mountinfo"):
        fields, _, described = line.partition(" - ")
        if described.startswith("cgroup2 "):
            return Path(fields.split()[4])
    return None


def _clear(root: Path) -> None:
    pids = (root / "cgroup.procs").read_text().split()
    if pids:
        others = root / _OTHERS
        others.mkdir(exist_ok=True)
        for pid in pids:
            with suppress(ProcessLookupError):
                (others / "cgroup.procs").write_text(pid)


def _switched_on(root: Path) -> frozenset[str]:
    there = (root / "cgroup.controllers").read_text().split()
    for name in _CONTROLLERS:
        if name in there:
            (root / "cgroup.subtree_control").write_text(f"+{name}")
    return frozenset((root / "cgroup.subtree_control").read_text().split()) & frozenset(_CONTROLLERS)


def _count(file: Path, name: str) -> int:
    words = next((line.split() for line in _lines(file) if line.split()[:1] == [name]), ["", "0"])
    return int(words[1])


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
