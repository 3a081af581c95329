"""Credentials of registries, as Docker's configuration has them: in the file itself, or in a credential helper."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from serinus.core.errors import Unavailable
from serinus.lib import tied
from serinus.targets.kubernetes.images.references import credentials_key

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_HELPER_SECONDS = 30.0
_TOKEN_USER = "<token>"
"""As which a helper has an identity token."""
_NOTHING = "credentials not found in native keychain"


@dataclass(frozen=True, slots=True)
class Login:
    username: str
    secret: str = field(repr=False)
    """A password; with `identity` an identity token, for which the registry's authorization server gives others."""
    identity: bool = False


class Credentials(Protocol):
    def of(self, registry: str) -> Login | None:
        """None: the registry is asked without any. Raises Unavailable: they cannot be read."""
        ...


class DockerConfig:
    """`config.json` in `directory`, in `$DOCKER_CONFIG`, or in `~/.docker`. Read anew each time: credentials get
    renewed while this process runs."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory

    def of(self, registry: str) -> Login | None:
        directory = self._directory or Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
        file = directory / "config.json"
        try:
            config = json.loads(file.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _unreadable(file, type(error).__name__) from error
        if not isinstance(config, dict):
            raise _unreadable(file, "it is not a JSON object")
        key = credentials_key(registry)
        helper = _entry(config.get("credHelpers"), key) or config.get("credsStore")
        if isinstance(helper, str) and helper and (login := _from_helper(helper, key)):
            return login
        found = _entry(config.get("auths"), key)
        return _from_file(found, file) if isinstance(found, dict) else None


def _entry(entries: Any, key: str) -> Any:
    """By the registry's name, with a scheme before it or a path behind it, as old versions of Docker write it."""
    if not isinstance(entries, dict):
        return None
    if key in entries:
        return entries[key]
    for name, value in entries.items():
        if re.sub(r"^https?://", "", name).partition("/")[0] == key:
            return value
    return None


def _from_file(entry: dict[str, Any], file: Path) -> Login | None:
    if entry.get("identitytoken"):
        return Login("", str(entry["identitytoken"]), identity=True)
    if entry.get("auth"):
        try:
            username, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        except (binascii.Error, ValueError, TypeError) as error:
            raise _unreadable(file, "an `auth` in it is not Base64") from error
        return Login(username, password.rstrip("\0"))
    if entry.get("username"):
        return Login(str(entry["username"]), str(entry.get("password", "")))
    return None  # an empty entry marks what a helper has


def _from_helper(name: str, key: str) -> Login | None:
    """What `docker-credential-<name>` answers. None: it has nothing for this registry."""
    program = f"docker-credential-{name}"
    if not _HELPER.fullmatch(name):
        raise _helpless("a credential helper", "its name is not valid")
    try:
        done = tied.run([program, "get"], given=key.encode(), timeout=_HELPER_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _helpless(program, f"it did not answer within {_HELPER_SECONDS:g} s") from error
    except OSError as error:
        raise _helpless(program, "it cannot be started") from error
    if done.returncode:
        if _NOTHING in done.stdout.decode(errors="replace"):
            return None
        raise _helpless(program, f"it exited with {done.returncode}")
    try:
        answer = json.loads(done.stdout)
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError) as error:
        raise _helpless(program, "its answer is not what Docker's protocol says") from error
    return Login("", secret, identity=True) if username == _TOKEN_USER else Login(username, secret)


def _unreadable(file: Path, why: str) -> Unavailable:
    return Unavailable(
        f"The credentials of registries in {file} cannot be read: {why}.",
        hint="Correct the file, or run `docker login` again.",
        delay=60,
    )


def _helpless(program: str, why: str) -> Unavailable:
    return Unavailable(
        f"{program}, which the Docker configuration names for the credentials of a registry, failed: {why}.",
        hint="Run it by hand as the same user, and mend what it says.",
        delay=60,
    )
