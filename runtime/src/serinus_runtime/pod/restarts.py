"""Decides when a worker is started again, and when to give up. It is pure. Times are seconds of a monotonic clock."""

from __future__ import annotations

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds before the next start after a failure. The pause doubles with each further failure in a row."""
HEALTHY = 60.0
"""Seconds of serving after which the death of a worker counts as the first failure again."""
MOST_FAILED_STARTS = 5
"""The number of failed starts in a row after which the container ends. Kubernetes then restarts it, with a backoff."""


def pause_after(failures: int) -> float:
    """Returns the pause in seconds after this number of failures in a row."""
    return min(FIRST_PAUSE * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE) if failures else 0.0


class Restarts:
    """Counts the failures of the workers of one pod. `not_before` is the time of the next start. `count` is the number
    of all failures."""

    def __init__(self) -> None:
        self.not_before = 0.0
        self.count = 0
        self._failures = 0
        self._failed_starts = 0

    @property
    def hopeless(self) -> bool:
        return self._failed_starts >= MOST_FAILED_STARTS

    def start_failed(self, now: float) -> None:
        """Notes that a worker ended before it was ready."""
        self._failed_starts += 1
        self.count += 1
        self._pause(now)

    def ready(self) -> None:
        """Notes that a worker is ready. The pauses do not become shorter, because its first request may kill it."""
        self._failed_starts = 0

    def died(self, served: float, now: float) -> None:
        """Notes the death of a worker that had served for `served` seconds."""
        self.count += 1
        if served >= HEALTHY:
            self._failures = 0
            self.not_before = now
        else:
            self._pause(now)

    def _pause(self, now: float) -> None:
        self._failures += 1
        self.not_before = now + pause_after(self._failures)
