"""Reads how many processors the container may use, which is the default for the number of workers.

Control groups of version 2 have `cpu.max` ("200000 100000", or "max 100000"), those of version 1 a quota and a period
in microseconds; a quota of -1 is no limit. See https://docs.kernel.org/admin-guide/cgroup-v2.html.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
_VERSION_1 = ("cpu", "cpu,cpuacct", "cpuacct,cpu")


def processors(groups: Path = GROUPS) -> int:
    """Returns the container's limit, rounded up, or the number of processors that this process may run on."""
    there = len(os.sched_getaffinity(0))
    limit = _limit(groups)
    return there if limit is None else max(1, min(there, math.ceil(limit)))


def _limit(groups: Path) -> float | None:
    quota, period = _words(groups / "cpu.max", 2)
    if not period:
        found = (groups / name for name in _VERSION_1)
        directory = next((path for path in found if (path / "cpu.cfs_quota_us").is_file()), groups)
        (quota,), (period,) = _words(directory / "cpu.cfs_quota_us", 1), _words(directory / "cpu.cfs_period_us", 1)
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)


def _words(file: Path, count: int) -> list[str]:
    """Returns the words of the file, or `count` empty strings if it does not have that many words."""
    try:
        words = file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        words = []
    return words if len(words) == count else [""] * count
