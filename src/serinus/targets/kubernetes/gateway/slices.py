"""EndpointSlices as addresses of releases.

An endpoint of a release in a cluster is `<service>.<namespace>.svc:<port>`. Its members are the addresses of the
Service's pods that are ready: a pod that is being deleted is none, so that no request goes to it when it stops.
Source: Kubernetes API, discovery.k8s.io/v1.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from serinus.targets.kubernetes.endpoints import Service, service_of

SERVICE_LABEL = "kubernetes.io/service-name"
PORT_NAME = "http"
"""Of the port on which a release's pods answer."""


def members(endpoints: Iterable[str], slices: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Endpoint -> `host:port` of each pod that answers there, for each of `endpoints` that is of a Service; sorted.
    `slices`: EndpointSlices as the API server has them."""
    ready: dict[Service, set[str]] = {}
    for one in slices:
        metadata = one.get("metadata") or {}
        name, namespace = (metadata.get("labels") or {}).get(SERVICE_LABEL), metadata.get("namespace")
        if isinstance(name, str) and isinstance(namespace, str):
            ready.setdefault(Service(name, namespace), set()).update(_ready(one))
    wanted = {endpoint: service_of(endpoint) for endpoint in endpoints}
    return {
        endpoint: tuple(sorted(ready.get(service, ())))
        for endpoint, service in sorted(wanted.items())
        if service is not None
    }


def _ready(one: Mapping[str, Any]) -> Iterable[str]:
    port = _port(one)
    if port is None:
        return
    for endpoint in one.get("endpoints") or ():
        conditions = endpoint.get("conditions") or {}
        # Absent means ready, by the API; a pod that is being deleted is never ready.
        if conditions.get("ready", True) is False or conditions.get("terminating") is True:
            continue
        for address in endpoint.get("addresses") or ():
            if (text := _address(address)) is not None:
                yield f"{text}:{port}"


def _port(one: Mapping[str, Any]) -> int | None:
    ports = [port for port in one.get("ports") or () if isinstance(port.get("port"), int)]
    named = [port for port in ports if port.get("name") == PORT_NAME] or (ports if len(ports) == 1 else [])
    return named[0]["port"] if named else None


def _address(text: object) -> str | None:
    """A slice of FQDNs has none."""
    try:
        address = ipaddress.ip_address(str(text))
    except ValueError:
        return None
    return f"[{address}]" if address.version == 6 else str(address)
