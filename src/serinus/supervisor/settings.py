"""`settings.json`: what was chosen at `up`, and the ports that were found."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from serinus.core.errors import InvalidInput, Refused
from serinus.core.home import FORMAT, Home

PORTS = ("api", "envoy", "mlflow")


@dataclass(frozen=True, slots=True)
class Settings:
    ports: Mapping[str, int] = field(default_factory=dict)
    listen: str = "127.0.0.1"
    """Where Envoy and the API listen; anything but loopback wants an API key on the data plane."""
    mlflow_uri: str | None = None
    """None: a server of our own."""
    envoy_binary: str | None = None
    confined: bool = True
    interpreters: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    """Names under which the API may be called, beside its own address."""
    format: int = FORMAT

    @property
    def registry(self) -> str:
        return self.mlflow_uri or f"http://127.0.0.1:{self.ports['mlflow']}"

    @property
    def loopback(self) -> bool:
        return self.listen in ("127.0.0.1", "::1", "localhost")


def load(home: Home) -> Settings | None:
    """None: a new home. Refused: a home of another version."""
    try:
        found = json.loads(home.settings.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InvalidInput(
            f"{home.settings} is not JSON: {error}", hint="Restore it, or begin with another --home."
        ) from error
    if found.get("format") != FORMAT:
        raise Refused(
            f"{home.path} is another version's home: format {found.get('format')}, this one reads {FORMAT}",
            hint="Use that version, or begin with another --home.",
        )
    known = {k: v for k, v in found.items() if k in Settings.__dataclass_fields__}
    known["interpreters"] = tuple(known.get("interpreters", ()))
    known["allowed_hosts"] = tuple(known.get("allowed_hosts", ()))
    return Settings(**known)


def save(home: Home, settings: Settings) -> None:
    temporary = home.settings.with_suffix(".tmp")
    with temporary.open("w") as file:
        json.dump(asdict(settings), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(home.settings)


def with_ports(settings: Settings, asked: Mapping[str, int], running: bool = False) -> Settings:
    """Settings with a port for everything: asked for, remembered, or found free.

    Raises Refused where a port that was asked for or remembered is taken: callers know it, so it is not changed
    silently.
    """
    ports = dict(settings.ports)
    for name in PORTS:
        if name == "mlflow" and settings.mlflow_uri:
            continue
        wanted = asked.get(name, ports.get(name))
        if wanted is None:
            ports[name] = free_port(settings.listen, set(ports.values()))
        elif running or is_free(settings.listen, wanted):
            ports[name] = wanted
        else:
            raise Refused(
                f"port {wanted} for {name} is taken by another process",
                hint=f"Stop that one, or choose another: `serinus up --{name}-port N`.",
            )
    return replace(settings, ports=ports)


def is_free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        # Without it a port would look taken for a minute after `down`, because of connections in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def free_port(address: str, taken: set[int]) -> int:
    while True:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.bind((address, 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port


def make_directories(home: Home) -> None:
    """Makes the home's directories, 0700, and refuses one that is somebody else's."""
    for directory in home.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
        if Path(directory).is_symlink() or found.st_uid != os.getuid():
            raise Refused(f"{directory} belongs to somebody else", hint="Choose another --home.")
        directory.chmod(0o700)
