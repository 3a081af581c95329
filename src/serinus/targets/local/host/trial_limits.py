"""The limits of a trial of a model: time, memory, processors and disk; and the check that it does not exceed them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from serinus_runtime.isolation.scratch import Bounds, excess
from serinus_runtime.process import starting

from serinus.lib import priority

_WRITTEN = Bounds(4 << 30, 100_000)
_LOOK = 0.5
"""The seconds between two looks at what a trial has written."""


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """The limits of one trial."""

    seconds: float = 120.0
    memory_bytes: int = 8 * 1024**3
    """The memory that the process may allocate for itself."""
    file_bytes: int = 1024**3
    """The largest file that it may write."""
    written: Bounds = _WRITTEN
    """The limits of its scratch directory."""
    printed_bytes: int = 64 << 20
    background: bool = False
    """Whether it gets the processors only when no other process wants them."""

    nice: int = 5
    """The niceness by which it gives way to the workers, which have callers."""

    def put_on(self, pid: int) -> None:
        """Applies the limits to a process that was just started. The bounds come first, since setting the priority may
        take a moment."""
        starting.limit(pid, memory_bytes=self.memory_bytes, file_bytes=self.file_bytes)
        if self.background:
            priority.put_last(pid)
        else:
            priority.give_way(pid, self.nice)


class TookTooMuch(Exception):
    """The trial was killed, with all that it started. The text says which limit it exceeded."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Watches what a trial does until it has ended."""

    scratch: Path
    streams: Sequence[IO[bytes]]
    limits: TrialLimits
    began: float = field(default_factory=time.monotonic)

    def look(self) -> float:
        """The seconds until the next look. Raises TookTooMuch if the trial must not continue."""
        left = self.began + self.limits.seconds - time.monotonic()
        if left <= 0:
            raise TookTooMuch(f"it took longer than {self.limits.seconds:g} s")
        if found := excess(self.scratch, self.limits.written):
            raise TookTooMuch(f"it had written {found}")
        if any(os.fstat(stream.fileno()).st_size > self.limits.printed_bytes for stream in self.streams):
            raise TookTooMuch(f"it had printed more than {self.limits.printed_bytes >> 20} MiB")
        return min(_LOOK, left)
