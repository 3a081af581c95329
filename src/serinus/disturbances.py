"""The record of disturbances: a file for each process of Serinus that reports them. Models cannot write to these files.

    <home>/disturbances/<writer>.jsonl
    {"id": 7, "cause": "wake", "model": "card-fraud", "since": 1764392000.1}
    {"id": 7, "until": 1764392004.2}

A line is written before the disturbance has any effect, so that the collector, which counts requests some time after
they were answered, knows of it. `since` may lie in the past where the disturbance was found out afterwards, but by less
than the delay of counting.
"""

from __future__ import annotations

import json
import logging
import os
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serinus.core.disturbance import LONGEST, Cause, Disturbance
from serinus.lib import files

log = logging.getLogger(__name__)

_KEPT = 86_400.0
"""Seconds for which a disturbance is kept after its end. Records are rolled up long before."""
_LARGE = 256 * 1024
"""The size in bytes from which on the file is rewritten without disturbances that are over."""


class Journal:
    """The only writer of its file, in one thread. A full disk does not stop it, but what it could not write remains
    unknown to the collector."""

    def __init__(self, directory: Path, writer: str, now: Callable[[], float] = time.time) -> None:
        """Ends the disturbances that an earlier process has left open."""
        self._path, self._now = directory / f"{writer}.jsonl", now
        self._last, self._most = 0, _LARGE
        self._open: dict[int, Disturbance] = {}
        for number, found in _read(self._path).items():
            self._last = max(self._last, number)
            if found.until is None:
                self._open[number] = found
        for number in list(self._open):
            self.end(number)

    def begin(self, cause: Cause, model: str = "", since: float | None = None) -> int:
        """Begins a disturbance and returns its number, for `end`."""
        self._last += 1
        begun = Disturbance(cause, self._now() if since is None else since, None, model)
        self._open[self._last] = begun
        self._write(_first_line(self._last, begun))
        return self._last

    def end(self, number: int, settled: float = 0.0) -> None:
        """Ends a disturbance. `settled` is for how many seconds its effects still last. A second call does nothing."""
        if self._open.pop(number, None) is not None:
            self._write({"id": number, "until": self._now() + settled})

    def mark(self, cause: Cause, seconds: float, model: str = "", since: float | None = None) -> None:
        """Records a disturbance that will end so many seconds from now."""
        self.end(self.begin(cause, model, since), seconds)

    def _write(self, line: Mapping[str, object]) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, json.dumps(line).encode() + b"\n")
                large = os.fstat(descriptor).st_size > self._most
            finally:
                os.close(descriptor)
            if large:
                self._shorten()
        except OSError as error:
            log.warning("a disturbance could not be written down: %s", error.strerror)

    def _shorten(self) -> None:
        since = self._now() - _KEPT
        kept = {number: one for number, one in _read(self._path).items() if one.end >= since}
        lines: list[Mapping[str, object]] = []
        for number, one in kept.items():
            lines.append(_first_line(number, one))
            if one.until is not None:
                lines.append({"id": number, "until": one.until})
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        files.write(self._path, text)
        self._most = max(_LARGE, 2 * len(text))


class Disturbances:
    """Reads the files of all writers of a home. Thread-safe."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: Mapping[Path, _Known] = {}

    def within(self, since: float, until: float) -> Sequence[Disturbance]:
        """Returns the disturbances that overlap an interval, in Unix seconds."""
        self._look()
        return [
            one for known in self._known.values() for one in known.begun(since - LONGEST, until) if one.end >= since
        ]

    def _look(self) -> None:
        """Reads the files that have changed."""
        known = {}
        for path in self._directory.glob("*.jsonl"):
            try:
                there = path.stat()
            except FileNotFoundError:
                continue
            mark = there.st_ino, there.st_size
            before = self._known.get(path)
            known[path] = before if before and before.mark == mark else _Known.of(mark, _read(path).values())
        self._known = known


@dataclass(frozen=True, slots=True)
class _Known:
    """The disturbances of one file, in the order of their beginning."""

    mark: tuple[int, int]
    """Identifies the content of the file, to detect changes."""
    disturbances: Sequence[Disturbance]
    begins: Sequence[float]

    @classmethod
    def of(cls, mark: tuple[int, int], found: Iterable[Disturbance]) -> _Known:
        ordered = sorted(found, key=lambda one: one.since)
        return cls(mark, ordered, [one.since for one in ordered])

    def begun(self, since: float, until: float) -> Sequence[Disturbance]:
        return self.disturbances[bisect_left(self.begins, since) : bisect_right(self.begins, until)]


def _first_line(number: int, one: Disturbance) -> Mapping[str, object]:
    return {"id": number, "cause": one.cause.value, "model": one.model, "since": one.since}


def _read(path: Path) -> Mapping[int, Disturbance]:
    """Returns disturbances by number. Truncated lines, and lines of a later version, are skipped."""
    found: dict[int, Disturbance] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            said = json.loads(line)
            number, until = int(said["id"]), said.get("until")
            if until is None:
                found[number] = Disturbance(Cause(said["cause"]), float(said["since"]), None, str(said["model"]))
            else:
                begun = found[number]
                found[number] = Disturbance(begun.cause, begun.since, float(until), begun.model)
        except (ValueError, TypeError, KeyError):
            continue
    return found
