"""What the machine must have for the lab."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from clusterlab import LabError

# Program -> the Debian package that has it.
PACKAGES: Mapping[str, str] = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "/usr/lib/cni/portmap": "containernetworking-plugins",
    "docker-registry": "docker-registry",
    "redis-server": "redis-server",
    "git": "git",
    "ip": "iproute2",
    "iptables": "iptables",
    "nft": "nftables",
    "mount": "mount",
    "unshare": "util-linux",
}
PATH = os.pathsep.join(("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"))
"""Of the lab's programs, whoever starts it."""


def missing_packages() -> list[str]:
    absent = {
        package for name, package in PACKAGES.items() if not (Path(name).exists() or shutil.which(name, path=PATH))
    }
    return sorted(absent)


def check() -> None:
    """Raises LabError: not root, or something is missing."""
    if os.geteuid() != 0:
        raise LabError(
            "The lab needs root: it makes namespaces, mounts, control groups and a network interface, and runs "
            "containers. Run `sudo make lab-up`. Building the programs (`make lab-build`) needs no root, but each user "
            "has a cache of their own."
        )
    if missing := missing_packages():
        raise LabError(
            f"The lab needs {', '.join(missing)}. "
            f"Debian and Ubuntu: apt-get install --no-install-recommends {' '.join(missing)}"
        )
