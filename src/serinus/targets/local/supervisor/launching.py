"""Starts a supervisor, and waits until everything answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from serinus.core.errors import Refused, SerinusError, Unavailable
from serinus.core.home import Home
from serinus.lib import locks, tied
from serinus.targets.local.supervisor import directories, kernel, logs, state
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor.checks import Check, Silent, local_checks, silent_models
from serinus.targets.local.supervisor.settings import Settings
from serinus.targets.local.supervisor.state import SUPERVISOR
from serinus.targets.local.supervisor.version import installed

START_SECONDS = 120.0
MODELS_SECONDS = 60.0
"""The time limit for the answers of the champions that are in use. Those that do not answer are reported, and nothing
is stopped because of them."""
GIVE_UP_AFTER = 5
"""The number of restarts of one process during the start of the others, after which the start fails."""
REHEARSAL_SECONDS = 300.0
"""The time limit for a new version to check itself with a copy of the store."""
_NAMED = 5
"""The number of models that a line of progress names."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Launch:
    """The processes that `up` starts, and how it determines that all of them answer. `command`, followed by `--home
    DIR`, starts the supervisor."""

    command: Sequence[str] = field(default=(sys.executable, "-P", "-m", "serinus.wiring", SUPERVISOR))
    checks: Callable[[Home, Settings], Sequence[Check]] = local_checks
    silent: Callable[[Home, Settings], Sequence[Silent]] = silent_models
    version: str = field(default_factory=installed)
    """The version of the installation. A supervisor of another version is replaced, with all processes that it keeps
    running."""
    rehearse: Callable[[Home], None] = field(default_factory=lambda: rehearse)
    """Checks this version before it replaces another one. Raises Unavailable."""
    install: Callable[[Home, Settings, Say], Settings] = field(default_factory=lambda: install)
    """Installs what must be there before the processes start, and returns the settings afterwards. Raises Refused."""


def start_supervisor(
    home: Home, launch: Launch, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts the supervisor in a session of its own. Its output goes to its log."""
    output, _ = logs.open_log(logs.path(home, SUPERVISOR))
    try:
        return subprocess.Popen(
            [*launch.command, "--home", str(home.path)],
            env={**(os.environ if environment is None else environment), kernel.MARK: SUPERVISOR},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=home.path,
        )
    finally:
        os.close(output)


@dataclass(frozen=True, slots=True)
class Beginning:
    """The state before the start, so that only what happens from then on counts."""

    restarts: Mapping[str, int]
    log_size: int

    @classmethod
    def of(cls, home: Home) -> Beginning:
        """Returns the present state of the home."""
        return cls(_restarts(home), logs.size(logs.path(home, SUPERVISOR)))


def _restarts(home: Home) -> Mapping[str, int]:
    counting = (state.RUNNING, state.BACKING_OFF, state.GONE)
    return {p["name"]: p["restarts"] for p in state.processes(home) if p["state"] in counting}


def wait(home: Home, checks: Sequence[Check], supervisor: subprocess.Popen[bytes], began: Beginning, say: Say) -> None:
    """Waits until all checks succeed and the supervisor has taken over. `say` gets a line for each check that succeeds.
    Raises Unavailable if a process does not come up, and Refused if the supervisor was stopped in the meantime."""
    waiting = list(checks)
    deadline = time.monotonic() + START_SECONDS
    while True:
        for check in [check for check in waiting if check.answers()]:
            waiting.remove(check)
            say(f"{check.label} answers")
        if supervisor.poll() is not None:
            raise _supervisor_ended(home, supervisor.returncode, began)
        if not waiting and locks.is_held(directories.supervisor_lock(home)):
            return  # The processes of an earlier supervisor answer before the new one has taken over.
        ended = {name: count - began.restarts.get(name, 0) for name, count in _restarts(home).items()}
        hopeless = [check for check in waiting if ended.get(check.process, 0) >= GIVE_UP_AFTER]
        if hopeless or time.monotonic() > deadline:
            silent = [f"{check.label} did not come up{reason(home, check)}" for check in hopeless or waiting]
            what = "; ".join(silent) or "the supervisor did not take over"
            raise Unavailable(what, hint=f"See the logs in {home.logs}.")
        time.sleep(0.1)


def wait_for_models(home: Home, settings: Settings, launch: Launch, say: Say) -> Sequence[str]:
    """Waits until no champion is still starting. Returns a sentence about each one that does not answer."""
    deadline = time.monotonic() + MODELS_SECONDS
    waited = 0
    while True:
        try:
            silent = launch.silent(home, settings)
        except Unavailable as error:
            return (f"{error}; `serinus status` tells",)
        coming = [one for one in silent if one.coming]
        if len(coming) != waited:
            waited = len(coming)
            names = ", ".join(one.model for one in coming[:_NAMED]) + (", ..." if waited > _NAMED else "")
            say(f"waiting for {waited} {'model' if waited == 1 else 'models'}: {names}" if waited else "models answer")
        if not coming or time.monotonic() > deadline:
            return [f"{one.model} does not answer: its champion is {one.why}" for one in silent]
        time.sleep(0.1)


def _supervisor_ended(home: Home, code: int, began: Beginning) -> SerinusError:
    if code == 0 or code == -signal.SIGTERM:
        return Refused("it was stopped while it was starting", hint="`serinus up` starts it again.")
    log = logs.path(home, SUPERVISOR)
    words = logs.last_words(log, began.log_size)
    return Unavailable(f"the supervisor ended: {words or f'exit status {code}'}", hint=f"Its log is {log}.")


def reason(home: Home, check: Check) -> str:
    """Returns why the process of the check ended the last time, in parentheses, or an empty text."""
    record = state.read(home, check.process)
    return f" ({record.name}: {record.reason})" if record is not None and record.reason else ""


def rehearse(home: Home) -> None:
    """Runs the check in a process of its own. Raises Unavailable with the text of this version's control process."""
    words = [sys.executable, "-P", "-m", "serinus.wiring", "rehearsal", "--home", str(home.path)]
    try:
        done = tied.run(words, timeout=REHEARSAL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            f"the new version did not check itself within {REHEARSAL_SECONDS:g} s, so nothing was replaced",
            hint=_AS_IT_WAS,
        ) from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or f"exit status {done.returncode}"
        raise Unavailable(f"the new version would not start, so nothing was replaced: {said}", hint=_AS_IT_WAS)


def install(home: Home, settings: Settings, say: Say) -> Settings:
    """Has the gateways of the cluster installed, where releases run on one. Raises Refused with the reason in words."""
    if settings.serves:
        return settings
    words = [sys.executable, "-P", "-m", "serinus.wiring", "install", "--home", str(home.path)]
    pipe = subprocess.PIPE
    with tied.start(words, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        for line in process.stdout:
            say(line.decode(errors="replace").rstrip())
        _, said = process.communicate()
        code = process.wait()
    reason = said.decode(errors="replace").strip()
    found = chosen.load(home)
    if code != 0 or found is None:
        # A defect ends with a traceback, of which the last line says what happened.
        reason = reason.rpartition("\n")[2] if "Traceback" in reason else reason
        raise Refused(f"the gateways of the cluster are not installed: {reason or f'exit status {code}'}")
    return found


_AS_IT_WAS = "The processes of the version before keep running. Correct what is named, or install the version before."
