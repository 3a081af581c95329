"""`up` and `down`: from nothing to everything answering, and back."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from serinus_runtime.isolation import seccomp
from serinus_runtime.isolation.landlock import abi

from serinus.core.errors import Refused, Unavailable
from serinus.core.home import Home
from serinus.core.redaction import shown
from serinus.targets.local.supervisor import directories, extras, ports, registry, state, tls, upgrade
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor.checks import registry_trouble
from serinus.targets.local.supervisor.launching import (
    START_SECONDS,
    Beginning,
    Launch,
    Say,
    reason,
    start_supervisor,
    wait,
    wait_for_models,
)
from serinus.targets.local.supervisor.process_manager import ProcessManager
from serinus.targets.local.supervisor.settings import Options, Settings
from serinus.targets.local.supervisor.state import SUPERVISOR, ProcessRecord

SECOND_LOOK_SECONDS = 5.0
"""For what has been running for longer than `START_SECONDS` to answer."""
STOP_MARGIN = 10.0
"""Seconds that the supervisor may take beyond what its processes may take to stop."""


@dataclass(frozen=True, slots=True)
class Addresses:
    home: Path
    api: str
    """Also the status page."""
    envoy: str
    """Where callers of models send their requests."""
    mlflow: str
    """Without credentials; `mlflow_env` has them."""
    mlflow_env: Path
    """A file for the shells of those who register models: `. mlflow.env`."""
    login: str
    """Where a browser signs in."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """Of models, as far as they were chosen: `memory` in bytes, `idle` in seconds, `busiest`."""
    already_running: bool = False
    warnings: tuple[str, ...] = ()


def up(
    home: Home, options: Options | None = None, say: Say = lambda _line: None, *, launch: Launch | None = None
) -> Addresses:
    """Starts everything and returns when all of it answers; `say` gets progress, a line each.

    What runs already is left as it is. Raises Refused (a port is taken, a home of another version, no confinement on
    this kernel), InvalidInput, and Unavailable where something did not come up: it says what, and where its log is.
    """
    options, launch = options or Options(), launch or Launch()
    os.umask(0o077)
    home = Home(home.path.resolve())
    try:
        chosen.load(home)  # refuses another version's before anything is written there
        directories.claim(home)
        with directories.one_at_a_time(home, 2 * START_SECONDS, say):
            directories.make(home)
            supervisor = _without_one_that_stops(home, say)
            if supervisor is not None and supervisor.version != launch.version:
                return _take_over(home, options, supervisor, say, launch)
            if supervisor is not None:
                return _look_again(home, options, supervisor, launch)
            return _start(home, options, say, launch)
    except OSError as error:
        raise Refused(
            f"{error.filename or home.path} cannot be written: {error.strerror}",
            hint="Free some space or correct its permissions, or choose another --home.",
        ) from error


def down(home: Home, say: Say = lambda _line: None) -> bool:
    """Stops everything, nothing lost; False: nothing ran. Raises Unavailable where something cannot be stopped."""
    home = Home(home.path.resolve())
    supervisor = state.find(home, SUPERVISOR)
    if supervisor is not None:
        say("stopping: requests in flight and records of predictions are finished first")
        _stop_supervisor(home, supervisor, say)
    orphans = [record.name for record in state.running(home)]
    if orphans and supervisor is None:
        say(f"the supervisor is no longer running: stopping {', '.join(orphans)}, which it has left")
    # From the records alone, so that what runs can be stopped whatever has become of the settings.
    left = ProcessManager.of_what_runs(home).stop() if orphans else ()
    if left:
        raise Unavailable(
            f"{', '.join(left)} did not end although it was killed: the kernel holds it, mostly because a disk does "
            "not answer",
            hint="`serinus status` shows the pids; `serinus down` tries again.",
        )
    return supervisor is not None or bool(orphans)


# --- up ---------------------------------------------------------------------------------------------------


def _start(home: Home, options: Options, say: Say, launch: Launch) -> Addresses:
    found = chosen.load(home)
    running = state.running(home)  # left by a supervisor that was killed
    names = [record.name for record in running]
    if found is None and running:
        raise Refused(f"{', '.join(names)} run, but {home.settings} is gone", hint="Run `serinus down` first.")
    warnings: Sequence[str] = ()
    if found is not None and running:
        say(f"{', '.join(names)} went on running and stay as they are")
        settings, warnings = ports.assigned(found, {}, names), _ignored(options, found)
    else:
        settings = ports.assigned(options.applied_to(found or Settings()), options.ports)
    _check_confinement(settings)
    extras.check(settings)
    registry.credentials(home, settings)  # refused before anything starts
    if not running:
        _secure(home, settings)
    if settings != found:
        chosen.save(home, settings)
    registry.write(home, settings)
    began = Beginning.of(home)
    try:
        supervisor = start_supervisor(home, launch)
        if any(record.version != launch.version for record in running):
            upgrade.until_replaced(home, supervisor, launch.version, say)
        wait(home, launch.checks(home, settings), supervisor, began, say)
    except BaseException:
        if not running:  # half of it is of no use; but what was serving before is not stopped for that
            say("stopping what was started")
            down(home)
            with contextlib.suppress(OSError):  # options stay only once it has come up with them
                chosen.save(home, found or Settings(ports=settings.ports))
        raise
    return _addresses(home, settings, [*warnings, *wait_for_models(home, settings, launch, say)])


def _look_again(home: Home, options: Options, supervisor: ProcessRecord, launch: Launch) -> Addresses:
    """It runs already: waits for what is still coming up, and tells what does not answer."""
    settings = chosen.load(home)
    if settings is None:
        raise Refused(f"{home.path} is running, but {home.settings} is gone", hint="Run `serinus down` first.")
    registry.write(home, settings)
    young = time.time() - supervisor.since < START_SECONDS
    waiting = list(launch.checks(home, settings))
    deadline = time.monotonic() + (START_SECONDS if young else SECOND_LOOK_SECONDS)
    while (waiting := [check for check in waiting if not check.answers()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    silent = [f"{check.label} does not answer{reason(home, check)}" for check in waiting]
    models = [] if silent else wait_for_models(home, settings, launch, lambda _line: None)
    return _addresses(home, settings, [*silent, *models, *_ignored(options, settings)], already_running=True)


def _take_over(home: Home, options: Options, before: ProcessRecord, say: Say, launch: Launch) -> Addresses:
    """Another installation runs: its processes are replaced, while callers are served."""
    settings = chosen.load(home)
    if settings is None:
        raise Refused(f"{home.path} is running, but {home.settings} is gone", hint="Run `serinus down` first.")
    _check_confinement(settings)
    extras.check(settings)
    registry.credentials(home, settings)
    upgrade.take_over(home, settings, before, say, launch)
    return _addresses(home, settings, [*wait_for_models(home, settings, launch, say), *_ignored(options, settings)])


def _ignored(options: Options, settings: Settings) -> Sequence[str]:
    ignored = options.ignored_by(settings)
    if not ignored:
        return ()
    return (f"Serinus is already running, so this was not changed: {', '.join(ignored)}; run `serinus down` first",)


def _without_one_that_stops(home: Home, say: Say) -> ProcessRecord | None:
    """The supervisor that runs, once one that is ending has ended."""
    supervisor = state.find(home, SUPERVISOR)
    if supervisor is not None and supervisor.state == state.STOPPING:
        say("Serinus is being stopped: waiting for that")
        _stop_supervisor(home, supervisor, say)
        return None
    return supervisor


def _check_confinement(settings: Settings) -> None:
    if settings.confined and abi() < 1:
        raise Refused(
            "this kernel has no Landlock, so a model's code could read the tokens and write the store",
            hint="Use Linux 5.13 or newer with Landlock enabled, or accept the risk with `serinus up --unconfined`.",
        )


def _secure(home: Home, settings: Settings) -> None:
    """Takes in the certificate, before anything else is changed. Raises Refused, InvalidInput."""
    if settings.in_the_clear and not settings.insecure:
        raise Refused(
            f"{settings.listen} is not loopback, and without TLS tokens, API keys and rows could be read in transit",
            hint="Give --tls-cert FILE and --tls-key FILE, or accept the risk with `serinus up --insecure`.",
        )
    if settings.tls_files is None:
        tls.forget(home)
    else:
        from serinus.targets.local.supervisor import certificates  # a library that most homes do without

        tls.keep(home, certificates.read(settings.tls_files, datetime.now(UTC)))


def _addresses(home: Home, settings: Settings, warnings: Sequence[str], *, already_running: bool = False) -> Addresses:
    api = settings.public_url("api")
    trouble = registry_trouble(settings)
    return Addresses(
        home=home.path,
        api=api,
        envoy=settings.public_url("envoy"),
        mlflow=shown(settings.registry),
        mlflow_env=home.mlflow_env,
        login=f"{api}/login",
        limits=settings.limits,
        already_running=already_running,
        warnings=(
            *warnings,
            *([trouble] if trouble else []),
            *_limits_of_confinement(settings),
            *edge_warnings(settings),
        ),
    )


def edge_warnings(settings: Settings) -> Sequence[str]:
    """What whoever chose the settings accepted, in words."""
    if settings.in_the_clear:
        return (
            f"{settings.listen} is served without TLS: tokens, API keys and rows can be read and changed in transit; "
            "`serinus up --tls-cert FILE --tls-key FILE` encrypts them",
        )
    return ()


def _limits_of_confinement(settings: Settings) -> Sequence[str]:
    if not settings.confined:
        return ("models are NOT confined: their code can read and write everything that Serinus can",)
    if not seccomp.known():
        return (
            "system calls of models are not filtered on this architecture: models can use sockets and reach other "
            "processes",
        )
    return ()


# --- down -------------------------------------------------------------------------------------------------


def _stop_supervisor(home: Home, supervisor: ProcessRecord, say: Say) -> None:
    """Has it stop everything and end; one that does not is killed, and what it leaves is for the caller to stop."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(supervisor.pid, signal.SIGTERM)
    deadline = time.monotonic() + sum(r.stop_seconds for r in state.running(home)) + STOP_MARGIN
    said: set[str] = set()
    while state.alive(supervisor):
        if time.monotonic() > deadline:
            say(f"the supervisor (pid {supervisor.pid}) does not stop and is killed")
            with contextlib.suppress(ProcessLookupError):
                os.kill(supervisor.pid, signal.SIGKILL)
            deadline = float("inf")
        for process in state.processes(home):
            if process["state"] == state.STOPPING and process["name"] not in said | {SUPERVISOR}:
                said.add(process["name"])
                say(f"stopping {process['name']}")
        time.sleep(0.05)
