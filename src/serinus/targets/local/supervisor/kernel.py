"""Processes as the kernel knows them. A pid alone names nobody: it is used again."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from serinus.lib import processes
from serinus.lib.processes import Seen

MARK = "SERINUS_PROCESS"
"""Environment variable that every supervised process, and what it starts, carries: the process's name."""


def open_many_files() -> None:
    """Raises this process's limit of open files, which its children inherit, to the highest that its user may have.
    The usual 1,024 are fewer than the callers that Envoy takes, and than the connections that a release may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def leaders(directory: Path) -> Mapping[str, Seen]:
    """Mark -> the oldest process that was started in `directory` under it, known without any record.

    A directory that was removed and made anew is another one: what runs in the old one is not found.
    """
    found = sorted((p for p in _everything() if p.session == p.pid), key=lambda p: p.ticks, reverse=True)
    return {mark: p for p in found if (mark := _mark(p.pid)) and _works_in(p.pid, directory)}


def followers(leader_pid: int, name: str) -> Sequence[Seen]:
    """What the process with the mark `name` has started, and what has outlived it."""
    return [p for p in _everything() if p.session == leader_pid != p.pid and _mark(p.pid) == name]


def _everything() -> Iterator[Seen]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (seen := processes.look(int(entry.name))) is not None:
            yield seen


def command(pid: int) -> Sequence[str]:
    """As it was started. Raises OSError: it is gone."""
    return [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]


def command_as_it_runs(pid: int) -> Sequence[str]:
    """As `command`, with a path to the program that runs, which may have been replaced or removed since."""
    return [f"/proc/{pid}/exe", *command(pid)[1:]]


def environment(pid: int) -> Mapping[str, str]:
    """As it was started. Raises OSError: it is gone."""
    found = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(os.fsdecode(one).split("=", 1) for one in found if b"=" in one)


def _mark(pid: int) -> str | None:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # another user's, or gone by now
        return None
    prefix = f"{MARK}=".encode()
    return next((os.fsdecode(v[len(prefix) :]) for v in environment.split(b"\0") if v.startswith(prefix)), None)


def _works_in(pid: int, directory: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").samefile(directory)
    except OSError:
        return False
