"""`up --foreground`, for a terminal, an init system or a container, which watch one process and stop it by a signal."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from serinus.core.errors import Unavailable
from serinus.core.home import Home
from serinus.lib import locks
from serinus.targets.local.supervisor import directories, logs, state
from serinus.targets.local.supervisor.launching import START_SECONDS, Say
from serinus.targets.local.supervisor.lifecycle import Addresses, down
from serinus.targets.local.supervisor.notify import Notifier

EVERY = 0.2
"""Seconds between two checks."""
_MOST_OF_A_LOG = 256 * 1024
"""The number of bytes of one log that are forwarded at a time, so that a flood in one log does not delay the others."""


class Stopped(BaseException):
    """SIGTERM was received during the start. As after Ctrl-C, what was started is stopped again."""


@dataclass(frozen=True, slots=True)
class Reload:
    """The effect of SIGHUP: a newly installed version takes over."""

    upgrade: Sequence[str]
    """The command of the new version's `up`."""
    again: Sequence[str]
    """The command that this process then executes by execve(2). Its process id, by which the init system knows it,
    stays."""


def stay(
    home: Home,
    start: Callable[[], Addresses],
    say: Say,
    notifier: Notifier,
    *,
    line: Say | None = None,
    reload: Reload | None = None,
) -> None:
    """Starts everything by `start`, reports readiness, and returns after SIGTERM or SIGINT, or after a `serinus down`,
    when everything has stopped.

    `line` gets the lines that the processes write to their logs from now on. Without `reload`, SIGHUP is not handled.
    Raises what `start` raises, `Stopped`, and Unavailable where the supervisor has ended by itself or something cannot
    be stopped.
    """
    home = Home(home.path.resolve())
    notifier.say(STATUS="starting", EXTEND_TIMEOUT_USEC=round(3 * START_SECONDS * 1e6))
    with _ended_by_sigterm():
        addresses = start()
    follower = Follower(home) if line is not None else None
    with _told(hang_up=reload is not None) as told:
        ready = f"models are served at {addresses.envoy}"
        notifier.say(READY=1, STATUS=ready)
        upgrading = _Upgrading(told, reload, say, notifier, ready)

        def each() -> None:
            upgrading.look()
            if follower and line:
                follower.pass_on(line)

        _watch(home, told, notifier, each)
        upgrading.end()
        notifier.say(STOPPING=1, STATUS="stopping")
        if told.stop:
            down(home, say)
        if follower and line:
            follower.pass_on(line)


@dataclass(slots=True)
class _Told:
    """The signals that were received."""

    stop: bool = False
    reload: bool = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stop = True


@dataclass(slots=True)
class _Upgrading:
    """Has the installed version take over when a signal requests that, and then executes it."""

    told: _Told
    reload: Reload | None
    say: Say
    notifier: Notifier
    ready: str
    """The status while nothing is in progress."""
    process: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        if self.told.reload and self.reload is not None and self.process is None:
            self.told.reload = False
            self.notifier.say(STATUS="replacing the processes of another version")
            self.process = subprocess.Popen(list(self.reload.upgrade), stdin=subprocess.DEVNULL)
        code = None if self.process is None else self.process.poll()
        if code == 0 and self.reload is not None:
            sys.stdout.flush()  # Output that is still buffered would be lost.
            sys.stderr.flush()
            os.execve(self.reload.again[0], list(self.reload.again), {**os.environ, **self.notifier.environment()})  # noqa: S606
        if code is not None:
            self.process = None
            self.say("the installed version did not take over; the processes of the version before keep running")
            self.notifier.say(STATUS=self.ready)

    def end(self) -> None:
        """Interrupts the upgrade, as Ctrl-C does. The former version takes over again."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()


def _watch(home: Home, told: _Told, notifier: Notifier, each: Callable[[], None]) -> None:
    """Waits for a signal to stop, or until everything was stopped. Raises Unavailable where the supervisor has ended by
    itself."""
    pinged = 0.0
    while not told.stop:
        if notifier.watchdog and time.monotonic() - pinged > notifier.watchdog / 3:
            pinged = time.monotonic()
            notifier.say(WATCHDOG=1)
        each()
        if not _supervised(home) and not told.stop:
            if not state.running(home):
                return  # After `serinus down`.
            raise Unavailable(
                "the supervisor ended by itself: its processes keep running, but are not restarted",
                hint=f"Its log is {logs.path(home, state.SUPERVISOR)}; `serinus up` takes over the processes that "
                "are running.",
            )
        time.sleep(EVERY)


def _supervised(home: Home) -> bool:
    """Whether there is a supervisor, or somebody is starting or stopping one."""
    if state.alive(state.read(home, state.SUPERVISOR)) or state.find(home, state.SUPERVISOR) is not None:
        return True
    return locks.is_held(home.path / directories.UP_LOCK)


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
def _told(*, hang_up: bool) -> Iterator[_Told]:
    told = _Told()
    numbers = (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hang_up else ()))
    before = {number: signal.signal(number, told) for number in numbers}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class Follower:
    """Forwards what the processes of a home write to their logs, each line with the name of its process."""

    home: Home
    _offsets: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._offsets = {name: logs.size(path) for name, path in self._logs()}

    def pass_on(self, line: Say) -> None:
        """Forwards whole lines. An incomplete one waits for its end."""
        for name, path in self._logs():
            for text in self._new(name, path):
                line(f"{name:<10} {text}")

    def _logs(self) -> Iterator[tuple[str, Path]]:
        """Yields the logs of Serinus' own processes. Output of models stays in the logs of their releases."""
        for record in sorted(self.home.run.glob("*.json")):
            yield record.stem, logs.path(self.home, record.stem)

    def _new(self, name: str, path: Path) -> list[str]:
        since = self._offsets.get(name, 0)
        if logs.size(path) < since:
            since = 0  # The log was rotated.
        try:
            with path.open("rb") as file:
                file.seek(since)
                content = file.read(_MOST_OF_A_LOG)
        except OSError:
            return []
        whole = content.rpartition(b"\n")[0] + b"\n" if b"\n" in content else b""
        if not whole and len(content) == _MOST_OF_A_LOG:
            whole = content  # A line without an end.
        self._offsets[name] = since + len(whole)
        return whole.decode(errors="replace").splitlines()
