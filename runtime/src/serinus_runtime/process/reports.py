"""Reading of a worker's reports, by the process that has started it (see `wire` and `load_report`).

A model could write reports, so they are trusted in nothing beyond their types, and the amount that is read before the
decisive one is limited.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Sequence

from serinus_runtime.process.load_report import Load
from serinus_runtime.process.process_memory import Memory

_LONGEST_LINE = 1 << 20
_AT_ONCE = 1 << 16
"""The number of bytes that are read at a time, so that a worker that sends more only delays itself."""
_MOST_WHILE_LOADING = 4 << 20
"""The number of bytes that are read before a worker is ready or has failed. It is far more than the longest report."""
LAST_WORDS = 0.5
"""Seconds in which a report may arrive after its writer has ended."""
_STATES = ("loading", "ready", "failed", "stats")
_MODULE = re.compile(r"\w+(\.\w+)*\Z")
_MOST_MODULES, _LONGEST_MODULE = 10_000, 200
_LARGEST = 1 << 63

Words = Callable[[str], str]
"""Makes text from outside safe to show."""


@dataclass(frozen=True)
class Report:
    """The result of loading. `stats` says nothing about it, and is a `Load`."""

    state: str
    """`loading`, `ready`, `failed` or `stats`."""
    reason: str = ""
    damaged: bool = False
    """It failed because the files of the compiled model are not those that were proven."""
    load_seconds: float | None = None
    warm_up_ms: float | None = None
    memory_bytes: int | None = None
    own_bytes: int | None = None
    confined: bool = False
    notes: Sequence[str] = ()
    way: str = ""
    proven: str = ""
    """The proven way, for the next worker."""
    modules: Sequence[str] = ()
    """The modules that it has imported from its environment, in order."""

    @property
    def memory(self) -> Memory | None:
        """The memory of the worker. None: unknown."""
        if self.memory_bytes is None or self.own_bytes is None:
            return None
        return Memory(self.memory_bytes, self.own_bytes)


def report_of(line: bytes, words: Words) -> Report:
    """Parses a line. Raises ValueError where it is not a report."""
    said = _object(line)
    state = said.get("state")
    if state not in _STATES:
        raise ValueError("it has no state that there is")
    return Report(
        state=state,
        reason=words(_text(said, "reason")),
        damaged=_flag(said, "damaged"),
        load_seconds=_number(said, "load_seconds"),
        warm_up_ms=_number(said, "warm_up_ms"),
        memory_bytes=None if said.get("memory_bytes") is None else _count(said, "memory_bytes"),
        own_bytes=None if said.get("own_bytes") is None else _count(said, "own_bytes"),
        confined=_flag(said, "confined"),
        notes=[words(note) for note in _texts(said, "notes")],
        way=words(_text(said, "way")),
        proven=words(_text(said, "proven")),
        modules=_modules(said),
    )


def load_of(line: bytes) -> Load:
    """Parses a line of a serving worker, cumulative since its start. Raises ValueError where it is not one."""
    said = _object(line)
    if said.get("state") != "stats":
        raise ValueError("it is no report of a load")
    return Load(*(_count(said, name) for name in Load._fields))


def _object(line: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(line)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(said, dict):
        raise ValueError("it is no object")
    return said


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return value


def _texts(said: Mapping[str, Any], name: str) -> Sequence[str]:
    values = said.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} are no texts")
    return values


def _modules(said: Mapping[str, Any]) -> Sequence[str]:
    names = _texts(said, "modules")
    if len(names) > _MOST_MODULES or not all(len(name) <= _LONGEST_MODULE and _MODULE.match(name) for name in names):
        raise ValueError("modules are no names of modules")
    return names


def _flag(said: Mapping[str, Any], name: str) -> bool:
    value = said.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is neither true nor false")
    return value


def _number(said: Mapping[str, Any], name: str) -> float | None:
    value = said.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} is no finite number")
    return float(value)


def _count(said: Mapping[str, Any], name: str) -> int:
    value = said.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST:
        raise ValueError(f"{name} is no count")
    return value


class Reports:
    """Reads reports from a descriptor, which it closes."""

    def __init__(self, descriptor: int, words: Words) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._words = words
        self._buffer = b""
        self._read_bytes = 0
        self._open = True

    async def outcome(self, exited: asyncio.Future[Any], seconds: float) -> Report | None:
        """Returns the first report that the worker is ready or has failed. None: there was none before its end, or
        within `seconds`. `exited` is done when the worker has ended."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        reading = asyncio.ensure_future(self._outcome())
        either: set[asyncio.Future[Any]] = {reading, exited}
        try:
            await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if exited.done():
                await asyncio.wait({reading}, timeout=LAST_WORDS)
            elif reading.done() and reading.result() is None:  # It has closed its end without a report.
                await asyncio.wait({exited}, timeout=max(0.0, end - loop.time()))
            return reading.result() if reading.done() else None
        finally:
            reading.cancel()

    async def _outcome(self) -> Report | None:
        """Returns the first report. None: the worker has closed its end without one."""
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
                report = report_of(line, self._words)
                if report.state in ("ready", "failed"):  # A worker whose report was delayed may report requests first.
                    return report
        except ValueError:  # It is not a report.
            return _nonsense()
        too_much = len(self._buffer) > _LONGEST_LINE or self._read_bytes > _MOST_WHILE_LOADING
        return _nonsense() if too_much else None

    def stats(self) -> Load | None:
        """Returns the latest load that has arrived since the last call. None: there is none. Does not wait."""
        if not self._open or not self._more():
            return None
        latest = None
        for line in self._lines():
            with suppress(ValueError):  # A model that writes here only affects itself.
                latest = load_of(line)
        self._buffer = self._buffer[-_AT_ONCE:]
        return latest

    def close(self) -> None:
        """Closes the descriptor. A second call does nothing."""
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)

    def _more(self) -> bool:
        """Reads what has arrived. Returns False at the end."""
        try:
            part = os.read(self._descriptor, _AT_ONCE)
        except BlockingIOError:
            return True
        except ConnectionResetError:  # It has ended without reading what was sent to it.
            return False
        self._buffer += part
        self._read_bytes += len(part)
        return bool(part)

    def _lines(self) -> list[bytes]:
        *lines, self._buffer = self._buffer.split(b"\n")
        return lines


def _nonsense() -> Report:
    return Report("failed", reason="it reported something that the runtime does not say")
