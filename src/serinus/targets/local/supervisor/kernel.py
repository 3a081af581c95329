"""Running processes, from /proc. A process id alone identifies no process, because it is used again."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from serinus.lib import processes
from serinus.lib.processes import Seen

MARK = "SERINUS_PROCESS"
"""The environment variable with the name of the supervised process. The processes that it starts inherit it."""


def open_many_files() -> None:
    """Raises this process's limit of open files, which children inherit, as far as the user may.

    The usual 1,024 are fewer than the connections of Envoy, or of one release.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def leaders(directory: Path) -> Mapping[str, Seen]:
    """Returns the oldest process of each mark that was started in `directory`, without the use of records.

    A directory that was removed and created again is another one. Processes in the old one are not found.
    """
    found = sorted((p for p in _everything() if p.session == p.pid), key=lambda p: p.ticks, reverse=True)
    return {mark: p for p in found if (mark := _mark(p.pid)) and _works_in(p.pid, directory)}


def followers(leader_pid: int, name: str) -> Sequence[Seen]:
    """Returns what the process with the mark `name` has started and what has outlived it."""
    return [p for p in _everything() if p.session == leader_pid != p.pid and _mark(p.pid) == name]


def _everything() -> Iterator[Seen]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (seen := processes.look(int(entry.name))) is not None:
            yield seen


def command(pid: int) -> Sequence[str]:
    """Returns the command with which a process was started. Raises OSError where it has ended."""
    return [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]


def command_as_it_runs(pid: int) -> Sequence[str]:
    """Returns `command` with a path to the running program, whose file may have been replaced or removed since."""
    return [f"/proc/{pid}/exe", *command(pid)[1:]]


def environment(pid: int) -> Mapping[str, str]:
    """Returns the environment with which a process was started. Raises OSError where it has ended."""
    found = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(os.fsdecode(one).split("=", 1) for one in found if b"=" in one)


def _mark(pid: int) -> str | None:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # The process belongs to another user or has ended.
        return None
    prefix = f"{MARK}=".encode()
    return next((os.fsdecode(v[len(prefix) :]) for v in environment.split(b"\0") if v.startswith(prefix)), None)


def _works_in(pid: int, directory: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").samefile(directory)
    except OSError:
        return False
