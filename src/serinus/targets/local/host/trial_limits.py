"""The limits of a trial of a model on this machine: time, memory, disk, and its share of the processors."""

from __future__ import annotations

from dataclasses import dataclass

from serinus_runtime.process import starting
from serinus_runtime.process.watching import QuestionLimits

from serinus.lib import priority


@dataclass(frozen=True)
class TrialLimits(QuestionLimits):
    """The limits of one trial."""

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
