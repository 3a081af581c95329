from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serinus.cli.session import Session

if TYPE_CHECKING:
    from serinus.supervisor import Addresses

Port = Annotated[int | None, typer.Option(min=1, max=65535, show_default=False)]


def up(
    at: Session,
    listen: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", show_default=False, help="Listen here instead of loopback only."),
    ] = None,
    mlflow_uri: Annotated[
        str | None, typer.Option(metavar="URI", show_default=False, help="Use this MLflow server instead of our own.")
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
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", show_default=False, help="A name under which the API may be called. Repeatable."),
    ] = None,
    api_port: Port = None,
    envoy_port: Port = None,
    mlflow_port: Port = None,
) -> None:
    """Start everything on this machine, and wait until it answers.

    Ports are found free and remembered in the home. Where it runs already, says where.

    \b
      serinus up
      serinus up --home /srv/serinus --mlflow-uri http://mlflow:5000
      serinus up --listen 0.0.0.0 --allow-host serinus.example.org
    """
    from serinus.supervisor import Options
    from serinus.supervisor import up as start

    ports = {"api": api_port, "envoy": envoy_port, "mlflow": mlflow_port}
    options = Options(
        ports={name: port for name, port in ports.items() if port is not None},
        listen=listen,
        mlflow_uri=mlflow_uri,
        envoy_binary=str(envoy.absolute()) if envoy else None,
        unconfined=unconfined,
        interpreters=tuple(str(path.absolute()) for path in interpreter or ()),
        allowed_hosts=tuple(allow_host or ()),
    )
    say = (lambda _line: None) if at.out.as_json else at.out.line
    addresses = start(at.home, options, say)
    _tell(at, addresses)


def _tell(at: Session, addresses: Addresses) -> None:
    if at.out.as_json:
        at.out.json({**asdict(addresses), "home": str(addresses.home)})
        return
    for warning in addresses.warnings:
        at.out.line(f"warning: {warning}", style="yellow")
    at.out.line("Serinus runs already." if addresses.already_running else "Serinus runs.", style="bold green")
    at.out.line(f"  page     {addresses.login}")
    at.out.line(f"  models   {addresses.envoy}/v2/models/MODEL/infer")
    at.out.line(f"  MLflow   {addresses.mlflow}")
    at.out.line(f"  home     {addresses.home}")
    at.out.line(f"Next: `export MLFLOW_TRACKING_URI={addresses.mlflow}`, register a model, `serinus deploy MODEL@1`.")
    at.out.line("`serinus down` stops it all.")
