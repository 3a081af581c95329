"""The client of a cluster whose API server is a function."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
from lightkube import Client
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster as ClusterEntry
from lightkube.config.models import User

from serinus.targets.kubernetes.cluster import Cluster


def cluster_of(answer: Callable[[httpx2.Request], httpx2.Response], token: str = "token") -> Cluster:
    """`answer`: what the API server answers to a request."""
    config = KubeConfig.from_one(cluster=ClusterEntry(server="https://10.0.0.1:6443"), user=User(token=token)).get()
    return Cluster(Client(config, transport=httpx2.MockTransport(answer), field_manager="serinus", trust_env=False))


def not_found() -> httpx2.Response:
    """Its answer where there is no such object."""
    return httpx2.Response(404, json={"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"})
