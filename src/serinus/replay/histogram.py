"""A histogram of durations, which takes a few kilobytes whatever their number."""

from __future__ import annotations

_EXACT = 128
"""Durations up to so many microseconds have buckets of their own. Longer ones have 64 buckets in an octave, with a
relative error below 1.6%."""


class Histogram:
    """Counts durations."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._total = 0
        self._most = 0.0

    def add(self, seconds: float) -> None:
        """Adds a duration in seconds."""
        microseconds = int(seconds * 1e6) if seconds > 0 else 0
        shift = max(microseconds.bit_length() - 7, 0)
        bucket = (shift << 7) + (microseconds >> shift)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._total += 1
        if seconds > self._most:
            self._most = seconds

    def quantile(self, share: float) -> float | None:
        """Returns the seconds that `share` of all durations do not exceed. None: there are none."""
        rank, seen = share * self._total, 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                return min(self._upper_end(bucket), self._most)
        return None

    def summary_ms(self) -> dict[str, float]:
        """Returns p50, p90, p99, p99.9 and max, in milliseconds. Empty: there are no durations."""
        if not self._total:
            return {}
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
        found = {name: self.quantile(share) or 0.0 for name, share in shares.items()}
        return {name: round(seconds * 1e3, 3) for name, seconds in {**found, "max": self._most}.items()}

    @staticmethod
    def _upper_end(bucket: int) -> float:
        shift, value = bucket >> 7, bucket & (_EXACT - 1)
        return (((value + 1) << shift) - 1) / 1e6 if shift else value / 1e6
