"""What a container of the control plane runs first: it makes the home, and then becomes `serinus up --foreground`.

The disk of the pod keeps the home. What differs between pods, and all that is secret, is mounted, and is brought to
where `serinus up` looks for it. What is missing is said in words.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from serinus.core.errors import InvalidInput, Refused, SerinusError
from serinus.core.home import Home
from serinus.lib import files
from serinus.lib.hosts import without_port
from serinus.targets.kubernetes.control.values import (
    API_PORT,
    NAME,
    SECRETS,
    SERVICE_PORT,
    Config,
    as_text,
    settings_of,
)
from serinus.targets.kubernetes.settings_file import load_as

_SECRET = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Given:
    """What the pod gives to its container. `secrets`: the directory in which the Secrets are."""

    config: Path
    secrets: Path
    disk: Path
    namespace: str
    replicas: int


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Becomes another program, or ends with what is missing in words."""
    parser = argparse.ArgumentParser(prog="python -m serinus.targets.kubernetes.control")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--secrets", type=Path, default=Path(SECRETS))
    parser.add_argument("--disk", type=Path, required=True)
    told = parser.parse_args(arguments)
    os.umask(0o077)
    try:
        replicas = int(os.environ["SERINUS_REPLICAS"])
        given = Given(told.config, told.secrets, told.disk, os.environ["SERINUS_NAMESPACE"], replicas)
        words = prepare(given, os.environ)
    except SerinusError as error:
        sys.exit(f"{error.message}\n{error.hint}".strip())
    except OSError as error:
        sys.exit(f"{error.filename or told.disk}: {error.strerror}")
    os.execve(sys.executable, [sys.executable, *words], os.environ)  # noqa: S606


def prepare(given: Given, environment: Mapping[str, str]) -> Sequence[str]:
    """Makes the home and the settings of the cluster, and returns what Python runs then. Raises SerinusError and
    OSError."""
    if shutil.which("git", path=environment.get("PATH")) is None:
        raise Refused(
            "The image has no git, with which the fleet repository is kept.",
            hint="Build the image on a base with git: `python -m serinus.targets.kubernetes.images REFERENCE --git` "
            "makes one of Debian's packages.",
        )
    config = load_as(
        Config, given.config, "The values `config` of the chart", "It is in the ConfigMap `serinus-control`."
    )
    secret = _secret(given.secrets / "identity" / "secret")
    home = Home(given.disk / "home")
    home.path.mkdir(mode=0o700, exist_ok=True)
    files.write(home.secret, secret)
    has_git = (given.secrets / "git" / "credentials").is_file()
    settings = given.disk / "cluster.yaml"
    files.write(settings, as_text(settings_of(config, given.namespace, given.replicas, git=has_git)))
    return _command(home, settings, config, given)


def _secret(file: Path) -> str:
    try:
        found = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        found = ""
    except UnicodeDecodeError:
        found = "not hexadecimal"
    if _SECRET.fullmatch(found) is None:
        raise InvalidInput(
            f"{file} does not hold 64 hexadecimal digits.",
            hint="Make the Secret by `kubectl create secret generic serinus-identity "
            '--from-literal=secret="$(openssl rand -hex 32)"`, and keep it: releases and gateways know it.',
        )
    return found


def _command(home: Home, settings: Path, config: Config, given: Given) -> Sequence[str]:
    hosts = [*config.hosts, f"serinus.{given.namespace}.svc", f"serinus.{given.namespace}", NAME]
    if without_port(hosts[0]) == hosts[0]:  # Links have the port of the Service, and not that of the pod.
        hosts[0] += f":{SERVICE_PORT}"
    return [
        *("-P", "-m", "serinus.cli", "--home", str(home.path), "up", "--foreground", "--cluster", str(settings)),
        *("--listen", "0.0.0.0", "--api-port", str(API_PORT)),  # noqa: S104  the pod's own address
        *(word for name in hosts for word in ("--allow-host", name)),
        *_certificate(config, given.secrets / "api"),
        *("--mlflow-uri", config.mlflow),
        *("--predictions", config.predictions, "--predictions-database", config.database),
        *("--disk-budget", f"{config.disk}B"),
        "--allow-builds" if config.builds else "--no-builds",
        "--unconfined" if config.unconfined else "--confined",
    ]


def _certificate(config: Config, directory: Path) -> Sequence[str]:
    if config.insecure:
        return ["--insecure"]
    certificate, key = directory / "tls.crt", directory / "tls.key"
    if not (certificate.is_file() and key.is_file()):
        raise Refused(
            f"{directory} has no tls.crt and tls.key, without which tokens could be read in transit.",
            hint="Make the Secret that `secrets.api` names, of the type kubernetes.io/tls, or set `config.insecure` "
            "where something else encrypts what is sent.",
        )
    return ["--tls-cert", str(certificate), "--tls-key", str(key)]
