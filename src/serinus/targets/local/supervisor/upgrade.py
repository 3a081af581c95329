"""`up` on a home that another version of Serinus keeps running: its processes are replaced while callers are served.

First the new version checks what it can without changing anything. Then its supervisor replaces the running supervisor,
and after it the other processes (`succession`). If one of them does not come up, the supervisor of the former version
is started again and replaces them in turn.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from serinus.core.errors import SerinusError, Unavailable
from serinus.core.home import Home
from serinus.targets.local.supervisor import kernel, logs, registry, state
from serinus.targets.local.supervisor.launching import Beginning, Launch, Say, start_supervisor, wait
from serinus.targets.local.supervisor.settings import Settings
from serinus.targets.local.supervisor.state import SUPERVISOR, ProcessRecord
from serinus.targets.local.supervisor.version import number

_LOOK = 0.1


def take_over(home: Home, settings: Settings, before: ProcessRecord, say: Say, launch: Launch) -> None:
    """Raises Unavailable where this version does not come up, and OSError. The former version serves then."""
    ours, theirs = number(launch.version), number(before.version) or "an earlier version"
    say(f"{theirs} runs: {ours} takes its place" if ours != theirs else "another installation is running: replacing it")
    launch.rehearse(home)
    command, environment = kernel.command(before.pid), kernel.environment(before.pid)
    _end(before)
    registry.write(home, settings)
    began = Beginning.of(home)
    supervisor = start_supervisor(home, launch)
    try:
        until_replaced(home, supervisor, launch.version, say)
        wait(home, launch.checks(home, settings), supervisor, began, say)
    except BaseException as error:
        _go_back(home, settings, (command, environment), say, launch, error)
        raise


def until_replaced(home: Home, supervisor: subprocess.Popen[bytes], version: str, say: Say) -> None:
    """Waits until the started supervisor has replaced the running processes. Raises Unavailable where it has given
    up."""
    said: set[str] = set()
    size = logs.size(logs.path(home, SUPERVISOR))
    while True:
        for record in state.running(home):
            if record.version == version and record.name not in said:
                said.add(record.name)
                say(f"{record.name} is replaced")
        if supervisor.poll() is not None:
            words = logs.last_words(logs.path(home, SUPERVISOR), size)
            raise Unavailable(words or "the supervisor ended", hint=_LOGS.format(home.logs))
        keeping = state.read(home, SUPERVISOR)
        if keeping is not None and keeping.pid == supervisor.pid and keeping.state != state.REPLACING:
            if keeping.reason:
                raise Unavailable(keeping.reason, hint=_LOGS.format(home.logs))
            return
        time.sleep(_LOOK)


_LOGS = "See the logs in {}."


def _go_back(
    home: Home,
    settings: Settings,
    before: tuple[Sequence[str], Mapping[str, str]],
    say: Say,
    launch: Launch,
    error: BaseException,
) -> None:
    """Raises Unavailable, for a SerinusError."""
    command, environment = before
    if command[0] == launch.command[0]:  # It was installed over the former version.
        if isinstance(error, SerinusError):
            raise Unavailable(
                f"{error.message}; models are served, and what did not start is tried again",
                hint="Install the version before, and run `serinus up` again.",
            ) from error
        return
    say("the new version does not start: the version before takes over again")
    if (failed := state.find(home, SUPERVISOR)) is not None:
        _end(failed)
    again = start_supervisor(home, replace(launch, command=_without_home(command)), environment)
    wait(home, launch.checks(home, settings), again, Beginning.of(home), say)
    if isinstance(error, SerinusError):
        raise Unavailable(f"{error.message}; the version before is running again", hint=error.hint) from error


def _without_home(command: Sequence[str]) -> Sequence[str]:
    """The command in the form of `Launch.command`."""
    return command[: command.index("--home")]


def _end(supervisor: ProcessRecord) -> None:
    """Ends the supervisor. Its processes continue."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(supervisor.pid, signal.SIGKILL)
    while state.alive(supervisor):
        time.sleep(0.01)
