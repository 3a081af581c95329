"""The access to MLflow: its URL without credentials, the credentials, and `mlflow.env`, a file for shells."""

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
"""The variables that MLflow's client reads. It prefers a user name with a password to a token."""


def environment(home: Home, settings: Settings) -> Mapping[str, str]:
    """Returns variables for a shell of this user. For a team's server these are only the credentials in its URL,
    because those who register models there have their own."""
    known = _in_address(settings.mlflow_uri) if settings.mlflow_uri else _own(home)
    return {"MLFLOW_TRACKING_URI": settings.registry, **known}


def credentials(home: Home, settings: Settings) -> Mapping[str, str]:
    """Returns the credentials of the control process. Empty: it uses those of its environment or
    `~/.mlflow/credentials`.

    Raises InvalidInput, and OSError where the home was never started.
    """
    if settings.mlflow_uri is None:
        return _own(home)
    if settings.mlflow_credentials is not None:
        return read(Path(settings.mlflow_credentials))
    return _in_address(settings.mlflow_uri)


def put_into_environment(home: Home, settings: Settings) -> None:
    """Sets the credentials in this process's environment, and removes its own. Raises as `credentials` does."""
    if found := credentials(home, settings):
        for name in CREDENTIALS:
            os.environ.pop(name, None)
        os.environ.update(found)


def read(file: Path) -> Mapping[str, str]:
    """Reads lines `NAME=value` in shell syntax. Raises InvalidInput where others may read the file or it is
    malformed."""
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
    except ValueError:  # An unclosed quote.
        return []


def write(home: Home, settings: Settings) -> None:
    """Writes `mlflow.env`, 0600. Raises OSError."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in environment(home, settings).items()]
    files.write(home.mlflow_env, "# Source it: `. mlflow.env`. `serinus up` writes it.\n" + "".join(lines))


def _own(home: Home) -> Mapping[str, str]:
    """Returns the credentials of the bundled server."""
    return _basic(MLFLOW_USERNAME, home.mlflow_password.read_text().strip())


def _in_address(uri: str) -> Mapping[str, str]:
    """Returns the credentials in the URL of an HTTP server. The URL of a database is used as a whole."""
    if not re.match("https?://", uri):
        return {}
    user, separator, password = urlsplit(uri).netloc.rpartition("@")[0].partition(":")
    return _basic(unquote(user), unquote(password)) if separator else {}


def _basic(user: str, password: str) -> Mapping[str, str]:
    return {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
