"""What this machine can give now. Where other processes use it, the demo asks for less and says why."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_A_SECOND = 3000
LEAST_A_SECOND = 40
"""Requests a second below which the canaries take most of an hour."""
SHARE_OF_CAPACITY = 0.5
"""The rest is for the second release of a canary, and for everything else that runs on the same machine."""
NEEDED = 80_000
"""Requests until two canaries are decided, about: the judge has to see some 10,000 and 20,000 of each candidate."""
FREE = 0.8
"""A process that gets at least this share of a processor has it nearly to itself."""
FAILING_SHARE = 0.001
"""Of the requests that may fail on a machine that others use; the judge calls the same share acceptable."""
SLOW_MS = 500.0
"""Half of `serving.timeout` of the demo's spec. Where one request in a hundred takes longer, the rate is too high."""
_TRIES = 5
_SPIN = """
import time
began, used = time.perf_counter(), time.process_time()
while time.perf_counter() - began < 1.0:
    pass
print((time.process_time() - used) / (time.perf_counter() - began))
"""


@dataclass(frozen=True)
class Machine:
    """`share`: of a processor, 0 to 1, that each of as many busy processes gets as there are processors."""

    processors: int
    share: float

    @property
    def busy(self) -> bool:
        return self.share < FREE

    @property
    def why(self) -> str:
        """One sentence about a machine that is busy; empty for another."""
        if not self.busy:
            return ""
        one = "its processor" if self.processors == 1 else f"one of its {self.processors} processors"
        return f"Other processes use this machine: a process gets {self.share:.0%} of {one}."

    def failures_allowed(self, requests: int) -> int:
        """Requests out of `requests` that may fail before the demo calls it wrong."""
        return int(FAILING_SHARE * requests) if self.busy else 0

    def spec(self, text: str) -> str:
        """The ModelDeployment `text` for this machine: its latency gate measures the machine where others use it."""
        if not self.busy:
            return text
        head, gates, rest = text.partition("\ngates:\n")
        if not gates:
            raise ValueError("the spec of the demo has no section gates")
        return (
            f"{head}{gates}  latency_p99: 1s        # other processes use this machine; 100 ms is the default\n{rest}"
        )


def measured() -> Machine:
    """Takes a second."""
    count = len(os.sched_getaffinity(0))
    words = [sys.executable, "-c", _SPIN]
    spinning = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    shares = [float(process.communicate()[0]) for process in spinning]
    return Machine(count, min(1.0, sum(shares) / count))


@dataclass(frozen=True)
class Pace:
    rate: int
    """Requests a second."""
    said: str
    """Why it is this rate, in sentences."""


def settled(replay: Callable[[int, int], Mapping[str, Any]], machine: Machine) -> Pace:
    """The rate that the machine keeps up with now: half of what it answers when pressed, and half of that again while
    one request in a hundred takes longer than `SLOW_MS` or any fails. `replay`: (requests a second, how many) -> the
    report of a replay. Raises SystemExit where not even the least rate is kept up with."""
    pressed = replay(20_000, 6_000)
    capacity = pressed["answered"] / pressed["seconds"]
    rate = int(min(MOST_A_SECOND, SHARE_OF_CAPACITY * capacity))
    said = [f"This machine answers {capacity:,.0f} requests a second when pressed.", machine.why]
    for _ in range(_TRIES):
        if rate < LEAST_A_SECOND:
            break
        tried = replay(rate, 3 * rate)
        late = tried["latency_ms"].get("p99", 0.0)
        failed = sum(tried["failed"].values())
        if late <= SLOW_MS and not failed:
            return Pace(rate, " ".join([*filter(None, said), _lasting(rate)]))
        seen = f"{failed:,} failed" if failed else f"one in a hundred took longer than {late:,.0f} ms"
        said.append(f"Of {3 * rate:,} requests at {rate:,} a second {seen}.")
        rate //= 2
    said.append("The canaries would take more than half an hour. Try again when the machine has less to do.")
    raise SystemExit(" ".join(filter(None, said)))


def _lasting(rate: int) -> str:
    minutes = NEEDED / rate / 60
    if rate >= MOST_A_SECOND:
        return f"The demo asks for {rate:,} a second."
    return f"The demo asks for {rate:,} a second, so the two canaries take about {max(1, round(minutes))} min."
