"""Parts that manifests of gateways and of the control plane have in common."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from serinus.targets.kubernetes.manifests.names import PART_OF

Manifest = dict[str, Any]


def head(api: str, kind: str, namespace: str, name: str, labels: Mapping[str, str]) -> Manifest:
    """Returns the beginning of a manifest. `namespace`: empty: the object is of the whole cluster."""
    where = {"namespace": namespace} if namespace else {}
    return {"apiVersion": api, "kind": kind, "metadata": {"labels": dict(labels), "name": name, **where}}


def labels(selected: Mapping[str, str], instance: str) -> dict[str, str]:
    """Returns the labels of the objects of an installation. `selected`: those by which its pods are found."""
    return {
        **selected,
        "app.kubernetes.io/instance": instance,
        **PART_OF,
        "app.kubernetes.io/version": version("serinus"),
    }


def spread(selected: Manifest) -> list[Manifest]:
    """Returns the constraints by which pods go to different nodes and zones where that is possible."""
    return [
        {
            "labelSelector": {"matchLabels": selected},
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]


def probe(what: Mapping[str, Any], *, period: int, failures: int) -> Manifest:
    """Returns a probe of a container, every `period` seconds."""
    return {**what, "failureThreshold": failures, "periodSeconds": period, "successThreshold": 1, "timeoutSeconds": 5}


def port(name: str, number: int) -> Manifest:
    """Returns a port of a container."""
    return {"containerPort": number, "name": name, "protocol": "TCP"}


def field(name: str, path: str) -> Manifest:
    """Returns a variable of a container with a field of its pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
