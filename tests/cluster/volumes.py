"""Volumes for pods that keep a disk, where a cluster has nobody who makes them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clusters import Cluster


@contextmanager
def volumes(cluster: Cluster, name: str, number: int, size: str) -> Iterator[str]:
    """The StorageClass `name` with so many volumes. They are directories of this machine, which is the node."""
    [node] = cluster.get("nodes")["items"]
    directory = Path(tempfile.mkdtemp(prefix="serinus-volumes-", dir="/var/tmp"))
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    there = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node["metadata"]["name"]]}

    def volume(path: Path) -> dict[str, Any]:
        path.mkdir()
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{name}-{path.name}"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": size},
                "local": {"path": str(path)},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [there]}]}},
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": name,
            },
        }

    made = [volume(directory / str(one)) for one in range(number)]
    try:
        cluster.apply("default", storage, *made)
        yield name
    finally:
        for one in (*made, storage):
            cluster.kubectl("delete", one["kind"], one["metadata"]["name"], "--ignore-not-found", "--wait=false")
        shutil.rmtree(directory)
