"""The objects of a release in a cluster. Pure: nothing is asked, and the same arguments give the same manifests.

names, settings    what the objects are called, and what holds for all releases
placed             what the manifests of one release are made of
pod, resources     the pod
objects            one function a manifest
rendering          manifests as YAML
parts              what manifests of gateways and of the control plane share
"""

from __future__ import annotations

from serinus.targets.kubernetes.manifests.names import endpoint, label_value, object_name
from serinus.targets.kubernetes.manifests.objects import (
    Manifest,
    autoscaler,
    collectors_authority,
    deployment,
    disruption_budget,
    manifests,
    network_policy,
    router_secret,
    service,
    service_account,
)
from serinus.targets.kubernetes.manifests.placed import Placed
from serinus.targets.kubernetes.manifests.rendering import rendered
from serinus.targets.kubernetes.manifests.settings import Collectors, Replicas, Settings, Sizing, Timing

__all__ = [
    "Collectors",
    "Manifest",
    "Placed",
    "Replicas",
    "Settings",
    "Sizing",
    "Timing",
    "autoscaler",
    "collectors_authority",
    "deployment",
    "disruption_budget",
    "endpoint",
    "label_value",
    "manifests",
    "network_policy",
    "object_name",
    "rendered",
    "router_secret",
    "service",
    "service_account",
]
