"""`up` and `down`: from nothing to everything answering, and back."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from serinus.core.errors import InvalidInput, Refused, Unavailable
from serinus.core.home import Home
from serinus.supervisor import settings as chosen
from serinus.supervisor import state
from serinus.supervisor.keeper import Keeper, ProcessSpec
from serinus.supervisor.settings import Settings

START_SECONDS = 120.0
STOP_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Options:
    """Of `serinus up`. What is None or empty stays as it was at the last `up`."""

    ports: Mapping[str, int] = field(default_factory=dict)
    listen: str | None = None
    mlflow_uri: str | None = None
    envoy_binary: str | None = None
    unconfined: bool | None = None
    interpreters: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Addresses:
    home: Path
    api: str
    """Also the status page."""
    envoy: str
    """Where callers of models send their requests."""
    mlflow: str
    login: str
    """A link that logs a browser in."""
    already_running: bool = False
    warnings: tuple[str, ...] = ()


def up(home: Home, options: Options | None = None, say: Callable[[str], None] = lambda _line: None) -> Addresses:
    """Starts everything and returns when all of it answers; `say` gets progress, a line each.

    Raises Refused (a port is taken, a home of another version, no confinement on this kernel), InvalidInput, and
    Unavailable where something did not come up: it says what, and where its log is.
    """
    options = options or Options()
    os.umask(0o077)
    home = Home(home.path.absolute())
    found = chosen.load(home)
    if found is not None and state.alive(state.read(home, "supervisor")):
        return _addresses(home, found, already_running=True)
    chosen.make_directories(home)
    serving = any(state.alive(state.read(home, name)) for name in ("envoy", "control", "mlflow"))
    settings = chosen.with_ports(_chosen(found or Settings(), options), options.ports, running=serving)
    _check_confinement(settings)
    chosen.save(home, settings)
    _make_secret(home)
    with (home.logs / "supervisor.log").open("ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "serinus.wiring", "supervisor", "--home", str(home.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_it_answers(home, settings, supervisor, say)
    except BaseException:
        down(home)
        raise
    return _addresses(home, settings, already_running=False)


def down(home: Home, say: Callable[[str], None] = lambda _line: None) -> bool:
    """Stops everything, nothing lost; False: nothing ran."""
    home = Home(home.path.absolute())
    record = state.read(home, "supervisor")
    if not state.alive(record):
        return _stop_orphans(home)
    assert record is not None
    with contextlib.suppress(ProcessLookupError):
        os.kill(record.pid, signal.SIGTERM)
    say("stopping: requests in flight and records of predictions are finished first")
    deadline = time.monotonic() + STOP_SECONDS
    while state.alive(record):
        if time.monotonic() > deadline:
            raise Unavailable(
                f"the supervisor (pid {record.pid}) does not stop", hint=f"See {home.logs}/supervisor.log."
            )
        time.sleep(0.05)
    return True


def _stop_orphans(home: Home) -> bool:
    """After a `kill -9` of the supervisor its children are still there: a new keeper adopts and ends them."""
    running = sorted((p for p in state.processes(home) if p["state"] == "running"), key=lambda p: float(p["since"]))
    if not running:
        return False
    Keeper(home, [ProcessSpec(p["name"], ()) for p in running]).stop()
    return True


def _chosen(settings: Settings, options: Options) -> Settings:
    if options.envoy_binary and not os.access(options.envoy_binary, os.X_OK):
        raise InvalidInput(f"--envoy {options.envoy_binary} is not a program", hint="Give the path of an Envoy binary.")
    return replace(
        settings,
        listen=options.listen or settings.listen,
        mlflow_uri=options.mlflow_uri or settings.mlflow_uri,
        envoy_binary=options.envoy_binary or settings.envoy_binary,
        confined=settings.confined if options.unconfined is None else not options.unconfined,
        interpreters=options.interpreters or settings.interpreters,
        allowed_hosts=options.allowed_hosts or settings.allowed_hosts,
    )


def _check_confinement(settings: Settings) -> None:
    from serinus_runtime.landlock import abi

    if settings.confined and abi() < 1:
        raise Refused(
            "this kernel has no Landlock, so a model's code could read the tokens and write the store",
            hint="Use Linux 5.13 or newer with Landlock on, or accept that: `serinus up --unconfined`.",
        )


def _make_secret(home: Home) -> None:
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(home.secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))


def _addresses(home: Home, settings: Settings, *, already_running: bool) -> Addresses:
    host = f"[{settings.listen}]" if ":" in settings.listen else settings.listen
    api = f"http://{host}:{settings.ports['api']}"
    token = home.token.read_text().strip() if home.token.exists() else ""
    unconfined = "models are NOT confined: their code can read and write all that Serinus can"
    return Addresses(
        home=home.path,
        api=api,
        envoy=f"http://{host}:{settings.ports['envoy']}",
        mlflow=settings.registry,
        # In the fragment, which browsers do not send: the token reaches no log on the way.
        login=f"{api}/login#token={token}" if token else api,
        already_running=already_running,
        warnings=() if settings.confined else (unconfined,),
    )


def _wait_until_it_answers(
    home: Home, settings: Settings, supervisor: subprocess.Popen[bytes], say: Callable[[str], None]
) -> None:
    waiting = _checks(home, settings)
    deadline = time.monotonic() + START_SECONDS
    while waiting:
        for name in [name for name, answers in waiting.items() if answers()]:
            del waiting[name]
            say(f"{name} answers")
        if supervisor.poll() is not None:
            raise Unavailable("the supervisor ended", hint=f"See {home.logs}/supervisor.log.")
        if time.monotonic() > deadline:
            names = ", ".join(waiting)
            reasons = [f"{p['name']}: {p['reason']}" for p in state.processes(home) if p["reason"]]
            raise Unavailable(f"{names} did not come up. {'; '.join(reasons)}", hint=f"See the logs in {home.logs}.")
        time.sleep(0.05)


def _checks(home: Home, settings: Settings) -> dict[str, Callable[[], bool]]:
    checks: dict[str, Callable[[], bool]] = {
        "model host": lambda: _accepts(home.host_socket),
        "prediction log": lambda: _accepts(home.log_socket),
        "envoy": lambda: _ok(f"http://{settings.listen}:{settings.ports['envoy']}/v2/health/live"),
        "api": lambda: home.token.exists() and _ok(f"http://{settings.listen}:{settings.ports['api']}/healthz"),
        "mlflow": lambda: _ok(f"{settings.registry}/health"),
    }
    if settings.mlflow_uri and not settings.mlflow_uri.startswith("http"):
        del checks["mlflow"]  # a database or a directory: nothing there answers HTTP
    return checks


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        return probe.connect_ex(str(path)) == 0


def _ok(url: str) -> bool:
    import httpx

    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False
