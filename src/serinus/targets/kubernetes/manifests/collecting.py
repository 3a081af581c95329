"""How pods reach collectors and identify themselves to them: pods of releases and of gateways alike."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from serinus.targets.kubernetes.manifests.names import AUDIENCE, CONTROL_ROLE, PART_OF, ROLE_LABEL
from serinus.targets.kubernetes.manifests.settings import Collectors

DIRECTORY = "/var/run/serinus/collectors"
AUTHORITY_FILE, TOKEN_FILE = "authority.pem", "token"
OBJECT = "serinus-collectors"
"""The ConfigMap with the certificate of the collectors' authority."""
_NAME_SERVERS = [
    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
    {"ipBlock": {"cidr": "169.254.20.10/32"}},
]
"""Where names are looked up: the cluster's own servers, and the cache that Kubernetes offers on each node."""
_TOKEN_SECONDS = 3600
"""The lifetime of a token. The kubelet renews it before it expires."""


def authority(collectors: Collectors, namespace: str) -> dict[str, Any]:
    """Returns the ConfigMap that the pods in a namespace mount to verify collectors."""
    metadata = {"labels": dict(PART_OF), "name": OBJECT, "namespace": namespace}
    data = {AUTHORITY_FILE: collectors.authority}
    return {"apiVersion": "v1", "data": data, "kind": "ConfigMap", "metadata": metadata}


def volume() -> dict[str, Any]:
    """Returns the volume with the authority and a token. The API server accepts the token for nothing else."""
    token = {"audience": AUDIENCE, "expirationSeconds": _TOKEN_SECONDS, "path": TOKEN_FILE}
    certificate = {"items": [{"key": AUTHORITY_FILE, "path": AUTHORITY_FILE}], "name": OBJECT}
    sources = [{"serviceAccountToken": token}, {"configMap": certificate}]
    return {"name": "collectors", "projected": {"defaultMode": 0o644, "sources": sources}}


def mount() -> dict[str, Any]:
    """Returns the mount of `volume` in a container."""
    return {"mountPath": DIRECTORY, "name": "collectors", "readOnly": True}


def egress(collectors: Collectors, namespace: str, control: str) -> list[dict[str, Any]]:
    """Returns the rules of a NetworkPolicy in `namespace` for the way to the collectors. An address that is a name
    stands for the pods of the control plane in the namespace `control`, and has to be looked up."""
    rules: list[dict[str, Any]] = []
    for address in collectors.addresses:
        host, _, port = address.rpartition(":")
        peer = _peer(host.strip("[]"), namespace, control)
        rules.append({"ports": [{"port": int(port), "protocol": "TCP"}], "to": [peer]})
    if any("podSelector" in rule["to"][0] for rule in rules):
        rules.append(
            {"ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")], "to": _NAME_SERVERS}
        )
    return rules


def _peer(host: str, namespace: str, control: str) -> dict[str, Any]:
    try:
        address = ip_address(host)
    except ValueError:
        peer: dict[str, Any] = {"podSelector": {"matchLabels": {ROLE_LABEL: CONTROL_ROLE}}}
        if control != namespace:
            peer["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": control}}
        return peer
    return {"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}
