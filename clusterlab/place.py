"""Where the lab is: its directory, its addresses, and how it is found again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusterlab.modules import cache
from serinus.lib import files, processes

NODE = "10.99.0.1"
"""The only node, and all that listens beside the pods."""
MACHINE = "10.99.0.2"
"""This machine, as the node and the pods reach it."""
LINK = "10.99.0.0/24"
PODS = "10.244.0.0/24"
SERVICES = "10.96.0.0/24"
SERVICE_OF_THE_API = "10.96.0.1"
INTERFACE = "serinus-lab0"
API = f"https://{NODE}:6443"
REGISTRY = f"{NODE}:5000"
GIT = f"git://{NODE}"
DOMAIN = "cluster.local"
"""Below which Services and pods have names. The node answers for them."""
CGROUP = "serinus-lab"

RUN = Path("/run/serinus-lab")
"""Of the one lab of this machine: readable by everybody, but for the credentials."""
KUBECONFIG = RUN / "kubeconfig"
REPOSITORIES = RUN / "git"
_LAB = RUN / "lab.json"
_STATE = RUN / "state.json"


@dataclass(frozen=True, slots=True)
class Place:
    directory: Path
    """What `up` makes and `down` removes."""

    @property
    def logs(self) -> Path:
        return self.directory / "log"

    @property
    def progress(self) -> Path:
        return self.logs / "lab.log"

    @property
    def etc(self) -> Path:
        """Configuration, certificates and keys."""
        return self.directory / "etc"

    @property
    def marker(self) -> Path:
        """Says that the directory may be removed."""
        return self.directory / ".serinus-lab"

    def log(self, program: str) -> Path:
        return self.logs / f"{program}.log"

    def kubeconfig(self, user: str) -> Path:
        return self.etc / f"{user}.kubeconfig"


def default_directory() -> Path:
    return cache() / "state"


@dataclass(frozen=True, slots=True)
class Registered:
    """The lab that was started last on this machine, and not yet removed."""

    place: Place
    pid: int
    """Of the process with which all others end."""
    identity: str
    """As `serinus.lib.processes.Seen.identity`."""

    @property
    def alive(self) -> bool:
        return processes.identity(self.pid) == self.identity


def register(place: Place, pid: int) -> Registered:
    made = Registered(place, pid, processes.identity(pid) or "")
    told = {"directory": str(place.directory), "pid": pid, "identity": made.identity}
    files.write(_LAB, json.dumps(told), mode=0o644, durable=False)
    return made


def registered() -> Registered | None:
    try:
        told = json.loads(_LAB.read_text())
    except FileNotFoundError:
        return None
    return Registered(Place(Path(told["directory"])), int(told["pid"]), str(told["identity"]))


def write_state(state: dict[str, Any]) -> None:
    """`state`: starting, up or failed; `problem`: why it failed; `programs`: name -> whether it is ready, how often it
    was started again, and how it ended last."""
    files.write(_STATE, json.dumps(state), mode=0o644, durable=False)


def read_state() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(_STATE.read_text())
    except FileNotFoundError:
        return {"state": "starting", "problem": "", "programs": {}}
    return found
