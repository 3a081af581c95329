"""What the other tests of the cluster rely on: pods, services, metrics, the autoscaler."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from clusters import Cluster, eventually

NAME = "answer"
LABELS = {"app.kubernetes.io/name": NAME}


@pytest.fixture(scope="module")
def answering(cluster: Cluster, namespace: str, answer_image: str) -> str:
    """The name of a service, and of its deployment of one pod, which is available."""
    cluster.apply(namespace, deployment(answer_image), service())
    cluster.kubectl(
        "wait", f"--namespace={namespace}", "--for=condition=Available", f"deployment/{NAME}", "--timeout=100s"
    )
    return NAME


def deployment(image: str) -> dict[str, Any]:
    container = {
        "name": NAME,
        "image": image,
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "50m", "memory": "16Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    pod = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "automountServiceAccountToken": False,
        "containers": [container],
    }
    spec = {"selector": {"matchLabels": LABELS}, "template": {"metadata": {"labels": LABELS}, "spec": pod}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME}, "spec": spec}


def service() -> dict[str, Any]:
    spec = {"selector": LABELS, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME}, "spec": spec}


def ask(address: str, path: str = "/") -> str:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        told: str = answer.read().decode().strip()
    return told


def pods(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.get("pods", f"--namespace={namespace}")["items"]
    return found


def test_every_node_is_ready(cluster: Cluster) -> None:
    nodes = cluster.get("nodes")["items"]
    assert nodes
    for node in nodes:
        [ready] = [found for found in node["status"]["conditions"] if found["type"] == "Ready"]
        assert ready["status"] == "True", ready


def test_a_pod_of_an_image_of_ours_answers_through_its_service(
    cluster: Cluster, namespace: str, answering: str
) -> None:
    names = [pod["metadata"]["name"] for pod in pods(cluster, namespace)]
    with cluster.reach(namespace, answering, 80) as address:
        assert eventually("an answer through the service", lambda: ask(address)) in names


def test_a_pod_is_reached_by_its_own_address_where_there_is_a_route(
    cluster: Cluster, namespace: str, answering: str
) -> None:
    if not cluster.routed:
        pytest.skip("this machine has no route to the pods of this cluster")
    [pod] = pods(cluster, namespace)
    assert ask(f"{pod['status']['podIP']}:8080") == pod["metadata"]["name"]


def test_an_image_that_breaks_the_restricted_standard_is_refused(
    cluster: Cluster, namespace: str, answer_image: str
) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "privileged"},
        "spec": {"containers": [{"name": "it", "image": answer_image, "securityContext": {"privileged": True}}]},
    }
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        cluster.apply(namespace, pod)


def test_the_use_of_pods_and_nodes_is_measured(cluster: Cluster, namespace: str, answering: str) -> None:
    """Of a pod after its second measurement."""
    used = eventually(
        "usage of the pod", lambda: cluster.kubectl("top", "pods", f"--namespace={namespace}", "--no-headers")
    )
    assert used.startswith(answering)
    assert "Mi" in used
    assert "%" in cluster.kubectl("top", "nodes", "--no-headers")


def test_the_autoscaler_adds_pods_while_they_are_busy_and_removes_them_afterwards(
    cluster: Cluster, namespace: str, answering: str
) -> None:
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
    }
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": answering},
        "minReplicas": 1,
        "maxReplicas": 2,
        "metrics": [metric],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
    }
    cluster.apply(
        namespace,
        {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": NAME}, "spec": spec},
    )

    def available() -> int:
        found = cluster.get("deployment", answering, f"--namespace={namespace}")
        return int(found["status"].get("availableReplicas", 0))

    with cluster.reach(namespace, answering, 80) as address:
        with busy(address):
            eventually("a second pod", lambda: available() == 2, seconds=150)
        eventually("one pod again", lambda: available() == 1, seconds=150)
    events = cluster.kubectl("get", "events", f"--namespace={namespace}", "--field-selector=reason=SuccessfulRescale")
    assert "New size: 2; reason: cpu resource utilization" in events


@contextmanager
def busy(address: str) -> Iterator[None]:
    """More requests than one pod may have processor time for."""
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            try:
                ask(address, "/burn?ms=50")
            except OSError:  # a pod has just gone, or is late
                done.wait(0.1)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
