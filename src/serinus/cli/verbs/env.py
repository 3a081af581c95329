"""The verb `serinus env`."""

from __future__ import annotations

import shlex

from serinus.cli.session import Session
from serinus.core.errors import Refused, Unavailable


def env(at: Session) -> None:
    """Print the address and the credentials of MLflow as variables for a shell.

    The credentials are secrets. `serinus up` keeps the same lines in the file mlflow.env of the home.

    \b
      serinus env --home /srv/serinus
      eval "$(serinus env)"
    """
    if at.server:
        raise Refused(
            "another server does not reveal the password of its MLflow",
            hint="Set MLFLOW_TRACKING_URI to the address in its status, and MLFLOW_TRACKING_TOKEN to your token.",
        )
    try:
        lines = at.home.mlflow_env.read_text().splitlines()
    except FileNotFoundError:
        raise Unavailable(
            f"there is no Serinus home in {at.home.path}",
            hint="Start Serinus with `serinus up`, or name its home with --home.",
        ) from None
    exports = [line for line in lines if line.startswith("export ")]
    if at.out.as_json:
        at.out.json(dict(shlex.split(line)[1].split("=", 1) for line in exports))
    else:
        print("\n".join(exports))  # It is printed unchanged: not wrapped, and without escapes.
