"""Limits for the connections of a uvicorn server, which has none. Otherwise idle connections would stay forever, and
use up all file descriptors."""

from __future__ import annotations

import asyncio
import itertools
import resource
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Any

import uvicorn

_SHARE_OF_FILES = 4
"""The connections may use one in so many descriptors of the process."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server."""

    places: int = 1000
    """The number of simultaneous connections, as far as the limit of open files allows."""
    head: float = 5.0
    """Seconds for the first line and the headers of a request, from the start of the connection or the first byte."""
    body: float = 15.0
    """Seconds for the body of a request."""
    idle: int = 75
    """Seconds between two requests of a connection. This is longer than clients keep one. If both had the same time, a
    request could meet the closing of its connection, and would get no answer. uvicorn's default is that of httpx."""
    rate: int | None = None
    """The body gets another second for each so many bytes that have arrived. None: it does not."""


class _State(Enum):
    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"


def limited(config: uvicorn.Config, limits: Limits | None = None) -> uvicorn.Config:
    """Returns `config` with limits. A connection is closed that does not send a request within them.

    Where all places are taken, the client address with the most connections loses its oldest one that is not being
    answered, or that does not read its answer.
    """
    chosen = limits or Limits()
    config.timeout_keep_alive = chosen.idle
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    places = max(1, min(chosen.places, files // _SHARE_OF_FILES))
    if not config.loaded:
        config.load()
    protocol: Any = config.http_protocol_class
    numbers = itertools.count(1)

    class Limited(protocol):  # type: ignore[misc]  # which one it is depends on what is installed
        timer: asyncio.TimerHandle | None = None
        timed: tuple[_State, Any] | None = None
        number = 0
        received = 0

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.number = next(numbers)
            self._watch()
            if len(self.connections) > places:
                _make_room([one for one in self.connections if isinstance(one, Limited)])

        def connection_lost(self, error: Exception | None) -> None:
            self._rest()
            super().connection_lost(error)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle.more_body:  # It was answered before it was complete, and is not idle.
                self._watch()

        def data_received(self, data: bytes) -> None:
            self.received += len(data)
            super().data_received(data)
            self._watch()

        @property
        def state(self) -> _State:
            if self.cycle is None or self.cycle.response_complete:
                return _State.HEAD
            return _State.BODY if self.cycle.more_body else _State.ANSWER

        @property
        def gives_way(self) -> bool:
            """Whether the connection may be closed in favour of others: it has not sent a request, or does not read its
            answer."""
            return self.state is not _State.ANSWER or self.flow.write_paused

        def _watch(self) -> None:
            """Starts the time limit of the present phase. Further bytes of the same phase do not restart it."""
            state = self.state
            if (state, self.cycle) == self.timed and self.timer is not None:
                return
            self._rest()
            if state is not _State.ANSWER and not self.transport.is_closing():
                self.timed, self.received = (state, self.cycle), 0
                self.timer = self.loop.call_later(
                    chosen.head if state is _State.HEAD else chosen.body, self._overdue, self.loop.time()
                )

        def _rest(self) -> None:
            if self.timer is not None:
                self.timer.cancel()
            self.timer = self.timed = None

        def _overdue(self, since: float) -> None:
            if (self.state, self.cycle) != self.timed:  # It has been answered in the meantime.
                self._rest()
                return
            more = self.received / chosen.rate if self.state is _State.BODY and chosen.rate else 0.0
            left = since + chosen.body + more - self.loop.time() if more else 0.0
            if left > 0:
                self.timer = self.loop.call_later(left, self._overdue, since)
            else:
                self.transport.abort()

    config.http_protocol_class = Limited
    return config


def _make_room(connections: list[Any]) -> None:
    """Closes a connection where there are more than places. The newest may be closed too, because it has sent nothing
    yet."""
    sources = Counter(_source(one) for one in connections)
    waiting = [one for one in connections if one.gives_way]
    most = max(sources[_source(one)] for one in waiting)
    min((one for one in waiting if sources[_source(one)] == most), key=lambda one: one.number).transport.abort()


def _source(connection: Any) -> str:
    return connection.client[0] if connection.client else ""
