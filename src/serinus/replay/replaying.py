"""The open loop: each request is sent when it is due, on any free connection, and its latency counts from that time."""

from __future__ import annotations

import asyncio
import itertools
import math
import secrets
import signal
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from serinus.core.errors import InvalidInput
from serinus.replay.answers import Answer
from serinus.replay.connections import Connection, Sent
from serinus.replay.histogram import Histogram
from serinus.replay.report import Report
from serinus.replay.requests import Batch, Form, Protocol, form_of
from serinus.replay.sources import Source

Outcomes = Callable[[str, str, float], None]
Progress = Callable[[Report], None]

_TICK = 0.001
"""The resolution of the event loop. Waking more often gains nothing."""
_SWEEP = 0.05
_AFTER_STOP = 1.0
"""Seconds for which answers may still arrive after a stop."""


def run(source: Source, url: str, model: str, *, rate: float, **options: Any) -> Report:
    """Runs `replay` until the end, or until SIGINT or SIGTERM. The report then covers what was done so far."""

    async def until_interrupted() -> Report:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        return await replay(source, url, model, rate=rate, stop=stop, **options)

    return asyncio.run(until_interrupted())


async def replay(
    source: Source,
    url: str,
    model: str,
    *,
    rate: float,
    connections: int = 32,
    limit: int | None = None,
    passes: int = 1,
    protocol: Protocol = "oip",
    entity_header: str = "x-entity-id",
    api_key: str | None = None,
    context: ssl.SSLContext | None = None,
    fresh_entities: bool = False,
    prefix: str | None = None,
    timeout: float = 5.0,
    on_progress: Progress | None = None,
    outcomes: Outcomes | None = None,
    stop: asyncio.Event | None = None,
) -> Report:
    """Sends the rows of `source` to `model` at `url` (`http://host:port`, or `https` with a `context`).

    - `rate`: requests per second.
    - `passes`, `limit`: the rows are sent `passes` times, or until `limit` requests.
    - `fresh_entities`: each pass has entities of its own.
    - `prefix`: of the request ids. None: one that no other replay has.
    - `timeout`: seconds after which a request is given up.
    - `on_progress`: gets a report every second.
    - `outcomes`: gets the ids and the label of each answered request.

    Raises InvalidInput.
    """
    where = urlsplit(url)
    if where.scheme != ("http" if context is None else "https") or where.hostname is None:
        raise InvalidInput(f"{url!r} is not an address such as http://127.0.0.1:8080.")
    if not (math.isfinite(rate) and rate > 0 and connections > 0 and passes > 0 and timeout > 0):
        raise InvalidInput("Rate, connections, passes and timeout must be above 0.")
    prefix = f"replay-{secrets.token_hex(6)}" if prefix is None else prefix
    form = form_of(
        url,
        model,
        protocol=protocol,
        entity_header=entity_header,
        api_key=api_key,
        fresh_entities=fresh_entities,
        prefix=prefix,
        labelled=outcomes is not None,
    )
    feed = _Feed(_batches(source, form, passes), limit)
    loop = _OpenLoop(feed, model, prefix, rate, timeout, outcomes, on_progress)
    ports = [
        Connection(loop, where.hostname, where.port or (443 if context else 80), context) for _ in range(connections)
    ]
    return await loop.run(ports, stop or asyncio.Event())


def _batches(source: Source, form: Form, passes: int) -> Iterator[Batch]:
    for turn in range(passes):
        row = 0
        for chunk in source.chunks():
            yield form.batch(chunk, row, turn)
            row += chunk.inputs.height


class _Feed:
    """Prepares requests in a thread, one batch ahead of the one that is being sent."""

    def __init__(self, batches: Iterator[Batch], limit: int | None) -> None:
        self._batches = batches
        self._left = math.inf if limit is None else limit
        self._batch, self._at = Batch((), (), ()), 0
        self._next: asyncio.Task[Batch | None] | None = None
        self.ended = self._left <= 0

    async def fill(self) -> None:
        """Waits until there is a request, or there are no more."""
        while not self.ended and self._at >= len(self._batch.requests):
            if self._next is None:
                self._prepare()
            assert self._next is not None
            batch = await self._next
            self._next = None
            self.ended = batch is None
            if batch is not None:
                self._batch, self._at = batch, 0
                self._prepare()

    def _prepare(self) -> None:
        self._next = asyncio.create_task(asyncio.to_thread(next, self._batches, None))

    def take(self) -> tuple[bytes, str, float | None] | None:
        """Returns the next request, its id and its label. None: none is ready (see `ended`)."""
        at, batch = self._at, self._batch
        if self.ended or at >= len(batch.requests):
            return None
        self._at += 1
        self._left -= 1
        self.ended = self._left <= 0
        return (batch.requests[at], batch.ids[at], batch.labels[at]) if batch.ids else (batch.requests[at], "", None)

    async def close(self) -> None:
        if self._next is not None:
            await asyncio.gather(self._next, return_exceptions=True)


class _OpenLoop:
    def __init__(
        self,
        feed: _Feed,
        model: str,
        prefix: str,
        rate: float,
        timeout: float,
        outcomes: Outcomes | None,
        on_progress: Progress | None,
    ) -> None:
        self._feed, self._model, self._prefix, self._rate, self._timeout = feed, model, prefix, rate, timeout
        self._outcomes, self._on_progress = outcomes, on_progress
        self._free: list[Connection] = []
        self._open, self._unreachable = 0, False
        self._start = self._last_answer = 0.0
        self._sent = self._answered = self._fallbacks = self._waited = 0
        self._failed: Counter[str] = Counter()
        self._releases: Counter[str] = Counter()
        self._latency, self._lag = Histogram(), Histogram()
        self._time = asyncio.get_running_loop().time

    async def run(self, connections: list[Connection], stop: asyncio.Event) -> Report:
        await self._feed.fill()
        for connection in connections:
            connection.start()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_open(len(connections)), min(1.0, self._timeout))
        self._start = self._last_answer = self._time()
        watch = asyncio.create_task(self._watch(connections))
        try:
            await self._pace(stop)
            overdue = 0 if self._feed.ended else max(0, self._due(self._time()) - self._sent)
            await self._drain(stop)
            return self._report(overdue)
        finally:
            watch.cancel()
            await asyncio.gather(watch, *(one.close() for one in connections), return_exceptions=True)
            await self._feed.close()

    async def _all_open(self, count: int) -> None:
        while self._open < count:
            await asyncio.sleep(_TICK)

    async def _pace(self, stop: asyncio.Event) -> None:
        while not (stop.is_set() or self._feed.ended):
            await self._feed.fill()
            self._send_what_is_due()
            next_due = self._start + self._sent / self._rate
            await asyncio.sleep(max(next_due - self._time(), _TICK))

    async def _drain(self, stop: asyncio.Event) -> None:
        """Waits until every request is answered or given up. After a stop it does not wait long."""
        stopped_at: float | None = None
        while self._under_way:
            if stop.is_set():
                stopped_at = stopped_at or self._time()
                if self._time() - stopped_at > _AFTER_STOP:
                    return
            await asyncio.sleep(_TICK)

    async def _watch(self, connections: list[Connection]) -> None:
        for turn in itertools.count(1):
            await asyncio.sleep(_SWEEP)
            late = self._time() - self._timeout
            for connection in connections:
                if connection.sent is not None and connection.sent.at < late:
                    connection.give_up("timeout")
            if self._on_progress is not None and turn % round(1 / _SWEEP) == 0:
                self._on_progress(self._report(0))

    def _due(self, now: float) -> int:
        """Returns how many requests should have been sent by now."""
        return int((now - self._start) * self._rate) + 1

    def _send_what_is_due(self) -> None:
        now = self._time()
        due = self._due(now)
        while self._sent < due and (self._free or self._unreachable):
            taken = self._feed.take()
            if taken is None:
                return
            request, id_, label = taken
            sent = Sent(self._start + self._sent / self._rate, now, id_, label)
            self._sent += 1
            if not self._free:
                self.failed(sent, "refused")
                continue
            connection = self._free.pop()
            free_since = connection.free_since
            if free_since > sent.due:
                self._waited += 1
            self._lag.add(now - max(sent.due, free_since))
            connection.send(request, sent)

    # --- what connections tell ----------------------------------------------------------------------------

    def answered(self, connection: Connection, sent: Sent, answer: Answer) -> None:
        now = self._last_answer = self._time()
        if 200 <= answer.status < 300:
            self._answered += 1
            self._releases[answer.release] += 1
            self._fallbacks += answer.fallback
            self._latency.add(now - sent.due)
            if self._outcomes is not None and sent.label is not None:
                self._outcomes(answer.prediction_id, sent.id, sent.label)
        else:
            self._failed[f"http {answer.status}"] += 1
        if not answer.close:
            connection.free_since = now
            self._free.append(connection)
            self._send_what_is_due()

    def failed(self, sent: Sent, kind: str) -> None:  # noqa: ARG002 - which one it was is not counted
        self._last_answer = self._time()
        self._failed[kind] += 1

    def opened(self, connection: Connection) -> None:
        self._open, self._unreachable = self._open + 1, False
        self._free.append(connection)

    def lost(self, connection: Connection) -> None:
        self._open -= 1
        if connection in self._free:
            self._free.remove(connection)

    def refused(self) -> None:
        self._unreachable = not self._open

    @property
    def _under_way(self) -> int:
        return self._sent - self._answered - self._failed.total()

    def _report(self, overdue: int) -> Report:
        # It takes at least one period, because the last request is due at the end of its own.
        seconds = max(self._last_answer - self._start, self._sent / self._rate if self._sent else 0.0)
        return Report(
            model=self._model,
            prefix=self._prefix,
            rate=self._rate,
            seconds=round(seconds, 3),
            sent=self._sent,
            answered=self._answered,
            failed=dict(self._failed),
            unanswered=self._under_way,
            overdue=overdue,
            fallbacks=self._fallbacks,
            releases=dict(self._releases),
            latency_ms=self._latency.summary_ms(),
            lag_ms=self._lag.summary_ms(),
            waited=self._waited,
        )
