"""Keeps processes running, in rounds. The clock is an argument, so that tests of the back-off need not wait."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from serinus.core.disturbance import Cause
from serinus.core.home import Home
from serinus.disturbances import Journal
from serinus.lib import priority, processes
from serinus.lib.backoff import Backoff
from serinus.targets.local.supervisor import kernel, logs, state
from serinus.targets.local.supervisor.leaving import KILL_SECONDS, Leaving, signalled
from serinus.targets.local.supervisor.registry import CREDENTIALS
from serinus.targets.local.supervisor.state import ProcessRecord

log = logging.getLogger(__name__)

FIRST_DELAY = 0.2
LONGEST_DELAY = 30.0
HEALTHY_AFTER = 60.0
"""Seconds of running after which an earlier death of a process no longer counts."""
LOGS_EVERY = 30.0
_SETTLED = 10.0
"""Seconds after the start of a process that `serves` in which requests may wait for it. The host reports its own
starts."""
_LEAST_GRACE = 1.0
"""The least time between SIGTERM and SIGKILL, also where `pre_stop` has used up the time."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process that should run."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables in addition to those of the supervisor."""
    stop_seconds: float = 15.0
    """The time in which it must end by itself, including `pre_stop`, before it is killed."""
    pre_stop: Sequence[str] = ()
    """A command that is run before SIGTERM, to complete requests in flight (like `preStop` in Kubernetes)."""
    credentials: bool = False
    """Whether it inherits the credentials for MLflow from the supervisor's environment."""
    version: str = ""
    """The version of the installation that it belongs to."""
    prepare: Callable[[], None] | None = None
    """Called before it is started for the first time, and before it replaces the process of another version."""
    answers: Callable[[int], bool] | None = None
    """Whether the process with this id works. None: it works as soon as it runs."""
    decides: bool = False
    """The process stands still during a change of version: it is stopped first and started last."""
    after: str = ""
    """During a change of version, it is replaced after this process, for which it keeps something in the meantime."""
    replaced_by: signal.Signals = signal.SIGTERM
    """The signal that ends the process of another version without ending what it serves."""
    beside: Callable[[Sequence[str]], Sequence[str]] | None = None
    """Returns the command of a process that is started while that of another version still runs.

    The argument is the command of the other one, with a path to its program as it runs. None: it is started after the
    other one has ended.
    """
    dismissal: Sequence[str] = ()
    """With `beside`: a command that has the other one complete its requests, run once the new one answers."""
    nice: int = 0
    """The niceness, from 0 to 19, added to the supervisor's own."""
    serves: bool = False
    """Callers of models notice when it is stopped or started."""


@dataclass(slots=True)
class _Watched:
    spec: ProcessSpec
    record: ProcessRecord
    child: subprocess.Popen[bytes] | None = None
    """None: the process was adopted and is not a child."""
    started: float = 0.0
    seen: float = 0.0
    """The Unix time at which it was last alive. 0: it was not."""
    stopped: int = 0
    """The number of the disturbance of its stop. 0: it was not stopped."""
    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_DELAY, LONGEST_DELAY, at_once=True))
    next_try: float = 0.0
    log_from: int = 0
    held: bool = False
    """It must not be started for now."""
    leaving: Leaving | None = None
    """The process that it has replaced."""
    unwritten: bool = False
    """Its record is not on disk yet."""


class ProcessManager:
    """Runs `specs`, which are sorted by the order of starting. They are stopped in the reverse order.

    `now` returns seconds that never decrease. Running processes are adopted by their record or mark.
    """

    def __init__(self, home: Home, specs: Sequence[ProcessSpec], now: Callable[[], float] = time.monotonic) -> None:
        self._home = home
        self._now = now
        self._logs_seen = now()
        self._journal = Journal(home.disturbances, state.SUPERVISOR)
        there = {record.name: record for record in state.running(home)}
        self._watched = [self._watch(order, spec, there.get(spec.name)) for order, spec in enumerate(specs, start=1)]

    @classmethod
    def of_what_runs(cls, home: Home) -> ProcessManager:
        """Returns a manager for stopping what runs. It uses the records only, whatever the settings are."""
        specs = [ProcessSpec(r.name, (), {}, r.stop_seconds, r.pre_stop, serves=True) for r in state.running(home)]
        return cls(home, specs)

    def _watch(self, order: int, spec: ProcessSpec, there: ProcessRecord | None) -> _Watched:
        before = there or state.read(self._home, spec.name) or ProcessRecord(spec.name, state.STOPPED)
        record = replace(before, order=order, stop_seconds=spec.stop_seconds, pre_stop=tuple(spec.pre_stop))
        watched = _Watched(spec, record, started=self._now())
        if there is not None:
            log.info("%s runs already, pid %d", spec.name, record.pid)
            self._remember(watched, replace(record, state=state.RUNNING))
        else:
            self._prepare(spec)
        watched.leaving = Leaving.found(self._home, watched.record, spec.dismissal)
        if there is None and not record.identity.startswith(processes.boot()):
            # A restart of the machine is not a failure of the process.
            watched.record = replace(record, state=state.STOPPED)
        return watched

    @property
    def outdated(self) -> Sequence[str]:
        """Returns the running processes of another installation."""
        return [w.spec.name for w in self._watched if w.record.version != w.spec.version and _alive(w)]

    def hold(self, name: str) -> None:
        """Stops a process, which then stays stopped until it is replaced or released."""
        watched = self._named(name)
        self._stop(watched)
        watched.held = True

    def release(self, name: str) -> None:
        """Has the next round start it again."""
        self._named(name).held = False

    def replace(self, name: str) -> None:
        """Replaces the process of another installation. Raises SerinusError or OSError, and then the old one
        continues."""
        watched = self._named(name)
        spec, before = watched.spec, watched.record
        log.info("replacing %s", name)
        if spec.beside is not None and _alive(watched):
            command = spec.beside(kernel.command_as_it_runs(before.pid))
            self._prepare(spec)
            watched.leaving = Leaving.of(self._home, before, spec.dismissal)
            self._start(watched, command)
            return
        self._prepare(spec)
        if spec.replaced_by is signal.SIGTERM:
            self._stop(watched)
        elif _alive(watched):
            signalled(watched.record, spec.replaced_by, KILL_SECONDS)
        watched.held = False
        self._start(watched)

    def why_ended(self, name: str) -> str:
        """Returns why it last ended, in words. Empty: it has not."""
        return self._named(name).record.reason

    def ends(self, name: str) -> int:
        """Returns how often it has ended by itself."""
        return self._named(name).record.restarts

    def answers(self, name: str) -> bool:
        """Whether it runs and works."""
        watched = self._named(name)
        return _alive(watched) and (watched.spec.answers is None or watched.spec.answers(watched.record.pid))

    def leaving(self, name: str) -> bool:
        """Whether the process that it has replaced still runs."""
        return self._named(name).leaving is not None

    @staticmethod
    def _prepare(spec: ProcessSpec) -> None:
        if spec.prepare is not None:
            spec.prepare()

    def _named(self, name: str) -> _Watched:
        return next(watched for watched in self._watched if watched.spec.name == name)

    def round(self) -> None:
        """Starts what should run and does not, unless it is backing off."""
        for watched in self._watched:
            if watched.unwritten:
                self._remember(watched, watched.record)
            if _alive(watched):
                watched.seen = time.time()
                if self._now() - watched.started > HEALTHY_AFTER:
                    watched.backoff.reset()
            elif not watched.held:
                self._revive(watched)
            self._see_off(watched)
        self._look_after_logs()

    def _see_off(self, watched: _Watched) -> None:
        answers = partial(self.answers, watched.spec.name)
        if watched.leaving is not None and watched.leaving.see_off(self._now(), answers):
            watched.leaving = None

    # --- starting -----------------------------------------------------------------------------------------

    def _revive(self, watched: _Watched) -> None:
        if watched.record.state == state.RUNNING:
            self._back_off(watched, self._end_in_words(watched))
        if self._now() >= watched.next_try:
            self._start(watched)

    def _back_off(self, watched: _Watched, reason: str) -> None:
        """Schedules the restart: the first at once, and each further one after twice the pause where it dies again
        soon."""
        delay = watched.backoff.pause()
        log.warning("%s %s; starting it again in %.1f s", watched.spec.name, reason, delay)
        self._disturbed(watched, delay)
        watched.next_try = self._now() + delay
        self._remember(watched, replace(watched.record, state=state.BACKING_OFF, reason=reason))

    def _start(self, watched: _Watched, command: Sequence[str] = ()) -> None:
        before = watched.record
        if not command:
            self._sweep(before)  # Workers of a dead server would still hold its port.
        again = before.state == state.BACKING_OFF
        attempt = replace(before, restarts=before.restarts + 1 if again else 0, reason=before.reason if again else "")
        try:
            watched.child, trouble = self._spawn(watched, command or watched.spec.command)
        except OSError as error:
            failed = replace(attempt, pid=0, identity="", since=time.time())
            watched.record = failed
            self._back_off(watched, f"cannot be started: {error.strerror}")
            return
        watched.started = self._now()
        pid = watched.child.pid
        if watched.spec.nice:
            priority.give_way(pid, watched.spec.nice)
        seen = processes.look(pid)
        running = replace(attempt, state=state.RUNNING, pid=pid, identity=seen.identity if seen else "")
        self._disturbed(watched, _SETTLED)
        self._journal.end(watched.stopped)
        watched.seen = time.time()
        running = replace(running, version=watched.spec.version)
        self._remember(watched, replace(running, since=time.time(), reason=trouble or running.reason))

    def _spawn(self, watched: _Watched, command: Sequence[str]) -> tuple[subprocess.Popen[bytes], str]:
        spec = watched.spec
        path = logs.path(self._home, spec.name)
        logs.turn_over(path)
        watched.log_from = logs.size(path)
        output, trouble = logs.open_log(path)
        try:
            child = subprocess.Popen(
                list(command),
                env={**_inherited(spec), **spec.environment, kernel.MARK: spec.name},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal of `up` is not meant for it.
                cwd=self._home.path,
            )
        finally:
            os.close(output)
        return child, trouble

    def _disturbed(self, watched: _Watched, seconds: float) -> None:
        """Records a disturbance from when it was last alive until so many seconds from now."""
        if watched.spec.serves:
            self._journal.mark(Cause.RESTART, seconds, since=watched.seen or None)

    def _end_in_words(self, watched: _Watched) -> str:
        code = None if watched.child is None else watched.child.poll()  # It may have ended since.
        if code is None:
            return "died"
        if code < 0:
            return f"killed by {_signal_name(-code)}"
        words = logs.last_words(logs.path(self._home, watched.spec.name), watched.log_from) if code else ""
        return f"exited with {code}" + (f": {words}" if words else "")

    def _remember(self, watched: _Watched, record: ProcessRecord) -> None:
        watched.record = record

        # A full disk must not stop the supervisor. It continues with what is in memory, and after its death its
        # processes are found by their marks. Writing is tried again in every round.
        try:
            state.write(self._home, record)
            watched.unwritten = False
        except OSError:
            watched.unwritten = True

    def _look_after_logs(self) -> None:
        if self._now() - self._logs_seen < LOGS_EVERY:
            return
        self._logs_seen = self._now()
        for name in (state.SUPERVISOR, *(watched.spec.name for watched in self._watched)):
            logs.turn_over(logs.path(self._home, name))

    # --- stopping -----------------------------------------------------------------------------------------

    def stop(self) -> Sequence[str]:
        """Ends everything, the last started first, with time to complete requests in flight.

        Returns the names of processes that do not even end when they are killed.
        """
        return [watched.spec.name for watched in reversed(self._watched) if not self._stop(watched)]

    def _stop(self, watched: _Watched) -> bool:
        if _alive(watched):
            if watched.spec.serves:  # The disturbance lasts until it is started again by any supervisor.
                watched.stopped = self._journal.begin(Cause.RESTART)
            self._remember(watched, replace(watched.record, state=state.STOPPING))
            how = self._end(watched)
            if _alive(watched):
                log.error("%s (pid %d) does not end", watched.spec.name, watched.record.pid)
                return False
            log.info("%s %s", watched.spec.name, how)
            self._remember(watched, replace(watched.record, state=state.STOPPED, reason=how))
        elif watched.record.state != state.STOPPED:
            self._remember(watched, replace(watched.record, state=state.STOPPED))
        self._sweep(watched.record)
        if watched.leaving is not None:
            watched.leaving.end()
            watched.leaving = None
        return True

    def _end(self, watched: _Watched) -> str:
        """Ends a process and returns how, in words."""
        deadline = time.monotonic() + watched.spec.stop_seconds
        self._run_pre_stop(watched.spec)
        patience = max(deadline - time.monotonic(), _LEAST_GRACE)
        if signalled(watched.record, signal.SIGTERM, patience):
            return "stopped"
        signalled(watched.record, signal.SIGKILL, KILL_SECONDS)
        return f"killed, as it did not stop within {watched.spec.stop_seconds:g} s"

    def _run_pre_stop(self, spec: ProcessSpec) -> None:
        if not spec.pre_stop:
            return
        try:
            done = subprocess.run(
                list(spec.pre_stop),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=spec.stop_seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("what is to be done before %s stops was not done: %s", spec.name, type(error).__name__)
            return
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip()[-300:]
            log.warning("what is to be done before %s stops failed: %s", spec.name, words)

    def _sweep(self, record: ProcessRecord) -> None:
        """Ends what a dead process has left behind. Processes of others are spared, even where they have its id now."""
        if record.pid <= 0 or state.alive(record):
            return
        for left in kernel.followers(record.pid, record.name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(left.pid, signal.SIGKILL)


def _inherited(spec: ProcessSpec) -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if spec.credentials or name not in CREDENTIALS}


def _alive(watched: _Watched) -> bool:
    if watched.child is not None:
        watched.child.poll()  # This reaps, so that a dead child is seen as dead.
    return state.alive(watched.record)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # Real-time signals have no names.
        return f"signal {number}"
