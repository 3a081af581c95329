"""What the API server makes of the manifests of a release: nothing that they could have said."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from clusters import Cluster as Lab

from serinus.core.release import CacheSettings, Release, Scale, ServingSettings
from serinus.targets.kubernetes import manifests as made
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.cluster.kinds import DEPLOYMENT, kind_of
from serinus.targets.kubernetes.manifests import Collectors, Placed, Replicas, Settings

IMAGE = "registry.invalid/serinus/models/card-fraud@sha256:" + "e" * 64
SERVERS_OWN = {
    "Deployment": {"replicas"},  # the autoscaler's
    "Service": {"clusterIP", "clusterIPs", "ipFamilies"},  # given out by the cluster
}


@pytest.fixture(scope="module")
def client(cluster: Lab) -> Iterator[Cluster]:
    client = Cluster.connected(cluster.kubeconfig)
    yield client
    client.close()


def release(number: int) -> Release:
    settings = ServingSettings(cache=CacheSettings(), score_output="$(fraud)")
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return Release(f"card-fraud-{number}-3f9a2c", "card-fraud", str(number), "a" * 64, "b" * 64, settings, when)


@pytest.mark.parametrize(
    ("number", "scale", "long", "pull_secrets"),
    [
        (1, Scale(), False, ()),
        (2, Scale(max_workers=3, cpu_limit=0.3, memory_limit_bytes=777_777_777), True, ("registry",)),
    ],
)
def test_nothing_of_a_manifest_shows_as_drift(
    client: Cluster, namespace: str, number: int, scale: Scale, long: bool, pull_secrets: tuple[str, ...]
) -> None:
    settings = Settings(
        namespace,
        gateways="elsewhere",
        replicas=Replicas(least=1),
        pull_secrets=pull_secrets,
        collectors=Collectors(("10.0.0.7:9443",), authority="-----BEGIN CERTIFICATE-----\n") if long else None,
    )
    placed = Placed(release(number), scale, IMAGE, long, worker_bytes=123_456_789)
    secret = made.router_secret(placed.release, settings, "key")
    authority = made.collectors_authority(settings)
    for manifest in (secret, *([authority] if authority else []), *made.manifests(placed, settings)):
        client.apply(manifest, force=True)
        found = client.get(kind_of(manifest), manifest["metadata"]["name"], namespace)
        assert compared(found) == manifest
        again = client.apply(manifest, force=True)
        assert again["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"] or again["kind"] in (
            "Deployment",
            "HorizontalPodAutoscaler",
            "PodDisruptionBudget",
        )  # the status of these changes meanwhile
        assert again["metadata"].get("generation") == found["metadata"].get("generation")


def compared(found: dict[str, Any]) -> dict[str, Any]:
    """Without what only the API server says."""
    metadata = {
        name: found["metadata"][name]
        for name in ("annotations", "labels", "name", "namespace")
        if name in found["metadata"]
    }
    metadata.get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
    left = {name: value for name, value in found.items() if name not in ("metadata", "status")}
    if "spec" in left:
        own = SERVERS_OWN.get(found["kind"], set())
        left["spec"] = {name: value for name, value in left["spec"].items() if name not in own}
    return {**left, "metadata": metadata}


def test_what_the_autoscaler_has_set_is_left_alone(client: Cluster, cluster: Lab, namespace: str) -> None:
    placed = Placed(release(3), Scale(), IMAGE)
    deployment = made.deployment(placed, Settings(namespace))
    client.apply(deployment, force=True)
    name = deployment["metadata"]["name"]
    cluster.kubectl("scale", f"--namespace={namespace}", f"deployment/{name}", "--replicas=3")
    changed = made.deployment(Placed(release(3), Scale(max_workers=2), IMAGE), Settings(namespace))
    client.apply(changed, force=True)
    assert client.get(DEPLOYMENT, name, namespace)["spec"]["replicas"] == 3
