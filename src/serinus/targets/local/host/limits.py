"""What the host waits for, and how long. Seconds, bytes and counts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

_SHARE_OF_MEMORY = 0.75
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_there() -> int:
    """Bytes of the machine, or of the control group that this process is limited to."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    texts = [path.read_text().strip() for path in map(Path, _CGROUP_LIMITS) if path.exists()]
    return min([*found, *(int(text) for text in texts if text.isdigit())])


@dataclass(frozen=True, slots=True)
class Limits:
    load: float = 120.0
    """Until a worker must be ready."""
    grace: float = 10.0
    """To finish what is in flight after SIGTERM."""
    first_delay: float = 0.1
    """Before a worker that died is started again; doubles with every death ..."""
    longest_delay: float = 30.0
    """... up to this ..."""
    healthy: float = 60.0
    """... and starts anew after a worker that was ready for so long, which is replaced at once."""
    survey: float = 2.0
    """Between two looks at what the workers do and use."""
    idle: float = 60.0
    """Without a request before a release may be scaled to zero; well above the time for which the router keeps
    connections."""
    young: float = 600.0
    """For which a release stays up after it has been placed or activated on purpose: it may be at the gates."""
    settled: float = 60.0
    """For which a worker that is an interpreter of its own is ready before a forked one may take its place."""
    busiest: int = 10
    """Releases that are never scaled to zero for want of requests."""
    leave: float = 600.0
    """For a worker that drains, until its callers have closed their connections; then it is stopped."""
    succeeding: int = 8
    """Releases whose worker of an earlier host and the one that takes its place are there at a time: both need
    memory, and the old one stays until its callers have closed their connections."""
    look: float = 2.0
    """Between two looks at what models have written."""
    scratch_bytes: int = 2 << 30
    """That a release, or an environment's zygote, may have in its scratch directory; beyond it, it is ended."""
    scratch_files: int = 50_000
    """Directories included."""
    log_bytes: int = 10 << 20
    """Of a release's or a zygote's output, beyond which the last part of it is kept aside and it begins anew."""
    memory_bytes: int = field(default_factory=lambda: int(_SHARE_OF_MEMORY * memory_there()))
    """For all workers and zygotes together; beyond it the least recently used are scaled to zero."""
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    """Starts at a time, and most workers of one release."""
