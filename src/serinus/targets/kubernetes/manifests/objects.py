"""The objects of one release, one function a manifest. Pure: the same arguments give the same manifest.

They say all that the API server would add by itself, so that what is read back differs from them in nothing that they
could have said.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from serinus.core.release import Release
from serinus.targets.kubernetes.manifests import collecting
from serinus.targets.kubernetes.manifests.names import (
    CONTROL_ROLE,
    GATEWAY_ROLE,
    HEALTH_PORT,
    PORT,
    ROLE_LABEL,
    labels,
    object_name,
    selector,
)
from serinus.targets.kubernetes.manifests.placed import Placed, annotations_of
from serinus.targets.kubernetes.manifests.pod import ROUTER_FIELD, template
from serinus.targets.kubernetes.manifests.settings import Replicas, Settings

Manifest = dict[str, Any]
IN_FLIGHT = "serinus_pod_requests_in_flight"
"""The metric that pods give of the requests that wait in them or are being answered."""


def deployment(placed: Placed, settings: Settings) -> Manifest:
    """Without `replicas`, which belong to the HorizontalPodAutoscaler."""
    release = placed.release
    spec = {
        "progressDeadlineSeconds": settings.timing.progress,
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": selector(release.id)},
        # A pod goes once another one is ready in its place.
        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}, "type": "RollingUpdate"},
        "template": template(placed, settings),
    }
    return _object("apps/v1", "Deployment", release, settings, said=annotations_of(placed), spec=spec)


def service(release: Release, settings: Settings) -> Manifest:
    port = {"name": "http", "port": PORT, "protocol": "TCP", "targetPort": "http"}
    spec = {
        "internalTrafficPolicy": "Cluster",
        "ipFamilyPolicy": "SingleStack",
        "ports": [port],
        "selector": selector(release.id),
        "sessionAffinity": "None",
        "type": "ClusterIP",
    }
    return _object("v1", "Service", release, settings, spec=spec)


def autoscaler(release: Release, settings: Settings) -> Manifest:
    replicas = settings.replicas
    grow = [{"periodSeconds": 15, "type": "Percent", "value": 100}, {"periodSeconds": 15, "type": "Pods", "value": 4}]
    shrink = [{"periodSeconds": 60, "type": "Percent", "value": 50}]
    spec = {
        "behavior": {
            "scaleDown": {
                "policies": shrink,
                "selectPolicy": "Max",
                "stabilizationWindowSeconds": replicas.scale_down_after,
            },
            "scaleUp": {"policies": grow, "selectPolicy": "Max", "stabilizationWindowSeconds": 0},
        },
        "maxReplicas": replicas.most,
        "metrics": _metrics(replicas),
        "minReplicas": replicas.least,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": object_name(release.id)},
    }
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", release, settings, spec=spec)


def _metrics(replicas: Replicas) -> list[Manifest]:
    """The autoscaler follows the metric that asks for most pods."""
    cpu = {"name": "cpu", "target": {"averageUtilization": replicas.cpu_percent, "type": "Utilization"}}
    found: list[Manifest] = [{"resource": cpu, "type": "Resource"}]
    if replicas.in_flight is not None:
        target = {"averageValue": str(replicas.in_flight), "type": "AverageValue"}
        found.append({"pods": {"metric": {"name": IN_FLIGHT}, "target": target}, "type": "Pods"})
    return found


def disruption_budget(release: Release, settings: Settings) -> Manifest:
    """One pod at a time when nodes are drained; a pod that is not ready holds no node back."""
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": selector(release.id)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return _object("policy/v1", "PodDisruptionBudget", release, settings, spec=spec)


def network_policy(release: Release, settings: Settings) -> Manifest:
    """Gateways and the control plane reach the model. Everybody reaches the port of probes and metrics: the kubelet has
    no labels by which it could be let in. The pod reaches collectors and nothing else."""
    who: dict[str, Any] = {
        "podSelector": {
            "matchExpressions": [{"key": ROLE_LABEL, "operator": "In", "values": [CONTROL_ROLE, GATEWAY_ROLE]}]
        }
    }
    if settings.gateways and settings.gateways != settings.namespace:
        who["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": settings.gateways}}
    outside = [{"ipBlock": {"cidr": network}} for network in settings.control_planes]
    control = settings.gateways or settings.namespace
    known = settings.collectors
    spec = {
        **({"egress": collecting.egress(known, settings.namespace, control)} if known else {}),
        "ingress": [
            {"from": [who, *outside], "ports": [{"port": PORT, "protocol": "TCP"}]},
            {"ports": [{"port": HEALTH_PORT, "protocol": "TCP"}]},
        ],
        "podSelector": {"matchLabels": selector(release.id)},
        "policyTypes": ["Ingress", "Egress"],
    }
    return _object("networking.k8s.io/v1", "NetworkPolicy", release, settings, spec=spec)


def collectors_authority(settings: Settings) -> Manifest | None:
    """Returns the ConfigMap that the pods of all releases mount to verify collectors. None: there are none."""
    known = settings.collectors
    return None if known is None else collecting.authority(known, settings.namespace)


def service_account(release: Release, settings: Settings) -> Manifest:
    """Without a token of the API server: nothing in the pod may ask it."""
    return {**_object("v1", "ServiceAccount", release, settings), "automountServiceAccountToken": False}


def router_secret(release: Release, settings: Settings, key: str) -> Manifest:
    """The key that gateways show to the release. It belongs in no repository, so `manifests` leaves it out."""
    made = _object("v1", "Secret", release, settings)
    return {**made, "data": {ROUTER_FIELD: base64.b64encode(key.encode()).decode()}, "type": "Opaque"}


def manifests(placed: Placed, settings: Settings) -> tuple[Manifest, ...]:
    """All of a release, in the order in which they are applied."""
    release = placed.release
    return (
        service_account(release, settings),
        network_policy(release, settings),
        service(release, settings),
        deployment(placed, settings),
        autoscaler(release, settings),
        disruption_budget(release, settings),
    )


def _object(
    version: str,
    kind: str,
    release: Release,
    settings: Settings,
    *,
    said: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Manifest:
    metadata: dict[str, Any] = {
        **({"annotations": dict(said)} if said else {}),
        "labels": labels(release.id, release.model, release.version),
        "name": object_name(release.id),
        "namespace": settings.namespace,
    }
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **({"spec": dict(spec)} if spec else {})}
