"""How MLflow is reached: the password of the bundled server, and `mlflow.env`, the file that a shell sources."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from serinus.core.home import MLFLOW_USERNAME, Home
from serinus.supervisor import private
from serinus.supervisor.settings import Settings


def environment(home: Home, settings: Settings) -> Mapping[str, str]:
    """What MLflow's client reads. With a server of one's own only its address: its credentials are the environment's,
    or those of `~/.mlflow/credentials`, and are kept nowhere else.

    A user name with a password and not a token: MLflow's client prefers them to both the user's token and file for
    other servers.
    """
    address = {"MLFLOW_TRACKING_URI": settings.registry}
    return address if settings.mlflow_uri else {**address, **credentials(home)}


def credentials(home: Home) -> Mapping[str, str]:
    """Of the bundled server. Raises OSError where the home has never been started."""
    return {
        "MLFLOW_TRACKING_USERNAME": MLFLOW_USERNAME,
        "MLFLOW_TRACKING_PASSWORD": home.mlflow_password.read_text().strip(),
    }


def write(home: Home, settings: Settings) -> None:
    """`mlflow.env`, 0600. Raises OSError."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in environment(home, settings).items()]
    private.write(home.mlflow_env, "# Source it: `. mlflow.env`. `serinus up` writes it.\n" + "".join(lines))
