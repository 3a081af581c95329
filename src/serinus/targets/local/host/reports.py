"""What a worker reports to the host. A model could write it: nothing here is trusted beyond its type, and of what comes
before the one report that counts only so much is read."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, FiniteFloat, NonNegativeInt, StringConstraints

from serinus.core.text import one_line
from serinus.targets.local.host.process_memory import Memory

_LONGEST_LINE = 1 << 20
_AT_ONCE = 1 << 16
"""Bytes that are read at a time, so that a worker that says more only makes itself wait."""
_MOST_WHILE_LOADING = 4 << 20
"""Bytes, before it says that it is ready or has failed: far beyond the longest report."""

_Words = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(one_line)]
_Module = Annotated[str, StringConstraints(pattern=r"^\w+(\.\w+)*$", max_length=200)]


class Report(BaseModel):
    """What became of the load. `stats` says nothing of it: see `Stats`."""

    state: Literal["loading", "ready", "failed", "stats"]
    reason: _Words = ""
    damaged: bool = False
    """It failed because the files of the compiled model are not those that were proven."""
    load_seconds: FiniteFloat | None = None
    warm_up_ms: FiniteFloat | None = None
    memory_bytes: NonNegativeInt | None = None
    own_bytes: NonNegativeInt | None = None
    confined: bool = False
    notes: list[_Words] = []
    way: _Words = ""
    proven: _Words = ""
    """What the next worker is told, so that it need not prove it again."""
    modules: Annotated[list[_Module], Field(max_length=10_000)] = []
    """What it has imported from its environment, in order."""

    @property
    def memory(self) -> Memory | None:
        if self.memory_bytes is None or self.own_bytes is None:
            return None
        return Memory(self.memory_bytes, self.own_bytes)


class Stats(BaseModel):
    """Of a worker that serves, since its start."""

    state: Literal["stats"]
    requests: NonNegativeInt
    waiting: NonNegativeInt = 0
    connections: NonNegativeInt = 0


class Reports:
    """The descriptor to read from, which it closes."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._buffer = b""
        self._read_bytes = 0
        self._open = True

    async def outcome(self) -> Report | None:
        """The first report that it is ready or has failed. None: it has closed its end without a word."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Report | None] = loop.create_future()
        loop.add_reader(self._descriptor, self._read, told)
        try:
            return await told
        finally:
            loop.remove_reader(self._descriptor)

    def _read(self, told: asyncio.Future[Report | None]) -> None:
        more = self._more()
        report = self._reported()
        if not told.done() and (report is not None or not more):
            told.set_result(report)

    def _reported(self) -> Report | None:
        try:
            for line in self._lines():
                report = Report.model_validate_json(line)
                if report.state in ("ready", "failed"):  # a worker that was kept waiting may speak of requests first
                    return report
        except ValueError:  # pydantic's, for what is no report
            return _nonsense()
        too_much = len(self._buffer) > _LONGEST_LINE or self._read_bytes > _MOST_WHILE_LOADING
        return _nonsense() if too_much else None

    def stats(self) -> Stats | None:
        """The latest that has arrived since the last call, or None. Does not wait."""
        if not self._open or not self._more():
            return None
        latest = None
        for line in self._lines():
            with suppress(ValueError):  # a model that writes here speaks for itself alone
                latest = Stats.model_validate_json(line)
        self._buffer = self._buffer[-_AT_ONCE:]
        return latest

    def close(self) -> None:
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)

    def _more(self) -> bool:
        """Reads what is there; False at the end of it."""
        try:
            part = os.read(self._descriptor, _AT_ONCE)
        except BlockingIOError:
            return True
        except ConnectionResetError:  # it has ended without reading what it was handed
            return False
        self._buffer += part
        self._read_bytes += len(part)
        return bool(part)

    def _lines(self) -> list[bytes]:
        *lines, self._buffer = self._buffer.split(b"\n")
        return lines


def _nonsense() -> Report:
    return Report(state="failed", reason="it reported something that the runtime does not say")
