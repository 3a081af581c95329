"""What a trial of a model may take: time, memory, processors and disk; and a look at whether it takes more."""

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
"""Seconds between two looks at what a trial has written."""


@dataclass(frozen=True, slots=True)
class TrialLimits:
    seconds: float = 120.0
    memory_bytes: int = 8 * 1024**3
    """That the process allocates for itself."""
    file_bytes: int = 1024**3
    """The largest file that it may write."""
    written: Bounds = _WRITTEN
    """What it may have in its scratch directory."""
    printed_bytes: int = 64 << 20
    background: bool = False
    """It gets the processors when nobody else wants them."""

    nice: int = 5
    """By which it gives way to the workers, which have callers."""

    def put_on(self, pid: int) -> None:
        """Of a process that was just started. The bounds come first: to set the priority may take a moment."""
        starting.limit(pid, memory_bytes=self.memory_bytes, file_bytes=self.file_bytes)
        if self.background:
            priority.put_last(pid)
        else:
            priority.give_way(pid, self.nice)


class TookTooMuch(Exception):
    """The trial was killed, with all that it started; the text says for what."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Of what a trial does until it has ended."""

    scratch: Path
    streams: Sequence[IO[bytes]]
    limits: TrialLimits
    began: float = field(default_factory=time.monotonic)

    def look(self) -> float:
        """Seconds until the next look. TookTooMuch: it goes on no longer."""
        left = self.began + self.limits.seconds - time.monotonic()
        if left <= 0:
            raise TookTooMuch(f"it took longer than {self.limits.seconds:g} s")
        if found := excess(self.scratch, self.limits.written):
            raise TookTooMuch(f"it had written {found}")
        if any(os.fstat(stream.fileno()).st_size > self.limits.printed_bytes for stream in self.streams):
            raise TookTooMuch(f"it had printed more than {self.limits.printed_bytes >> 20} MiB")
        return min(_LOOK, left)
