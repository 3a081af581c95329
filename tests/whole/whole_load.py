"""A constant rate of requests that remembers what became of each one: an open loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from serinus.replay.answers import Answer
from serinus.replay.connections import Connection, Sent

_CONNECTIONS = 64
_TIMEOUT = 5.0
_TICK = 0.002


class Seen(NamedTuple):
    """One request and its end."""

    at: float
    """Unix seconds at which it was due, whatever the answers before it did."""
    ended: float
    id: str
    entity: str
    status: int
    """0: there was no answer."""
    release: str
    fallback: bool
    how: str
    """Empty, or why there was no answer: `refused`, `reset`, `timeout`."""

    @property
    def good(self) -> bool:
        return self.status == 200 and not self.fallback


class Load:
    """`with Load(url, "card", rate=500) as load: ...`; at the end what is under way is waited for.

    `retries`: a request without any answer is sent once more, on another connection, as many clients do. `api_key`: of
    the caller, where one is needed.
    """

    def __init__(
        self, url: str, model: str, rate: float, entities: int = 400, *, retries: bool = False, api_key: str = ""
    ) -> None:
        self._key = f"x-api-key: {api_key}\r\n" if api_key else ""
        self._where = urlsplit(url)
        self._path = f"/v2/models/{model}/infer"
        self.rate, self._entities, self._retries = rate, entities, retries
        self.prefix = secrets.token_hex(4)
        self.seen: list[Seen] = []
        self.retried: dict[str, str] = {}
        """Ids of the requests that were sent once more, and why."""
        self._again: deque[Sent] = deque()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")
        self._stop = threading.Event()
        self._connections: list[Connection] = []
        self.free: list[Connection] = []
        self.open = self._sent = 0
        self.unreachable = False
        self._epoch = 0.0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    # --- what is asked of it ------------------------------------------------------------------------------

    @property
    def failed(self) -> Sequence[Seen]:
        return [seen for seen in self.seen if not seen.good]

    @property
    def answered(self) -> set[str]:
        """Ids of the requests that got an answer of a release."""
        return {seen.id for seen in self.seen if seen.good}

    def in_words(self) -> Counter[str]:
        """How requests failed, and how often."""
        return Counter(seen.how or f"http {seen.status}" for seen in self.failed)

    def reached(self) -> float:
        """Answers a second, over the whole time."""
        ends = [seen.ended for seen in self.seen if seen.good]
        return len(ends) / (max(ends) - self.seen[0].at)

    # --- the loop -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._epoch = time.time() - loop.time()
        self._connections = [
            Connection(_Ear(self), self._where.hostname or "", self._where.port or 80) for _ in range(_CONNECTIONS)
        ]
        for connection in self._connections:
            connection.start()
        while self.open < _CONNECTIONS:
            await asyncio.sleep(_TICK)
        start = loop.time()
        while not self._stop.is_set():
            self._give_up_late_ones(loop.time())
            self._send_what_is_due(start, loop.time())
            await asyncio.sleep(_TICK)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TIMEOUT):
                while len(self.seen) < self._sent:
                    self._send_what_is_due(start, start)  # nothing new
                    await asyncio.sleep(_TICK)
        self._give_up_late_ones(float("inf"))
        for sent in self._again:
            self.note(sent, 0, how=self.retried[sent.id])
        await asyncio.gather(*(connection.close() for connection in self._connections))

    def _send_what_is_due(self, start: float, now: float) -> None:
        while self._again and self.free:
            sent = self._again.popleft()._replace(at=now)
            self.free.pop().send(self._request(self._number(sent.id), sent.id), sent)
        due = int((now - start) * self.rate)
        while self._sent < due and (self.free or self.unreachable):
            sent = Sent(start + self._sent / self.rate, now, f"{self.prefix}-{self._sent}", None)
            number, self._sent = self._sent, self._sent + 1
            if self.free:
                self.free.pop().send(self._request(number, sent.id), sent)
            else:
                self.note(sent, 0, how="refused")

    def _request(self, number: int, id_: str) -> bytes:
        tensor = '{{"name":"{}","shape":[1],"datatype":"FP64","data":[{}]}}'
        amount, hour = tensor.format("amount", number % 997 + 0.5), tensor.format("hour", float(number % 24))
        body = f'{{"inputs":[{amount},{hour}]}}'
        return (
            f"POST {self._path} HTTP/1.1\r\nhost: {self._where.netloc}\r\ncontent-type: application/json\r\n"
            f"x-request-id: {id_}\r\nx-entity-id: {self._entity(id_)}\r\ncontent-length: {len(body)}\r\n{self._key}"
            f"\r\n{body}"
        ).encode()

    def _entity(self, id_: str) -> str:
        return f"card-{self._number(id_) % self._entities}"

    @staticmethod
    def _number(id_: str) -> int:
        return int(id_.rpartition("-")[2])

    def _give_up_late_ones(self, now: float) -> None:
        for connection in self._connections:
            if connection.sent is not None and connection.sent.at + _TIMEOUT < now:
                connection.give_up("timeout")

    def lost(self, sent: Sent, how: str) -> None:
        """The request had no answer."""
        if self._retries and sent.id not in self.retried:
            self.retried[sent.id] = how
            self._again.append(sent)
        else:
            self.note(sent, 0, how=how)

    def note(self, sent: Sent, status: int, release: str = "", fallback: bool = False, how: str = "") -> None:
        ends = self._epoch + asyncio.get_running_loop().time()
        entity = self._entity(sent.id)
        self.seen.append(Seen(self._epoch + sent.due, ends, sent.id, entity, status, release, fallback, how))


class _Ear:
    """What connections tell (`serinus.replay.connections.Owner`)."""

    def __init__(self, load: Load) -> None:
        self._load = load

    def answered(self, connection: Connection, sent: Sent, answer: Answer) -> None:
        self._load.note(sent, answer.status, answer.release, answer.fallback)
        if not answer.close:
            self._load.free.append(connection)

    def failed(self, sent: Sent, kind: str) -> None:
        self._load.lost(sent, kind)

    def opened(self, connection: Connection) -> None:
        self._load.open, self._load.unreachable = self._load.open + 1, False
        self._load.free.append(connection)

    def lost(self, connection: Connection) -> None:
        self._load.open -= 1
        if connection in self._load.free:
            self._load.free.remove(connection)

    def refused(self) -> None:
        self._load.unreachable = not self._load.open


def wait_until(predicate: Callable[[], Any], timeout: float, what: str = "") -> Any:
    """The first value of `predicate` that is neither None nor False, asked until `timeout` seconds have passed."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        value = predicate()
        if value is not None and value is not False:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what or 'it'} did not happen within {timeout:g} s")
