"""Endpoints of releases in a cluster: `<service>.<namespace>.svc:<port>`.

The control plane and the agents of gateways read them. Gateways have few packages, so this module needs none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SERVICE = re.compile(r"(?P<service>[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)\.(?P<namespace>[a-z0-9-]{1,63})\.svc:\d{1,5}")


@dataclass(frozen=True, slots=True)
class Service:
    """A Service by its name."""

    name: str
    namespace: str


def service_of(endpoint: str) -> Service | None:
    """Returns the Service of an endpoint, or None where the endpoint is an address by itself."""
    found = _SERVICE.fullmatch(endpoint)
    return Service(found["service"], found["namespace"]) if found else None
