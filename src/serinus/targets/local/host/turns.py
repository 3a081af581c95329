"""Decides who may use the processors for a start when many want to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class _Waiting:
    urgent: Callable[[], bool]
    called: asyncio.Event = field(default_factory=asyncio.Event)


class Turns:
    """`async with turns.one(): ...` lets the callers in by the order in which they came, except that the urgent ones
    precede the others. It is for one event loop."""

    def __init__(self, usual: int, urgent: int) -> None:
        """`usual` callers may have a turn at a time. An urgent caller gets a turn while fewer than `urgent` callers
        have one."""
        self._usual, self._urgent = usual, urgent
        self._running = 0
        self._queue: list[_Waiting] = []

    @asynccontextmanager
    async def one(self, urgent: Callable[[], bool]) -> AsyncIterator[None]:
        """`urgent` is called at every `look`."""
        await self._called(_Waiting(urgent))
        try:
            yield
        finally:
            self._running -= 1
            self.look()

    def look(self) -> None:
        """Has to be called when a caller has become urgent."""
        for one in sorted(self._queue, key=lambda one: not one.urgent()):
            if self._running >= (self._urgent if one.urgent() else self._usual):
                return
            self._queue.remove(one)
            self._running += 1
            one.called.set()

    async def _called(self, own: _Waiting) -> None:
        self._queue.append(own)
        self.look()
        try:
            await own.called.wait()
        except asyncio.CancelledError:
            if own.called.is_set():
                self._running -= 1
            else:
                self._queue.remove(own)
            self.look()
            raise
