"""The verb `serinus store copy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serinus.cli.session import Session


def copy(
    at: Session,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", show_default=False, help="A home, a backup, or a file with the URL of a database."
        ),
    ],
    destination: Annotated[
        Path,
        typer.Argument(metavar="DESTINATION", show_default=False, help="A home, or a file with the URL of a database."),
    ],
) -> None:
    """Copy a store into an empty one: from the home of one machine to PostgreSQL, or back.

    Rollouts, events, the audit record, policies and tokens are copied, in one transaction, and compared before it is
    committed. Both stores need the schema of this version, and no control plane may use them. A file with a URL holds
    `postgresql://USER:PASSWORD@HOST/DATABASE`, as `control.store` in the settings of a cluster names it.

    \b
      serinus store copy /srv/serinus /srv/store-url
      serinus store copy /srv/store-url /srv/serinus
    """
    from serinus.wiring.stores import copy_store

    rows = copy_store(source.absolute(), destination.absolute())
    if at.out.as_json:
        at.out.json({"source": str(source.absolute()), "destination": str(destination.absolute()), "rows": rows})
        return
    at.out.table(["table", "rows"], [[table, str(number)] for table, number in rows.items()])
    at.out.line(f"Copied and compared. The store of {source} is as it was.")
