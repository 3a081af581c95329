"""When a worker is started again, and when no other try is worth it. Pure: times are seconds of a monotonic clock."""

from __future__ import annotations

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds before the next start, after one worker in a row that has failed or died; doubles with every one."""
HEALTHY = 60.0
"""Seconds for which a worker must have served for its death to count as the first one."""
MOST_FAILED_STARTS = 5
"""In a row, without a worker that became ready: then the container ends, and Kubernetes starts it again, ever later."""


def pause_after(failures: int) -> float:
    """Seconds of the pause after so many failures in a row."""
    return min(FIRST_PAUSE * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE) if failures else 0.0


class Restarts:
    """Of the workers of one pod. `not_before`: when the next one may be started. `count`: of all deaths."""

    def __init__(self) -> None:
        self.not_before = 0.0
        self.count = 0
        self._failures = 0
        self._failed_starts = 0

    @property
    def hopeless(self) -> bool:
        return self._failed_starts >= MOST_FAILED_STARTS

    def start_failed(self, now: float) -> None:
        """A worker has ended, or was ended, before it was ready."""
        self._failed_starts += 1
        self.count += 1
        self._pause(now)

    def ready(self) -> None:
        """A worker can serve, so the release can. It does not shorten the pauses: it may die of its first request."""
        self._failed_starts = 0

    def died(self, served: float, now: float) -> None:
        """A worker that had served for so many seconds."""
        self.count += 1
        if served >= HEALTHY:
            self._failures = 0
            self.not_before = now
        else:
            self._pause(now)

    def _pause(self, now: float) -> None:
        self._failures += 1
        self.not_before = now + pause_after(self._failures)
