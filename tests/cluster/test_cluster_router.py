"""The router of gateways does what every Router must do, with a real API server between it and the agents.

Envoys and agents run on this machine; the pods that they stand for are made by Kubernetes and run nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster, eventually
from gateway_harness import Gateways
from router_contract import Routed, RouterContract

from serinus.targets.kubernetes.cluster import Cluster as Api
from serinus.targets.kubernetes.gateway.cluster_board import ClusterBoard, ClusterGatewayBoard, Places

LABELS = {"serinus/role": "gateway"}
NAME = "serinus-gateway-contract"


class ApiBoard(ClusterBoard):
    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._kubeconfig, self._at = cluster.kubeconfig, Places(namespace, namespace)
        super().__init__(Api.connected(cluster.kubeconfig), self._at)

    def of_gateway(self) -> ClusterGatewayBoard:
        return ClusterGatewayBoard(Api.connected(self._kubeconfig), self._at)


class AtApiServer(Gateways):
    def __init__(self, directory: Path, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        cluster.apply(namespace, replica_set())
        super().__init__(directory)

    def meeting_place(self) -> ApiBoard:
        return ApiBoard(self._cluster, self._namespace)

    def identities(self, number: int) -> Sequence[tuple[str, str | None]]:
        def made() -> list[dict[str, Any]]:
            found = self._cluster.get("pods", f"--namespace={self._namespace}")["items"]
            return found if len(found) == number else []

        return [(one["metadata"]["name"], one["metadata"]["uid"]) for one in eventually("pods", made)]

    def start(self) -> AtApiServer:
        """Says of the pods, as a kubelet would, that they are ready; gateways are once something is published."""
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        for gateway in self.all:
            self._cluster.kubectl(
                "patch", "pod", gateway.name, f"--namespace={self._namespace}", "--subresource=status",
                "--type=merge", f"--patch={json.dumps(ready)}",
            )  # fmt: skip
        super().start()
        return self


def replica_set() -> dict[str, Any]:
    """Of pods for which there is no scheduler."""
    container = {
        "name": "none",
        "image": "none",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "schedulerName": "nobody",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    template = {"metadata": {"labels": LABELS}, "spec": pod}
    spec = {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": NAME}, "spec": spec}


class TestGatewaysAtAnApiServer(RouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def proxy(cls, cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
        gateways = AtApiServer(tmp_path_factory.mktemp("gateways"), cluster, namespace)
        for release in ("a", "b", "c"):
            gateways.releases.start(release)
        try:
            yield gateways.start()
        finally:
            gateways.close()
