"""Serinus on the lab, for whoever runs it there: settings that suit it, and what its pods run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

OF_THE_WHOLE_CLUSTER = ("validatingadmissionpolicybinding", "validatingadmissionpolicy")
"""Kinds of objects of gateways that no namespace takes with it. Each is named `serinus-gateway-reports.<namespace>`."""


def settings(
    kubeconfig: str | Path,
    namespace: str,
    repository: str,
    base: str,
    plain: Collection[str],
    machine: str,
    port: int,
    releases: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the settings for `serinus up --cluster`, with the engine outside of the cluster. Little is requested: the
    lab has two processors for everything.

    `plain`: registries that are asked without TLS. `machine`, `port`: where pods reach the collector. `releases`: that
    section, where one pod each is not right.
    """
    return {
        "kubeconfig": str(kubeconfig),
        "namespace": namespace,
        "control_planes": ["10.0.0.0/8"],
        "images": {"repository": repository, "base": base, "plain": list(plain)},
        "releases": releases or {"replicas": {"least": 1, "most": 1}, "sizing": {"requested_share": 0.1}},
        "gateways": {"cpu_request": "50m"},
        "collectors": {"listen": f"0.0.0.0:{port}", "addresses": [f"{machine}:{port}"]},
    }


def processes_of(pods: Iterable[Mapping[str, Any]], container: str | None = None) -> list[int]:
    """Returns the processes in pods of the lab, as root of this machine sees them. `container`: only those of the
    containers of that name."""
    ids = [
        one["containerID"].partition("://")[2]
        for pod in pods
        for kind in ("containerStatuses", "initContainerStatuses")
        for one in pod["status"].get(kind, [])
        if "containerID" in one and container in (None, one["name"])
    ]
    found = []
    for file in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            text = file.read_text()
        except OSError:  # The process has ended.
            continue
        if any(one in text for one in ids):
            found.append(int(file.parent.name))
    return found
