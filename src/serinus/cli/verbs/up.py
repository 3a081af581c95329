from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer

from serinus.cli.session import Session
from serinus.cli.verbs.login import link
from serinus.core.errors import SerinusError

if TYPE_CHECKING:
    from serinus.targets.local.supervisor import Addresses
    from serinus.targets.local.supervisor.settings import Keys

_T = TypeVar("_T")
_LEAST_IDLE = 1.0
"""Seconds: how long a model is idle is not known to less."""

Port = Annotated[int | None, typer.Option(min=1, max=65535, show_default=False)]


def _quantity(parse: Callable[[object], _T], text: str) -> _T:
    """As a ModelDeployment has it. BadParameter: it is none."""
    from pydantic_core import PydanticCustomError

    try:
        return parse(text)
    except PydanticCustomError as error:
        said = error.context or {}
        meant = f"; did you mean {said['meant']}?" if said.get("meant") else ""
        raise typer.BadParameter(f"expected {said['expected']}, got '{text}'{meant}") from error


def _size(text: str) -> int:
    from serinus.spec.quantities import parse_size

    return _quantity(parse_size, text)


def _share(text: str) -> float:
    from serinus.spec.quantities import parse_share

    if text == "off":
        return 0.0
    return _quantity(parse_share, text)


def _seconds(text: str) -> float:
    from serinus.spec.quantities import parse_duration

    seconds = _quantity(parse_duration, text).total_seconds()
    if seconds < _LEAST_IDLE:
        raise typer.BadParameter(f"expected at least {_LEAST_IDLE:g}s, got '{text}'")
    return seconds


def up(
    at: Session,
    listen: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", show_default=False, help="Listen here instead of loopback only."),
    ] = None,
    keys: Annotated[
        str | None,
        typer.Option(
            metavar="required|made|none",
            show_default=False,
            help="Whether callers of models need a key: always, once `serinus key create` has made one, or never. "
            "At first: made. With --listen beyond loopback: required.",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", show_default=False, help="Certificate of API and models, PEM, its chain behind it."
        ),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="Its private key, PEM, not encrypted.")
    ] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="Callers of models need a certificate of one of these."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Speak plain HTTP, also beyond loopback. Takes --tls-cert back.")
    ] = False,
    mlflow_uri: Annotated[
        str | None, typer.Option(metavar="URI", show_default=False, help="Use this MLflow server instead of our own.")
    ] = None,
    mlflow_credentials: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Credentials for --mlflow-uri, as lines MLFLOW_TRACKING_TOKEN=..., in a file of mode 0600. Without "
            "it: those in the environment, or in ~/.mlflow/credentials.",
        ),
    ] = None,
    envoy: Annotated[
        Path | None, typer.Option(metavar="PATH", show_default=False, help="Use this build of Envoy.")
    ] = None,
    unconfined: Annotated[
        bool | None,
        typer.Option("--unconfined/--confined", show_default=False, help="Run models without Landlock's walls."),
    ] = None,
    interpreter: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", show_default=False, help="One more Python for environments. Repeat for more."),
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            show_default=False,
            help="A package index that models' requirements may name. Repeat for more.",
        ),
    ] = None,
    allow_builds: Annotated[
        bool | None,
        typer.Option(
            "--allow-builds/--no-builds",
            show_default=False,
            help="Build packages that have no wheel from their source archives, confined and without a network. "
            "At first: no.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", show_default=False, help="A name under which the API may be called. Repeatable."),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(
            parser=_size,
            metavar="SIZE",
            show_default=False,
            help="What all models may take together, such as 6GiB; beyond it the least recently used sleep. "
            "At first: 75% of the machine's.",
        ),
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option(
            parser=_seconds,
            metavar="DURATION",
            show_default=False,
            help="A model may sleep that nobody has asked for this long. At first: 60s.",
        ),
    ] = None,
    busiest: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            show_default=False,
            help="So many models never sleep for want of requests. At first: 10.",
        ),
    ] = None,
    recheck: Annotated[
        float | None,
        typer.Option(
            parser=_share,
            metavar="SHARE",
            show_default=False,
            help="Processor time, of one processor, for answering a sample of requests again by the models' own "
            "libraries where a shorter way has answered, at the lowest priority. `off`: none. At first: 5%.",
        ),
    ] = None,
    disk_budget: Annotated[
        int | None,
        typer.Option(
            parser=_size,
            metavar="SIZE",
            show_default=False,
            help="What environments, artifacts, graphs and logs may take together, such as 50GiB; beyond it the least "
            "recently used of those that nothing needs are removed. At first: none are, but by `serinus prune`.",
        ),
    ] = None,
    foreground: Annotated[
        bool,
        typer.Option(
            "--foreground",
            help="Stay until Ctrl-C or SIGTERM, which stop everything. For a service or a container.",
        ),
    ] = False,
    log_to: Annotated[
        str,
        typer.Option(
            metavar="stderr|files",
            help="With --foreground: whether what the processes log is also copied to stderr.",
        ),
    ] = "stderr",
    api_port: Port = None,
    envoy_port: Port = None,
    mlflow_port: Port = None,
) -> None:
    """Start everything on this machine, and wait until it answers, the models in use included.

    Ports are found free. They and all options are remembered in the home. Where it runs already, says where.
    Beyond loopback it speaks TLS: without --tls-cert it is refused unless --insecure is said. Files of certificates are
    read again when they change.

    \b
      serinus up
      serinus up --home /srv/serinus --mlflow-uri http://mlflow:5000
      serinus up --listen 0.0.0.0 --allow-host serinus.example.org --tls-cert cert.pem --tls-key key.pem
      serinus up --memory 6GiB --idle 10m
      serinus up --foreground
    """
    if log_to not in ("stderr", "files"):
        raise typer.BadParameter(f"--log-to is stderr or files, not '{log_to}'")
    from serinus.targets.local.supervisor import Options
    from serinus.targets.local.supervisor import up as start

    ports = {"api": api_port, "envoy": envoy_port, "mlflow": mlflow_port}
    options = Options(
        ports={name: port for name, port in ports.items() if port is not None},
        listen=listen,
        keys=cast("Keys | None", keys),  # checked where the options are applied
        tls_cert=str(tls_cert) if tls_cert else None,
        tls_key=str(tls_key) if tls_key else None,
        client_ca=str(client_ca) if client_ca else None,
        insecure=insecure,
        mlflow_uri=mlflow_uri,
        mlflow_credentials=str(mlflow_credentials.absolute()) if mlflow_credentials else None,
        envoy_binary=str(envoy.absolute()) if envoy else None,
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
    )
    say = (lambda _line: None) if at.out.as_json else at.out.line

    def begin() -> Addresses:
        addresses = start(at.home, options, say)
        with contextlib.suppress(SerinusError):  # without it one signs in with a token
            # Not where it would be kept: it lets in who has it.
            if not foreground:
                addresses = replace(addresses, login=link(Session(at.home, None, at.out)))
        _tell(at, addresses, foreground=foreground)
        return addresses

    if foreground:
        _stay(at, begin, say, copy=log_to == "stderr")
    else:
        begin()


def _stay(at: Session, begin: Callable[[], Addresses], say: Callable[[str], None], *, copy: bool) -> None:
    from serinus.targets.local.supervisor.foreground import Reload, Stopped, stay
    from serinus.targets.local.supervisor.notify import Notifier

    reload = None
    if not sys.stdin.isatty():  # the hang-up of a terminal is what it is
        program = [sys.argv[0]] if os.access(sys.argv[0], os.X_OK) else [sys.executable, "-P", "-m", "serinus.cli"]
        # Not resolved: a link may lead to another version by then.
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
    at.out.line("Serinus runs already." if addresses.already_running else "Serinus runs.", style="bold green")
    at.out.line(f"  page     {addresses.login}")
    at.out.line(f"  models   {addresses.envoy}/v2/models/MODEL/infer")
    at.out.line(f"  MLflow   {addresses.mlflow}")
    at.out.line(f"  home     {addresses.home}")
    if addresses.limits:
        at.out.line(f"  limits   {_in_words(addresses.limits)}")
    at.out.line("Next, in the shell that trains: its address and credentials for MLflow.")
    at.out.line(f"  . {shlex.quote(str(addresses.mlflow_env))}")
    at.out.line("Then register a model, and `serinus deploy MODEL@1`.")
    at.out.line("Ctrl-C stops it all." if foreground else "`serinus down` stops it all.")


def _in_words(limits: Mapping[str, float]) -> str:
    """As they were written."""
    from serinus.spec.quantities import format_duration, format_size

    words = {
        "memory": lambda value: format_size(int(value)),
        "idle": lambda value: format_duration(timedelta(seconds=value)),
    }
    return ", ".join(f"{name} {words.get(name, str)(value)}" for name, value in limits.items())
