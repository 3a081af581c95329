"""A cluster as the tests see it: the lab of this machine, or any other that SERINUS_KUBECONFIG names."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Git:
    """A Git server that the cluster reaches."""

    url: str
    """Of the directory that holds the repositories."""
    directory: Path
    """Where a bare repository is made that it serves."""


@dataclass(frozen=True)
class Cluster:
    kubeconfig: Path
    registry: str
    """Host and port of an OCI registry, by which this machine pushes and the nodes pull."""
    plain: tuple[str, ...]
    """The registry, where it is asked without TLS; those on loopback addresses are, without being named here."""
    kubectl_program: str
    routed: bool
    """Whether this machine reaches the addresses of pods and services by itself."""
    machine: str | None
    """An address at which pods reach what this machine listens on; None: not known."""
    git: Git | None
    """Argo CD runs and reaches it; None: not in this cluster."""

    def kubectl(self, *arguments: str, given: str | None = None, seconds: float = 120) -> str:
        """What `kubectl` prints; it fails the test with what it reports."""
        told = subprocess.run(
            [self.kubectl_program, f"--kubeconfig={self.kubeconfig}", *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert told.returncode == 0, f"kubectl {' '.join(arguments)}: {told.stderr}"
        return told.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "--output=json"))
        return found

    def apply(self, namespace: str, *documents: Mapping[str, Any]) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.kubectl("apply", f"--namespace={namespace}", "--filename=-", given=json.dumps(items))

    def leave_argo_cd(self, named: str) -> None:
        """Removes what Serinus made in the namespace of Argo CD for the cluster `named` in Git. Serinus must have
        ended, because it would make it again."""
        remove = ("--namespace=argocd", "--ignore-not-found", "--timeout=100s")
        self.kubectl("delete", "applicationset", f"serinus-{named}", *remove)
        of_it = ("applications", "--namespace=argocd", f"--selector=serinus/cluster={named}", "--output=name")
        eventually("its Applications are gone", lambda: not self.kubectl("get", *of_it))
        self.kubectl("delete", "appproject", f"serinus-{named}", *remove)  # No Application ends without its project.

    @contextmanager
    def reach(self, namespace: str, service: str, port: int) -> Iterator[str]:
        """Host and port at which this machine reaches the service: its own address, or one that is forwarded to one of
        its pods."""
        if self.routed:
            address = self.get("service", service, f"--namespace={namespace}")["spec"]["clusterIP"]
            yield f"{address}:{port}"
            return
        command = [self.kubectl_program, f"--kubeconfig={self.kubeconfig}", f"--namespace={namespace}"]
        with subprocess.Popen(
            [*command, "port-forward", f"service/{service}", f":{port}"], stdout=subprocess.PIPE, text=True
        ) as forwarding:
            try:
                assert forwarding.stdout is not None
                first = forwarding.stdout.readline()  # Forwarding from 127.0.0.1:41234 -> 8080
                assert first.startswith("Forwarding from "), first
                yield first.split()[2]
            finally:
                forwarding.terminate()


def eventually(what: str, ask: Callable[[], T], *, seconds: float = 120) -> T:
    """The first true answer. It is asked again while the answer is false, and where asking fails an assertion or the
    network does."""
    deadline = time.monotonic() + seconds
    while True:
        last: object
        try:
            if answer := ask():
                return answer
            last = answer
        except (AssertionError, OSError) as error:
            last = error
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}; at last {last!r}"
        time.sleep(0.25)


def foreign(kubeconfig: str) -> Cluster:
    """The cluster of SERINUS_KUBECONFIG, whose registry SERINUS_REGISTRY names."""
    named = os.environ.get("SERINUS_REGISTRY")
    assert named, "SERINUS_REGISTRY must name a registry (host:port) that the cluster pulls from as well"
    registry = named.removeprefix("http://")
    assert Path(kubeconfig).exists(), f"SERINUS_KUBECONFIG names {kubeconfig}, which does not exist"
    return Cluster(
        Path(kubeconfig),
        registry,
        () if registry == named else (registry,),
        "kubectl",
        routed=False,
        machine=os.environ.get("SERINUS_MACHINE"),
        git=None,
    )


def of_the_lab(told: Mapping[str, Any], kubectl: str) -> Cluster:
    """`told`: as `clusterlab.lifecycle.status` says it."""
    kubeconfig = Path(told["kubeconfig"])
    assert os.access(kubeconfig, os.R_OK), (
        f"{kubeconfig} belongs to another user: start the lab with `python -m clusterlab up --owner {os.geteuid()}`"
    )
    git = Git(told["git"], Path(told["repositories"]))
    registry = told["registry"]
    return Cluster(kubeconfig, registry, (registry,), kubectl, routed=True, machine=told["machine"], git=git)
