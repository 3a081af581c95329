"""The TCP ports of a home: requested, remembered, or chosen among free ones."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from serinus.core.errors import InvalidInput, Refused, Unavailable
from serinus.targets.local.supervisor.settings import Settings

LISTENERS = {"api": "control", "envoy": "envoy", "mlflow": "mlflow"}
"""The process that listens on each port."""

_LOWEST = 20_000
_TRIES = 200


def assigned(settings: Settings, asked: Mapping[str, int], running: Collection[str] = ()) -> Settings:
    """Returns `settings` with all ports. `running` are the names of processes that use theirs already.

    Raises Refused where a port that was requested or remembered is taken. It is not changed silently, because callers
    know it.
    """
    ports = {**settings.ports, **asked}
    elsewhere = {"mlflow": settings.mlflow_uri is not None, "envoy": not settings.serves}
    needed = [name for name in LISTENERS if not elsewhere.get(name)]
    for name in needed:
        port = ports.get(name)
        if port is None:
            ports[name] = _free_port(_address(settings, name), set(ports.values()))
        elif LISTENERS[name] not in running:
            _check(_address(settings, name), name, port)
    _check_different({name: ports[name] for name in needed})
    return replace(settings, ports=ports)


def _address(settings: Settings, name: str) -> str:
    # The bundled MLflow server must not be reachable from elsewhere.
    return "127.0.0.1" if name == "mlflow" else settings.listen


def _check(address: str, name: str, port: int) -> None:
    if not 0 < port < 65536:
        raise InvalidInput(f"{port} is not a port", hint=f"`--{name}-port` takes 1 to 65535.")
    reason = why_not(address, port)
    hint = f"Choose another port: `serinus up --{name}-port N`."
    if reason == errno.EADDRINUSE:
        raise Refused(
            f"port {port} for {name} is in use by another process",
            hint=f"Stop that process, or choose another port: `serinus up --{name}-port N`.",
        )
    if reason == errno.EACCES:
        raise Refused(f"this user may not listen on port {port} for {name}", hint=hint)
    if reason == errno.EADDRNOTAVAIL:
        raise InvalidInput(
            f"{address} is not an address of this machine",
            hint="`--listen` takes an address of this machine, or 0.0.0.0.",
        )
    if reason is not None:
        raise Refused(f"nothing can listen on {address} port {port} for {name} ({errno.errorcode[reason]})", hint=hint)


def _check_different(ports: Mapping[str, int]) -> None:
    by_port: dict[int, str] = {}
    for name, port in ports.items():
        if port in by_port:
            raise InvalidInput(
                f"port {port} cannot be both for {by_port[port]} and for {name}",
                hint=f"Choose another port: `serinus up --{name}-port N`.",
            )
        by_port[port] = name


def why_not(address: str, port: int) -> int | None:
    """Returns the error number with which the kernel refuses to listen on the port. None: it is free."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        # Otherwise a port would seem taken for a minute after `down`, because of connections in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno
        return None


def _free_port(address: str, taken: Collection[int]) -> int:
    """Returns a random free port, so that homes that are created at the same time do not choose the same one.

    It is below the ports of outgoing connections, one of which could have it when a process is started again.
    """
    refused = why_not(address, 0)
    if refused is not None:
        raise InvalidInput(
            f"nothing can listen on {address} ({errno.errorcode[refused]})",
            hint="`--listen` takes an address of this machine, or 0.0.0.0.",
        )
    highest = _first_outgoing()
    for port in random.sample(range(min(_LOWEST, highest - 1000), highest), _TRIES):
        if port not in taken and why_not(address, port) is None:
            return port
    raise Unavailable(f"no free port was found on {address}", hint="Choose the ports: `serinus up --api-port N ...`.")


def _first_outgoing() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return 32_768
    return first if first > 3_000 else 65_536
