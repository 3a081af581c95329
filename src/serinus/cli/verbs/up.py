"""The verb `serinus up`."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from serinus.cli.session import Session
from serinus.cli.verbs import up_options as options
from serinus.cli.verbs.login import link
from serinus.core.errors import SerinusError

if TYPE_CHECKING:
    from serinus.targets.local.supervisor import Addresses, Options
    from serinus.targets.local.supervisor.settings import Keys


def up(
    at: Session,
    listen: options.Listen = None,
    keys: options.Keys = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    client_ca: options.ClientCa = None,
    insecure: options.Insecure = False,
    mlflow_uri: options.MlflowUri = None,
    mlflow_credentials: options.MlflowCredentials = None,
    predictions: options.Predictions = None,
    predictions_database: options.PredictionsDatabase = None,
    envoy: options.Envoy = None,
    unconfined: options.Unconfined = None,
    interpreter: options.Interpreter = None,
    index: options.Index = None,
    allow_builds: options.AllowBuilds = None,
    allow_host: options.AllowHost = None,
    memory: options.Memory = None,
    idle: options.Idle = None,
    busiest: options.Busiest = None,
    recheck: options.Recheck = None,
    disk_budget: options.DiskBudget = None,
    cluster: options.Cluster = None,
    foreground: options.Foreground = False,
    log_to: options.LogTo = "stderr",
    api_port: options.Port = None,
    envoy_port: options.Port = None,
    mlflow_port: options.Port = None,
) -> None:
    """Start everything on this machine, and wait until the API and the models in use answer.

    Free ports are chosen. The ports and all options are kept in the home. Where Serinus is running already, its
    addresses are printed. Beyond loopback it uses TLS: without --tls-cert, `up` is refused unless --insecure is given.
    Files of certificates are read again when they change.

    \b
      serinus up
      serinus up --home /srv/serinus --mlflow-uri http://mlflow:5000
      serinus up --listen 0.0.0.0 --allow-host serinus.example.org --tls-cert cert.pem --tls-key key.pem
      serinus up --memory 6GiB --idle 10m
      serinus up --cluster cluster.yaml
      serinus up --foreground
    """
    from serinus.targets.local.supervisor import Options

    ports = {"api": api_port, "envoy": envoy_port, "mlflow": mlflow_port}
    chosen = Options(
        ports={name: port for name, port in ports.items() if port is not None},
        listen=listen,
        keys=cast("Keys | None", keys),  # It is checked where the options are applied.
        tls_cert=str(tls_cert) if tls_cert else None,
        tls_key=str(tls_key) if tls_key else None,
        client_ca=str(client_ca) if client_ca else None,
        insecure=insecure,
        mlflow_uri=mlflow_uri,
        mlflow_credentials=_absolute(mlflow_credentials),
        predictions=predictions,
        predictions_database=predictions_database,
        envoy_binary=_absolute(envoy),
        unconfined=unconfined,
        interpreters=tuple(str(path.absolute()) for path in interpreter or ()),
        indexes=tuple(index or ()),
        allow_builds=allow_builds,
        allowed_hosts=tuple(allow_host or ()),
        memory=memory,
        idle=idle,
        busiest=busiest,
        recheck=recheck,
        disk_budget=disk_budget,
        cluster=_absolute(cluster),
    )
    _start(at, chosen, foreground=foreground, copy=log_to == "stderr")


def _absolute(path: Path | None) -> str | None:
    return str(path.absolute()) if path else None


def _start(at: Session, chosen: Options, *, foreground: bool, copy: bool) -> None:
    """Starts the processes, prints their addresses and, with `foreground`, stays until it is stopped."""
    from serinus.targets.local.supervisor import up as start

    say = (lambda _line: None) if at.out.as_json else at.out.line

    def begin() -> Addresses:
        addresses = start(at.home, chosen, say)
        # A link lets in everybody who has it, so it is not written where output is stored.
        if not foreground:
            with contextlib.suppress(SerinusError):  # Without a link, people sign in with a token.
                addresses = replace(addresses, login=link(Session(at.home, None, at.out)))
        _tell(at, addresses, foreground=foreground)
        return addresses

    if foreground:
        _stay(at, begin, say, copy=copy)
    else:
        begin()


def _stay(at: Session, begin: Callable[[], Addresses], say: Callable[[str], None], *, copy: bool) -> None:
    from serinus.targets.local.supervisor.foreground import Reload, Stopped, stay
    from serinus.targets.local.supervisor.notify import Notifier

    reload = None
    if not sys.stdin.isatty():  # SIGHUP of a terminal ends it, as usual.
        program = [sys.argv[0]] if os.access(sys.argv[0], os.X_OK) else [sys.executable, "-P", "-m", "serinus.cli"]
        # The path is not resolved, because a link may lead to another version by then.
        reload = Reload([*program, "--home", str(at.home.path), "up"], [*program, *sys.argv[1:]])
    try:
        stay(at.home, begin, say, Notifier.taken(), line=at.out.aside if copy else None, reload=reload)
    except Stopped:
        raise typer.Exit(143) from None
    say("Serinus is stopped.")


def _tell(at: Session, addresses: Addresses, *, foreground: bool = False) -> None:
    if at.out.as_json:
        at.out.json({**asdict(addresses), "home": str(addresses.home), "mlflow_env": str(addresses.mlflow_env)})
        return
    for warning in addresses.warnings:
        at.out.line(f"warning: {warning}", style="yellow")
    at.out.line(
        "Serinus is already running." if addresses.already_running else "Serinus is running.", style="bold green"
    )
    at.out.line(f"  page     {addresses.login}")
    at.out.line(f"  models   {addresses.envoy}/v2/models/MODEL/infer")
    at.out.line(f"  MLflow   {addresses.mlflow}")
    at.out.line(f"  home     {addresses.home}")
    if addresses.limits:
        at.out.line(f"  limits   {_in_words(addresses.limits)}")
    at.out.line("Next, load the address and the credentials of MLflow into the shell that trains:")
    at.out.line(f"  . {shlex.quote(str(addresses.mlflow_env))}")
    at.out.line("Then register a model, and run `serinus deploy MODEL@1`.")
    at.out.line("Ctrl-C stops everything." if foreground else "`serinus down` stops everything.")


def _in_words(limits: Mapping[str, float]) -> str:
    """Returns the limits in the units of the options of `up`."""
    from serinus.spec.quantities import format_duration, format_size

    words = {
        "memory": lambda value: format_size(int(value)),
        "idle": lambda value: format_duration(timedelta(seconds=value)),
    }
    return ", ".join(f"{name} {words.get(name, str)(value)}" for name, value in limits.items())
