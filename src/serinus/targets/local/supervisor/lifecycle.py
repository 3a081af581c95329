"""`up` and `down`: starting everything until it answers, and stopping it."""

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
"""The time limit for the answers of processes that have run for longer than `START_SECONDS`."""
STOP_MARGIN = 10.0
"""Seconds that the supervisor may take in addition to the time that its processes may take to stop."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of an installation, and what `up` has to report."""

    home: Path
    api: str
    """Also the address of the status page."""
    envoy: str
    """Where callers send requests to models."""
    mlflow: str
    """Without credentials, which are in `mlflow_env`."""
    mlflow_env: Path
    """A file for the shells of those who register models: `. mlflow.env`."""
    login: str
    """The page for signing in with a browser."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """The limits of models that were set: `memory` in bytes, `idle` in seconds, `busiest`."""
    already_running: bool = False
    warnings: tuple[str, ...] = ()


def up(
    home: Home, options: Options | None = None, say: Say = lambda _line: None, *, launch: Launch | None = None
) -> Addresses:
    """Starts everything, and returns when it answers. `say` gets the progress, a line at a time.

    Running processes are left alone. Raises Refused (a port is taken, the home has another version, the kernel cannot
    confine models), InvalidInput, and Unavailable where something did not start, with the name of its log.
    """
    options, launch = options or Options(), launch or Launch()
    os.umask(0o077)
    home = Home(home.path.resolve())
    try:
        chosen.load(home)  # Raises for a home of another version before anything is written there.
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
    """Stops everything without losing data. Returns False where nothing was running. Raises Unavailable where something
    cannot be stopped."""
    home = Home(home.path.resolve())
    supervisor = state.find(home, SUPERVISOR)
    if supervisor is not None:
        say("stopping: requests in flight and records of predictions are finished first")
        _stop_supervisor(home, supervisor, say)
    orphans = [record.name for record in state.running(home)]
    if orphans and supervisor is None:
        say(f"the supervisor is no longer running: stopping {', '.join(orphans)}, which it has left")
    # Only the records are used, so that processes can be stopped whatever the settings are.
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
    running = state.running(home)  # Processes that a killed supervisor has left.
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
    registry.credentials(home, settings)  # Refused before anything starts.
    if not running:
        _secure(home, settings)
    if settings != found:
        chosen.save(home, settings)
    registry.write(home, settings)
    began = Beginning.of(home)
    try:
        settings = launch.install(home, settings, say)
        supervisor = start_supervisor(home, launch)
        if any(record.version != launch.version for record in running):
            upgrade.until_replaced(home, supervisor, launch.version, say)
        wait(home, launch.checks(home, settings), supervisor, began, say)
    except BaseException:
        if not running:  # A part of it would be useless. Processes that were serving before are not stopped.
            say("stopping what was started")
            down(home)
            with contextlib.suppress(OSError):  # Options are kept only after a successful start.
                chosen.save(home, found or Settings(ports=settings.ports))
        raise
    return _addresses(home, settings, [*warnings, *wait_for_models(home, settings, launch, say)])


def _look_again(home: Home, options: Options, supervisor: ProcessRecord, launch: Launch) -> Addresses:
    """Waits for processes that are still starting, where a supervisor is running already, and reports those that do not
    answer."""
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
    """Replaces the processes of another installation while callers are served."""
    settings = chosen.load(home)
    if settings is None:
        raise Refused(f"{home.path} is running, but {home.settings} is gone", hint="Run `serinus down` first.")
    _check_confinement(settings)
    extras.check(settings)
    registry.credentials(home, settings)
    settings = launch.install(home, settings, say)
    upgrade.take_over(home, settings, before, say, launch)
    return _addresses(home, settings, [*wait_for_models(home, settings, launch, say), *_ignored(options, settings)])


def _ignored(options: Options, settings: Settings) -> Sequence[str]:
    ignored = options.ignored_by(settings)
    if not ignored:
        return ()
    return (f"Serinus is already running, so this was not changed: {', '.join(ignored)}; run `serinus down` first",)


def _without_one_that_stops(home: Home, say: Say) -> ProcessRecord | None:
    """Returns the running supervisor, after waiting for one that is ending."""
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
    """Stores the certificate before anything else is changed. Raises Refused and InvalidInput."""
    if settings.in_the_clear and not settings.insecure:
        raise Refused(
            f"{settings.listen} is not loopback, and without TLS tokens, API keys and rows could be read in transit",
            hint="Give --tls-cert FILE and --tls-key FILE, or accept the risk with `serinus up --insecure`.",
        )
    if settings.tls_files is None:
        tls.forget(home)
    else:
        from serinus.targets.local.supervisor import certificates  # Most homes do not need this library.

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
    """Returns the risks that the settings accept, in words."""
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
    """Has the supervisor stop everything and end. If it does not, it is killed, and the caller stops the rest."""
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
