"""Bounds on the connections of a uvicorn server, which has none: one that asks nothing would stay for ever, and others
could not be let in once there is no descriptor left."""

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
"""One in so many descriptors of the process may be a caller's connection."""


@dataclass(frozen=True, slots=True)
class Limits:
    places: int = 1000
    """Connections at the same time, as far as the limit of open files has room for them."""
    head: float = 5.0
    """Seconds for a request's first line and headers, from the connection's beginning or the request's first byte."""
    body: float = 15.0
    """Seconds for a request's body,"""
    rate: int | None = None
    """and one more for each so many bytes that have arrived; None: none."""


class _State(Enum):
    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"


def limited(config: uvicorn.Config, limits: Limits | None = None) -> uvicorn.Config:
    """`config`, so that a connection is closed that does not say within `limits` what it wants.

    Where all places are taken, the source that has most of them loses the oldest one that is not being answered, or
    does not read its answer.
    """
    chosen = limits or Limits()
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
            """Whether the connection may be closed in favour of others: it has not asked yet, or does not read its
            answer."""
            return self.state is not _State.ANSWER or self.flow.write_paused

        def _watch(self) -> None:
            """Starts the time of what is waited for now; more bytes of the same do not start it again."""
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
            if (self.state, self.cycle) != self.timed:  # it has been answered meanwhile
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
    """One more was let in than there are places for. The newest is among those that give way, as it has not asked."""
    sources = Counter(_source(one) for one in connections)
    waiting = [one for one in connections if one.gives_way]
    most = max(sources[_source(one)] for one in waiting)
    min((one for one in waiting if sources[_source(one)] == most), key=lambda one: one.number).transport.abort()


def _source(connection: Any) -> str:
    return connection.client[0] if connection.client else ""
