"""`up` that stays: for a terminal, an init system or a container, which watch one process and stop it by a signal."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from serinus.core.errors import Unavailable
from serinus.core.home import Home
from serinus.supervisor import directories, logs, state
from serinus.supervisor.launching import START_SECONDS, Say
from serinus.supervisor.lifecycle import Addresses, down
from serinus.supervisor.notify import Notifier

EVERY = 0.2
"""Seconds between two looks."""
_MOST_OF_A_LOG = 256 * 1024
"""Bytes of one log that are passed on at a time, so that a flood in one does not hold up the others."""


class Stopped(BaseException):
    """SIGTERM while everything was starting. Like Ctrl-C: what was started is undone."""


def stay(home: Home, start: Callable[[], Addresses], say: Say, notifier: Notifier, *, line: Say | None = None) -> None:
    """Starts everything by `start`, says that it is ready, and returns after SIGTERM or SIGINT, when everything has
    stopped; also after a `serinus down` elsewhere.

    `line`: gets what the processes write to their logs from now on. Raises what `start` raises, `Stopped`, and
    Unavailable where the supervisor has ended by itself, or something cannot be stopped.
    """
    home = Home(home.path.resolve())
    notifier.say(STATUS="starting", EXTEND_TIMEOUT_USEC=round(3 * START_SECONDS * 1e6))
    with _ended_by_sigterm():
        addresses = start()
    follower = Follower(home) if line is not None else None
    with _told_to_stop() as stop:
        notifier.say(READY=1, STATUS=f"models are served at {addresses.envoy}")
        _watch(home, stop, notifier, lambda: follower.pass_on(line) if follower and line else None)
        notifier.say(STOPPING=1, STATUS="stopping")
        if stop.wanted:
            down(home, say)
        if follower and line:
            follower.pass_on(line)


@dataclass(slots=True)
class Stop:
    wanted: bool = False

    def __call__(self, *_: object) -> None:
        self.wanted = True


def _watch(home: Home, stop: Stop, notifier: Notifier, each: Callable[[], None]) -> None:
    """Until it is told to stop or everything was stopped. Unavailable: the supervisor has ended by itself."""
    pinged = 0.0
    while not stop.wanted:
        if notifier.watchdog and time.monotonic() - pinged > notifier.watchdog / 3:
            pinged = time.monotonic()
            notifier.say(WATCHDOG=1)
        each()
        if not _supervised(home) and not stop.wanted:
            if not state.running(home):
                return  # `serinus down`
            raise Unavailable(
                "the supervisor ended by itself: what it kept goes on running, but is not restarted",
                hint=f"Its log is {logs.path(home, state.SUPERVISOR)}; `serinus up` takes over what runs.",
            )
        time.sleep(EVERY)


def _supervised(home: Home) -> bool:
    """Also while somebody else starts or stops it."""
    if state.alive(state.read(home, state.SUPERVISOR)) or state.find(home, state.SUPERVISOR) is not None:
        return True
    return directories.is_locked(home.path / directories.UP_LOCK)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    def end(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _told_to_stop() -> Iterator[Stop]:
    stop = Stop()
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class Follower:
    """What the processes of a home write to their logs from now on, each line with its process's name."""

    home: Home
    _offsets: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._offsets = {name: logs.size(path) for name, path in self._logs()}

    def pass_on(self, line: Say) -> None:
        """Whole lines; one that is not finished waits for its end."""
        for name, path in self._logs():
            for text in self._new(name, path):
                line(f"{name:<10} {text}")

    def _logs(self) -> Iterator[tuple[str, Path]]:
        """Of Serinus' own processes. What models write is theirs, and stays in the logs of their releases."""
        for record in sorted(self.home.run.glob("*.json")):
            yield record.stem, logs.path(self.home, record.stem)

    def _new(self, name: str, path: Path) -> list[str]:
        since = self._offsets.get(name, 0)
        if logs.size(path) < since:
            since = 0  # it was turned over
        try:
            with path.open("rb") as file:
                file.seek(since)
                content = file.read(_MOST_OF_A_LOG)
        except OSError:
            return []
        whole = content.rpartition(b"\n")[0] + b"\n" if b"\n" in content else b""
        if not whole and len(content) == _MOST_OF_A_LOG:
            whole = content  # a line without an end
        self._offsets[name] = since + len(whole)
        return whole.decode(errors="replace").splitlines()
