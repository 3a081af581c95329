"""The time limits and other limits of the host, in seconds, bytes and counts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

_SHARE_OF_MEMORY = 0.75
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_there() -> int:
    """Returns the memory of the machine, or of the control group to which this process is limited, in bytes."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    texts = [path.read_text().strip() for path in map(Path, _CGROUP_LIMITS) if path.exists()]
    return min([*found, *(int(text) for text in texts if text.isdigit())])


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a host."""

    load: float = 120.0
    """The time in which a worker must become ready."""
    grace: float = 10.0
    """The time to complete requests in flight after SIGTERM."""
    first_delay: float = 0.1
    """The delay before a worker that has died is started again. It doubles with every further death."""
    longest_delay: float = 30.0
    """The longest of these delays."""
    healthy: float = 60.0
    """The time after which a worker that was ready is replaced at once, and the delay starts from the beginning."""
    survey: float = 2.0
    """The time between two measurements of the workers."""
    idle: float = 60.0
    """The time without a request after which a release may be scaled to zero. It is well above the router's idle
    timeout."""
    young: float = 600.0
    """The time for which a release stays active after it was placed or activated explicitly, because it may be examined
    by the gates."""
    settled: float = 60.0
    """The time for which a worker with its own interpreter must be ready before a forked one may replace it."""
    busiest: int = 10
    """The number of releases that are never scaled to zero for lack of requests."""
    leave: float = 600.0
    """The time for callers to close their connections to a draining worker. Then it is stopped."""
    succeeding: int = 8
    """The number of releases at a time that have a worker of an earlier host beside its successor. Both need memory,
    and the old one stays until its callers have closed their connections."""
    look: float = 2.0
    """The time between two measurements of what models have written."""
    scratch_bytes: int = 2 << 30
    """The limit of the scratch directory of a release or a zygote, beyond which it is ended."""
    scratch_files: int = 50_000
    """Includes directories."""
    log_bytes: int = 10 << 20
    """The size of a log from which on its end is kept in another file and it starts again."""
    memory_bytes: int = field(default_factory=lambda: int(_SHARE_OF_MEMORY * memory_there()))
    """The memory of all workers and zygotes, beyond which the least recently used releases are scaled to zero."""
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    """The number of starts at a time, and the largest number of workers of one release."""
