"""The report of a replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_KEPT_UP_MS = 10.0


@dataclass(frozen=True, slots=True)
class Report:
    """The results. Always `sent == answered + sum(failed.values()) + unanswered`. While it runs, `unanswered` are in
    flight."""

    model: str
    prefix: str
    """The prefix of all its request ids, which no other replay has."""
    rate: float
    """The requested rate in requests per second."""
    seconds: float
    """From the time of the first request to the last answer, or to now."""
    sent: int
    """Requests that were due and were attempted."""
    answered: int
    """Requests that were answered with a status of 2xx, including fallbacks."""
    failed: Mapping[str, int]
    """Failures by kind: `http 503`, `refused` (no connection), `reset` (closed before an answer), `timeout`,
    `malformed`."""
    unanswered: int
    overdue: int
    """Requests that were due and were not attempted when it ended, because every connection was waiting."""
    fallbacks: int
    releases: Mapping[str, int]
    """Answered requests by the release that the response names, or `router` where it names none."""
    latency_ms: Mapping[str, float]
    """p50, p90, p99, p99.9 and max of the answered requests, from the time at which each was due."""
    lag_ms: Mapping[str, float]
    """The same of the generator's own delay while a connection was free."""
    waited: int
    """Requests that were sent late, because every connection was waiting for an answer."""

    @property
    def kept_up(self) -> bool:
        """Whether the generator was on time, so that the latencies are those of the server."""
        return self.lag_ms.get("p99", 0.0) <= _KEPT_UP_MS

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        return {**asdict(self), "kept_up": self.kept_up}

    def text(self) -> str:
        """Returns the report for a terminal."""
        achieved = self.sent / self.seconds if self.seconds else 0.0
        pace = f"{achieved:,.0f}/s of {self.rate:,.0f}/s asked for"
        lines = [
            f"{self.sent:,} requests to {self.model} in {self.seconds:.1f} s: {pace}",
            f"answered   {self.answered:,}{_listed(self.releases)}",
        ]
        if self.fallbacks:
            lines.append(f"fallbacks  {self.fallbacks:,}")
        lines.append(f"failed     {sum(self.failed.values()):,}{_listed(self.failed)}")
        if self.unanswered or self.overdue:
            lines.append(f"open       {self.unanswered:,} without an answer, {self.overdue:,} overdue")
        lines.append(f"latency    {_quantiles(self.latency_ms)} (ms, from the moment each was due)")
        late = "" if self.kept_up else "; the generator did not keep up, so latencies are partly its own"
        lines.append(f"own lag    {_quantiles(self.lag_ms)} (ms){late}")
        lines.append(f"ids        {self.prefix}-...")
        if self.waited:
            lines.append(f"waited     {self.waited:,} were sent late: every connection was waiting")
        return "\n".join(lines)


def _listed(counts: Mapping[str, int]) -> str:
    return f"  ({', '.join(f'{name} {count:,}' for name, count in sorted(counts.items()))})" if counts else ""


def _quantiles(summary: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.1f}" for name, value in summary.items()) or "none"
