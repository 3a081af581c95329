"""The limits of a process that answers one question, and the check that it does not exceed them while it runs."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Sequence

from serinus_runtime.isolation.scratch import Bounds, excess

_WRITTEN = Bounds(4 << 30, 100_000)
_LOOK = 0.5
"""The seconds between two looks at what it has written."""


@dataclass(frozen=True)
class QuestionLimits:
    """The limits of one question."""

    seconds: float = 120.0
    memory_bytes: int = 8 * 1024**3
    """The memory that the process may allocate for itself."""
    file_bytes: int = 1024**3
    """The largest file that it may write."""
    written: Bounds = _WRITTEN
    """The limits of its scratch directory."""
    printed_bytes: int = 64 << 20


class TookTooMuch(Exception):
    """The process must be killed, with all that it started. The text says which limit it exceeded."""


@dataclass(frozen=True)
class Watch:
    """Watches what a process does until it has ended."""

    scratch: Path
    streams: Sequence[IO[bytes]]
    """The files that it prints to."""
    limits: QuestionLimits
    began: float = field(default_factory=time.monotonic)

    def look(self) -> float:
        """Returns the seconds until the next look. Raises TookTooMuch if the process must not continue."""
        left = self.began + self.limits.seconds - time.monotonic()
        if left <= 0:
            raise TookTooMuch(f"it took longer than {self.limits.seconds:g} s")
        if found := excess(self.scratch, self.limits.written):
            raise TookTooMuch(f"it had written {found}")
        if any(os.fstat(stream.fileno()).st_size > self.limits.printed_bytes for stream in self.streams):
            raise TookTooMuch(f"it had printed more than {self.limits.printed_bytes >> 20} MiB")
        return min(_LOOK, left)
