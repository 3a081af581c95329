"""An installation in a cluster: the commands of the guides, what a team has beside it, its values and its Secrets."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import databases
import httpx
import mlflow_servers
import object_stores
import package_index
import pytest
from clusters import Cluster
from volumes import volumes
from waiting import free_port

PREDICTIONS = f"s3://{object_stores.BUCKET}/serinus/predictions"
PYTHON = "/opt/python/bin/python3"
READY = 900.0
"""Seconds until the pods are ready. The image of gateways is built before, where the registry does not have it."""

# --- the commands of the guide ------------------------------------------------------------------------------


def ran(*command: str | Path, **environment: str) -> str:
    """What a command prints; it fails the test with what it reports."""
    told = subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, **environment})
    assert told.returncode == 0, f"{' '.join(map(str, command))}: {told.stderr}"
    return told.stdout.strip()


def serinus_cli(*arguments: str | Path, **environment: str) -> str:
    return ran(sys.executable, "-m", "serinus.cli", *arguments, **environment)


def base_image(cluster: Cluster, name: str, *options: str) -> str:
    plain = ["--plain"] if cluster.plain else []
    reference = f"{cluster.registry}/serinus/{name}"
    return ran(sys.executable, "-m", "serinus.targets.kubernetes.images", reference, *options, *plain)


def certificate(directory: Path, subject: str, names: str) -> tuple[Path, Path]:
    """Certificate and key, as the guide makes those of collectors."""
    key, chain = directory / f"{subject}.key", directory / f"{subject}.crt"
    ran(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"),
        *("-days", "3650", "-subj", f"/CN={subject}", "-addext", f"subjectAltName={names}"),
        *("-keyout", key, "-out", chain),
    )
    return chain, key


# --- what has to be there -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Services:
    """What a team has: addresses as pods reach them."""

    store: str
    """The URL of a PostgreSQL database, with its password."""
    bucket: object_stores.ObjectStore
    mlflow: str
    index: str
    fleet: str
    storage_class: str


@contextmanager
def team(cluster: Cluster, namespace: str, directory: Path) -> Iterator[Services]:
    """Those of a team with an installation in the namespace. What they keep is in `directory`."""
    if cluster.machine is None or cluster.git is None or not cluster.routed:
        pytest.skip("the cluster needs Argo CD with a Git server that these tests may use, and reaches this machine")
    machine = cluster.machine
    with ExitStack() as ended:
        server = ended.enter_context(databases.running(machine))
        store = ended.enter_context(databases.new_database(server.address))
        bucket = ended.enter_context(object_stores.running(made(directory, "object-store"), machine))
        registry = mlflow_servers.running(machine, free_port(), made(directory, "mlflow"))
        index = ended.enter_context(package_index.running(machine))
        bare = cluster.git.directory / f"{namespace}.git"
        ran("git", "init", "--quiet", "--bare", "--initial-branch=main", bare)
        ended.callback(shutil.rmtree, bare)
        yield Services(
            store,
            bucket,
            ended.enter_context(registry),
            index.url,
            f"{cluster.git.url}/{bare.name}",
            ended.enter_context(volumes(cluster, namespace, 2, "8Gi")),
        )


def made(directory: Path, name: str) -> Path:
    (directory / name).mkdir()
    return directory / name


@contextmanager
def namespace_of_releases(cluster: Cluster, namespace: str) -> Iterator[str]:
    """That of the installation in the namespace. At the end Argo CD makes nothing in it any more."""
    name = f"{namespace}-fraud"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply("default", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield name
    cluster.leave_argo_cd(namespace)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


# --- the installation ---------------------------------------------------------------------------------------


def values_of(cluster: Cluster, namespace: str, releases: str, services: Services) -> dict[str, Any]:
    """As of the guide, with the addresses of this machine and with small requests."""
    split = httpx.URL(services.store)
    return {
        "service": "NodePort",
        "storage": {"size": "8Gi", "class": services.storage_class},
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
        "config": {
            "hosts": [node_address(cluster)],
            "disk": "4GiB",
            "cluster": {
                "namespace": releases,
                "images": {
                    "repository": f"{cluster.registry}/serinus",
                    "base": base_image(cluster, "base"),
                    "plain": list(cluster.plain),
                },
                "releases": {"replicas": {"least": 1, "most": 1}, "sizing": {"requested_share": 0.1}},
                "gateways": {"cpu_request": "50m"},
                "fleet": {"remote": services.fleet, "argo_cd": {"cluster": namespace}},
            },
            "mlflow": services.mlflow,
            "predictions": PREDICTIONS,
            "database": f"postgresql://{split.username}@{split.netloc.decode().rpartition('@')[2]}{split.path}",
        },
    }


def node_address(cluster: Cluster) -> str:
    [node] = cluster.get("nodes")["items"]
    return next(str(one["address"]) for one in node["status"]["addresses"] if one["type"] == "InternalIP")


def make_secrets(
    cluster: Cluster, namespace: str, services: Services, directory: Path, identity: str | None = None
) -> Path:
    """Those of the guide. `identity`: the secret of a home that is moved. Returns the authority of the API's
    certificate."""

    def make(kind: str, name: str, *content: str) -> None:
        cluster.kubectl(f"--namespace={namespace}", "create", "secret", kind, f"serinus-{name}", *content)

    make("generic", "identity", f"--from-literal=secret={identity or secrets.token_hex(32)}")
    make("generic", "store", f"--from-literal=url={services.store}")
    chain, key = certificate(directory, "serinus-api", f"IP:{node_address(cluster)}")
    make("tls", "api-tls", f"--cert={chain}", f"--key={key}")
    variables = {
        "PGPASSWORD": databases.PASSWORD,
        "UV_DEFAULT_INDEX": services.index,
        **{name: value for name, value in services.bucket.environment().items() if name.startswith("AWS_")},
    }
    make("generic", "variables", *(f"--from-literal={name}={value}" for name, value in variables.items()))
    collectors, its_key = certificate(directory, "serinus-collector", "DNS:serinus-collector")
    files = {"tls.crt": collectors, "tls.key": its_key, "ca.crt": collectors}
    make("generic", "collectors-tls", *(f"--from-file={name}={file}" for name, file in files.items()))
    return chain


class Again(httpx.HTTPTransport):
    """Asks again what only reads, while the pod that would answer is ending."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(30 if request.method == "GET" else 0):
            try:
                return super().handle_request(request)
            except httpx.TransportError:
                time.sleep(1)
        return super().handle_request(request)


def ready(cluster: Cluster, namespace: str) -> None:
    wait = ("rollout", "status", "statefulset/serinus-control", f"--timeout={READY:.0f}s")
    try:
        cluster.kubectl(f"--namespace={namespace}", *wait, seconds=READY + 30)
    except AssertionError as error:
        told = cluster.kubectl(f"--namespace={namespace}", "describe", "pods", "--selector=serinus/role=control")
        logs = [
            cluster.kubectl(f"--namespace={namespace}", "logs", f"serinus-control-{n}", "--tail=60") for n in (0, 1)
        ]
        raise AssertionError("\n".join([str(error), told, *logs])) from error


def leader_of(cluster: Cluster, namespace: str) -> str:
    """The pod that decides; empty: none."""
    spec = cluster.get("lease", "serinus-control", f"--namespace={namespace}")["spec"]
    return str(spec.get("holderIdentity") or "").partition(".")[0]


def api_of(cluster: Cluster, namespace: str) -> str:
    """The URL of the API and the page, by the port of the node."""
    [port] = cluster.get("service", "serinus", f"--namespace={namespace}")["spec"]["ports"]
    return f"https://{node_address(cluster)}:{port['nodePort']}"


def uninstall(cluster: Cluster, namespace: str, values: Path) -> None:
    """Removes what is of the whole cluster, and the control plane, which would make its ApplicationSet again. The rest
    goes with the namespaces."""
    cluster.kubectl(f"--namespace={namespace}", "delete", "statefulset", "serinus-control", "--ignore-not-found")
    cluster.kubectl(f"--namespace={namespace}", "wait", "--for=delete", "pod", "--selector=serinus/role=control")
    text = serinus_cli("--json", "install", values, "--namespace", namespace, "--dry-run")
    of_the_cluster = [one for one in json.loads(text) if "namespace" not in one["metadata"]]
    names = [(one["kind"], one["metadata"]["name"]) for one in of_the_cluster]
    policies = ("validatingadmissionpolicybinding", "validatingadmissionpolicy")
    for kind, name in (*names, *((kind, f"serinus-gateway-reports.{namespace}") for kind in policies)):
        cluster.kubectl("delete", kind, name, "--ignore-not-found")
