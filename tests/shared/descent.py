"""What a process has started, and what that has."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from serinus.lib import processes


def descendants(pid: int) -> Mapping[int, str]:
    """Pid -> identity, of those that run."""
    found: dict[int, str] = {}
    with contextlib.suppress(OSError):  # it has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                for child in map(int, (task / "children").read_text().split()):
                    if (identity := processes.identity(child)) is not None:
                        found[child] = identity
                    found.update(descendants(child))
    return found


def alive(seen: Mapping[int, str]) -> list[int]:
    """Those of them that still run."""
    return [pid for pid, identity in seen.items() if processes.identity(pid) == identity]
