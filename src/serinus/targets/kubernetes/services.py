"""Where Services answer, for a process that may run outside the cluster and knows none of its names."""

from __future__ import annotations

import threading
from time import monotonic

from serinus.core.errors import Unavailable
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.cluster.kinds import SERVICE
from serinus.targets.kubernetes.endpoints import service_of

_TRUSTED = 10.0
"""Seconds for which an address is used without being read again. A Service that is made anew has another one."""


class Services:
    """The addresses of Services. All methods are thread-safe."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, float]] = {}
        """Endpoint -> address, and until when it is trusted."""

    def address(self, endpoint: str) -> tuple[str, int]:
        """Returns host and port of an endpoint `<service>.<namespace>.svc:<port>` or `<host>:<port>`. Raises
        Unavailable where the Service does not exist, has no address or cannot be read."""
        host, _, port = endpoint.rpartition(":")
        service = service_of(endpoint)
        if service is None:
            return host.strip("[]"), int(port)
        with self._lock:
            known, until = self._known.get(endpoint, ("", 0.0))
        if monotonic() < until:
            return known, int(port)
        found = self._cluster.find(SERVICE, service.name, service.namespace)
        address = str(((found or {}).get("spec") or {}).get("clusterIP") or "None")
        if address == "None":
            raise Unavailable(
                f"The Service {service.name} of the namespace {service.namespace} "
                f"{'does not exist' if found is None else 'has no address of its own'}.",
                delay=1.0,
            )
        with self._lock:
            self._known[endpoint] = (address, monotonic() + _TRUSTED)
        return address, int(port)
