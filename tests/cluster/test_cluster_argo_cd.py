"""A commit becomes what runs: an ApplicationSet makes an Application, which becomes Synced and Healthy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster, eventually

FLEET = f"fleet-{os.getpid()}"


@pytest.fixture
def repository(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a repository as Argo CD reaches it, and a clone of it."""
    if cluster.git is None:
        pytest.skip("this cluster has no Argo CD with a Git server that these tests may use: the lab has")
    bare = cluster.git.directory / f"{FLEET}.git"
    url = f"{cluster.git.url}/{FLEET}.git"
    clone = tmp_path / "clone"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", bare], check=True)
    try:
        subprocess.run(["git", "clone", "--quiet", url, clone], check=True, capture_output=True)
        yield url, clone
    finally:
        shutil.rmtree(bare)


def push(clone: Path, message: str, files: dict[str, dict[str, Any]]) -> str:
    """The commit that it made."""
    for name, document in files.items():
        path = clone / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for command in (
        ["add", "."],
        [*who, "commit", "--quiet", "-m", message],
        ["push", "--quiet", "origin", "HEAD:main"],
    ):
        subprocess.run(["git", "-C", clone, *command], check=True, capture_output=True)
    told = subprocess.run(["git", "-C", clone, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return told.stdout.strip()


def application_set(url: str, namespace: str) -> dict[str, Any]:
    source = {"repoURL": url, "targetRevision": "main", "path": "{{.path.path}}"}
    template = {
        "metadata": {
            "name": f"{FLEET}-{{{{.path.basenameNormalized}}}}",
            "finalizers": ["resources-finalizer.argocd.argoproj.io"],
        },
        "spec": {
            "project": "default",
            "source": source,
            "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
            "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
        },
    }
    generator = {
        "git": {
            "repoURL": url,
            "revision": "main",
            "directories": [{"path": "rendered/*"}],
            "requeueAfterSeconds": 3,
        }
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationSet",
        "metadata": {"name": FLEET},
        "spec": {
            "goTemplate": True,
            "goTemplateOptions": ["missingkey=error"],
            "generators": [generator],
            "template": template,
        },
    }


def config_map(value: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"value": value}}


def test_a_commit_becomes_synced_and_healthy_and_a_second_one_is_applied(
    cluster: Cluster, namespace: str, repository: tuple[str, Path]
) -> None:
    url, clone = repository
    first = push(clone, "One", {"rendered/card-fraud/settings.json": config_map("one")})
    cluster.apply("argocd", application_set(url, namespace))
    try:
        name = f"{FLEET}-card-fraud"
        eventually("synced and healthy", lambda: state(cluster, name) == (first, "Synced", "Healthy"))
        assert value(cluster, namespace) == "one"
        second = push(clone, "Two", {"rendered/card-fraud/settings.json": config_map("two")})
        cluster.kubectl(
            *(
                "annotate",
                f"application/{name}",
                "--namespace=argocd",
                "argocd.argoproj.io/refresh=normal",
                "--overwrite",
            )
        )
        eventually("the second commit", lambda: state(cluster, name) == (second, "Synced", "Healthy"))
        assert value(cluster, namespace) == "two"
    finally:
        cluster.kubectl("delete", "applicationset", FLEET, "--namespace=argocd", "--timeout=100s")
        eventually("the Application is gone", lambda: name not in cluster.kubectl("get", "applications", "-A"))


def state(cluster: Cluster, name: str) -> tuple[str, str, str]:
    status = cluster.get("application", name, "--namespace=argocd").get("status", {})
    sync = status.get("sync", {})
    return sync.get("revision", ""), sync.get("status", ""), status.get("health", {}).get("status", "")


def value(cluster: Cluster, namespace: str) -> str:
    found: str = cluster.get("configmap", "settings", f"--namespace={namespace}")["data"]["value"]
    return found
