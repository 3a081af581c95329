"""An open loop: requests are due at a fixed rate, whatever the answers do, and latency counts from then. A server that
stalls is not spared the requests that would have come meanwhile (coordinated omission)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import uvloop

from bench.ticks import Ticks
from serinus.replay.answers import Answer
from serinus.replay.connections import Connection, Sent
from serinus.replay.histogram import Histogram

_FAILURES_KEPT = 100


class Ask(NamedTuple):
    """One whole HTTP request, and under what name its answers are counted."""

    request: bytes
    name: str = ""


class Seen(NamedTuple):
    ended: float
    """Monotonic seconds."""
    release: str


class Failure(NamedTuple):
    ended: float
    """Monotonic seconds."""
    name: str
    kind: str


@dataclass
class Report:
    latencies: Histogram = field(default_factory=Histogram)
    by_name: dict[str, Histogram] = field(default_factory=dict)
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Kind (a status, `fallback`, `reset`, `timeout`, `unsent`) -> how many."""
    seconds: float = 0.0
    first_failures: list[Failure] = field(default_factory=list)
    """At most `_FAILURES_KEPT`."""
    releases: list[Seen] = field(default_factory=list)
    """Of every good answer, which release gave it; only where it was asked for."""

    @property
    def failed(self) -> int:
        return self.failures.total()

    def fail(self, name: str, kind: str) -> None:
        self.failures[kind] += 1
        if len(self.first_failures) < _FAILURES_KEPT:
            self.first_failures.append(Failure(time.monotonic(), name, kind))

    @property
    def rps(self) -> float:
        return self.answered / self.seconds if self.seconds else 0.0

    def ms(self, share: float) -> float:
        """NaN where nothing was answered."""
        found = self.latencies.quantile(share)
        return float("nan") if found is None else found * 1e3


class OpenLoop:
    """`with OpenLoop(port, asks, rate) as loop: ...`, or `run(...)`. `asks` are sent in turn."""

    def __init__(
        self, port: int, asks: Sequence[Ask], rate: float, *, connections: int = 32, timeout: float = 10.0,
        releases: bool = False, host: str = "127.0.0.1",
    ) -> None:  # fmt: skip
        self._host, self._port, self._asks, self._rate = host, port, asks, rate
        self._size, self._timeout, self._releases = connections, timeout, releases
        self.report = Report()
        self._free: deque[Connection] = deque()
        self._waiting: deque[tuple[float, Ask]] = deque()
        self._stopped = threading.Event()
        self._ready = threading.Event()
        self._began, self._sent = 0.0, 0
        self._thread = threading.Thread(target=self._main, name="open-loop")

    def __enter__(self) -> OpenLoop:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    # --- the loop -----------------------------------------------------------------------------------------

    def _main(self) -> None:
        uvloop.run(self._run())

    async def _run(self) -> None:
        connections = [Connection(self, self._host, self._port) for _ in range(self._size)]
        for connection in connections:
            connection.start()
        while len(self._free) < self._size and not self._stopped.is_set():
            await asyncio.sleep(0.01)
        self._ready.set()
        self._began = time.monotonic()
        with Ticks(1 / self._rate, self._send_what_is_due):
            while not self._stopped.is_set():
                self._expire(connections)
                await asyncio.sleep(0.01)
        self.report.seconds = time.monotonic() - self._began
        until = time.monotonic() + self._timeout
        while (self._waiting or len(self._free) < self._size) and time.monotonic() < until:
            await asyncio.sleep(0.01)
        self.report.failures["unsent"] += len(self._waiting)
        self.report.failures += Counter()  # without zeros
        for connection in connections:
            if connection.sent is not None:
                connection.give_up("timeout")
            await connection.close()

    def _send_what_is_due(self) -> None:
        now = time.monotonic()
        while (due := self._began + self._sent / self._rate) <= now:
            self._send(due, self._asks[self._sent % len(self._asks)])
            self._sent += 1

    def _send(self, due: float, ask: Ask) -> None:
        if not self._free:
            self._waiting.append((due, ask))
            return
        connection = self._free.popleft()
        connection.send(ask.request, Sent(due, time.monotonic(), ask.name, None))

    def _expire(self, connections: Sequence[Connection]) -> None:
        late = time.monotonic() - self._timeout
        for connection in connections:
            if connection.sent is not None and connection.sent.at < late:
                connection.give_up("timeout")

    def _next(self) -> None:
        while self._waiting and self._free:
            self._send(*self._waiting.popleft())

    # --- serinus.replay.connections.Owner -----------------------------------------------------------------

    def answered(self, connection: Connection, sent: Sent, answer: Answer) -> None:
        now = time.monotonic()
        if answer.status == 200 and not answer.fallback:
            self.report.answered += 1
            self.report.latencies.add(now - sent.due)
            self.report.by_name.setdefault(sent.id, Histogram()).add(now - sent.due)
            if self._releases:
                self.report.releases.append(Seen(time.monotonic(), answer.release))
        else:
            self.report.fail(sent.id, "fallback" if answer.fallback else str(answer.status))
        if not answer.close:
            self._free.append(connection)
            self._next()

    def failed(self, sent: Sent, kind: str) -> None:
        self.report.fail(sent.id, kind)

    def opened(self, connection: Connection) -> None:
        self._free.append(connection)
        self._next()

    def lost(self, connection: Connection) -> None:
        if connection in self._free:
            self._free.remove(connection)

    def refused(self) -> None:
        """What is due waits, and its latency grows."""


def run(
    port: int, asks: Sequence[Ask], rate: float, seconds: float, *, connections: int = 32, timeout: float = 10.0
) -> Report:
    """`rate` requests a second for `seconds`."""
    with OpenLoop(port, asks, rate, connections=connections, timeout=timeout) as loop:
        time.sleep(seconds)
    return loop.report
