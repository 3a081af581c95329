"""The verb `serinus unit`."""

from __future__ import annotations

from typing import Annotated

import typer

from serinus.cli.session import Session


def unit(
    at: Session,
    system: Annotated[
        bool, typer.Option("--system", help="Print a unit for the system instead of for this user. Needs --user.")
    ] = False,
    user: Annotated[
        str,
        typer.Option(metavar="NAME", show_default=False, help="The user that owns the home and runs the processes."),
    ] = "",
) -> None:
    """Print a systemd unit that runs Serinus as a service.

    The options of `serinus up` are kept in the home. To set or change them, run `serinus up` with them once, after a
    `serinus down` where Serinus is running.

    \b
      serinus unit --home ~/serinus > ~/.config/systemd/user/serinus.service
      serinus unit --home /var/lib/serinus/home --system --user serinus > /etc/systemd/system/serinus.service
    """
    from serinus.targets.local.supervisor.unit import unit as written

    if system != bool(user):
        raise typer.BadParameter("--system and --user NAME belong together")
    text = written(at.home, user=user)
    if at.out.as_json:
        at.out.json({"unit": text})
        return
    at.out.plain(text.rstrip("\n"))
