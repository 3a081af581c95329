"""How MLflow is reached: its address without credentials, the credentials, and `mlflow.env`, which a shell sources."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from serinus.core.errors import InvalidInput
from serinus.core.home import MLFLOW_USERNAME, Home
from serinus.lib import files
from serinus.targets.local.supervisor.settings import Settings

CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
"""As MLflow's client reads them. It prefers a user name with a password to a token."""


def environment(home: Home, settings: Settings) -> Mapping[str, str]:
    """What a shell of this user gets. Of a team's server only what stands in its address: whoever registers models
    there has credentials of their own."""
    known = _in_address(settings.mlflow_uri) if settings.mlflow_uri else _own(home)
    return {"MLFLOW_TRACKING_URI": settings.registry, **known}


def credentials(home: Home, settings: Settings) -> Mapping[str, str]:
    """What the control process asks MLflow with. Empty: what its environment has, or `~/.mlflow/credentials`.

    Raises OSError where the home has never been started, and InvalidInput.
    """
    if settings.mlflow_uri is None:
        return _own(home)
    if settings.mlflow_credentials is not None:
        return read(Path(settings.mlflow_credentials))
    return _in_address(settings.mlflow_uri)


def put_into_environment(home: Home, settings: Settings) -> None:
    """Of this process, whose own credentials give way; raises as `credentials` does."""
    if found := credentials(home, settings):
        for name in CREDENTIALS:
            os.environ.pop(name, None)
        os.environ.update(found)


def read(file: Path) -> Mapping[str, str]:
    """Lines `NAME=value`, as for a shell. InvalidInput: others may read it, or something else stands there."""
    try:
        about = file.stat()
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidInput(f"--mlflow-credentials {file} cannot be read: {reason}", hint=_FORM) from None
    if stat.S_IMODE(about.st_mode) & 0o077 or about.st_uid not in (os.geteuid(), 0):
        raise InvalidInput(
            f"--mlflow-credentials {file} can be read or changed by other users", hint=f"`chmod 600 {file}`."
        )
    found = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        words = _words(value)
        if not separator or name not in CREDENTIALS or len(words) != 1:
            raise InvalidInput(f"--mlflow-credentials {file}: line {number} cannot be read", hint=_FORM)
        found[name] = words[0]
    if not found:
        raise InvalidInput(f"--mlflow-credentials {file} holds no credentials", hint=_FORM)
    return found


_FORM = f"Write lines NAME=value, with the names {', '.join(CREDENTIALS)}."


def _words(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError:  # a quote that is not closed
        return []


def write(home: Home, settings: Settings) -> None:
    """`mlflow.env`, 0600. Raises OSError."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in environment(home, settings).items()]
    files.write(home.mlflow_env, "# Source it: `. mlflow.env`. `serinus up` writes it.\n" + "".join(lines))


def _own(home: Home) -> Mapping[str, str]:
    """Of the bundled server."""
    return _basic(MLFLOW_USERNAME, home.mlflow_password.read_text().strip())


def _in_address(uri: str) -> Mapping[str, str]:
    """Of an HTTP server alone: a database is opened by its whole address."""
    if not re.match("https?://", uri):
        return {}
    user, separator, password = urlsplit(uri).netloc.rpartition("@")[0].partition(":")
    return _basic(unquote(user), unquote(password)) if separator else {}


def _basic(user: str, password: str) -> Mapping[str, str]:
    return {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
