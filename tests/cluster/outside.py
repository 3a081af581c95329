"""The engine outside of the cluster, with all that `serinus up --cluster` starts."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from clusters import Cluster
from waiting import free_port
from whole_load import wait_until
from whole_serinus import Serinus, running

from clusterlab import serving
from serinus.core.home import Home
from serinus.targets.kubernetes.images import debian
from serinus.targets.kubernetes.images.registry import DockerConfig, Registries
from serinus.targets.local.supervisor import Options, down, up

FIRST_DEPLOYMENT = 420.0
"""Seconds in which the environments are built, and their layers pushed, for the first time."""


def settings(cluster: Cluster, namespace: str) -> dict[str, Any]:
    """Those of a cluster whose nodes have two processors for everything."""
    if cluster.machine is None:
        pytest.skip("it is not known at which address pods reach this machine (SERINUS_MACHINE)")
    base = debian.push(Registries(DockerConfig(), plain=cluster.plain).of(cluster.registry), "serinus/base")
    return serving.settings(
        cluster.kubeconfig,
        namespace,
        f"{cluster.registry}/serinus",
        str(base),
        cluster.plain,
        cluster.machine,
        free_port(),
    )


@contextmanager
def engine(
    cluster: Cluster, document: dict[str, Any], directory: Path, *, predictions_database: str | None = None
) -> Iterator[Serinus]:
    """Runs `serinus up` in a home of its own, by the settings in `document`. `directory`: where their file is kept."""
    file = directory / "cluster.yaml"
    file.write_text(yaml.safe_dump(document))
    place = Path(tempfile.mkdtemp(prefix="serinus-cluster-", dir="/tmp"))
    home = Home(place / "home")
    began = time.monotonic()
    try:
        options = Options(cluster=str(file), predictions_database=predictions_database)
        with running(home, up(home, options, print)) as found:
            print(f"\n`serinus up` took {time.monotonic() - began:.0f} s")
            yield found
    finally:
        down(home)
        for kind in serving.OF_THE_WHOLE_CLUSTER:
            name = f"serinus-gateway-reports.{document['namespace']}"
            cluster.kubectl("delete", kind, name, "--ignore-not-found")
        if "SERINUS_KEEP_HOME" not in os.environ:
            shutil.rmtree(place, ignore_errors=True)


def pods(cluster: Cluster, namespace: str, role: str) -> list[dict[str, Any]]:
    """Those of the role that are not being deleted."""
    selected = (f"--namespace={namespace}", f"--selector=serinus/role={role}")
    found: list[dict[str, Any]] = cluster.get("pods", *selected)["items"]
    return [one for one in found if "deletionTimestamp" not in one["metadata"]]


def kill(serinus: Serinus, name: str) -> float:
    """Kills the process and waits for the next one. How many seconds that took."""
    pid, at = serinus.process(name)["pid"], time.monotonic()
    os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: serinus.process(name)["pid"] not in (None, pid) and serinus.answers(), 90, f"the return of {name}"
    )
    return time.monotonic() - at
