"""The pair of interfaces between this machine and the lab. It is gone when the lab's network namespace is.

The machine reaches the node, its pods and its services by routes; nobody else does, as nothing is forwarded for the
lab. What is in the lab reaches this machine at `place.MACHINE`, and nothing beyond it.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from pathlib import Path
from typing import Any

from clusterlab import LabError
from clusterlab.place import INTERFACE, LINK, MACHINE, NODE, PODS, SERVICES

_PEER = "eth0"
_PREFIX = ipaddress.ip_network(LINK).prefixlen


def check_free() -> None:
    """Raises LabError where the machine uses addresses of the lab's."""
    for route in _json("route", "show", "table", "all", "type", "unicast"):
        if route["dst"] == "default" or route.get("dev") == INTERFACE:
            continue
        used = ipaddress.ip_network(route["dst"], strict=False)
        for wanted in map(ipaddress.ip_network, (LINK, PODS, SERVICES)):
            if used.version == wanted.version and used.overlaps(wanted):
                raise LabError(
                    f"This machine routes {used} to {route.get('dev', 'another place')}, and the lab uses {wanted}. "
                    "Remove that network while the lab runs."
                )


def connect(pid: int) -> None:
    """Connects the network namespace of the process with this machine's. As root."""
    _ip("link", "add", INTERFACE, "type", "veth", "peer", "name", _PEER, "netns", str(pid))
    _ip("address", "add", f"{MACHINE}/{_PREFIX}", "dev", INTERFACE)
    _ip("link", "set", INTERFACE, "up")
    for network in (PODS, SERVICES):
        _ip("route", "add", network, "via", NODE, "dev", INTERFACE)


def disconnect() -> None:
    if Path(f"/sys/class/net/{INTERFACE}").exists():
        subprocess.run(["ip", "link", "delete", INTERFACE], capture_output=True)  # it may go by itself meanwhile


def settle() -> None:
    """The other side, in the lab's own namespace."""
    _ip("link", "set", "lo", "up")
    _ip("address", "add", f"{NODE}/{_PREFIX}", "dev", _PEER)
    _ip("link", "set", _PEER, "up")
    # Kubernetes looks for one; nobody answers there.
    _ip("route", "add", "default", "dev", _PEER)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _json(*arguments: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(_ip("-json", *arguments) or "[]")
    return told


def _ip(*arguments: str) -> str:
    told = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if told.returncode:
        raise LabError(
            f"`ip {' '.join(arguments)}` failed: {told.stderr.strip()}. "
            "The kernel must have network namespaces and veth."
        )
    return told.stdout
