"""What an installation of gateways is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from serinus.core.errors import InvalidInput
from serinus.targets.kubernetes.manifests import Collectors

ServiceType = Literal["ClusterIP", "NodePort", "LoadBalancer"]
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """`image`: of gateways, by its digest. `python`: the minor version of Python in it. Raises InvalidInput."""

    image: str
    namespace: str
    models: str = "serinus"
    """The namespace of releases."""
    python: str = "3.11"
    replicas: int = 2
    threads: int = 1
    """Of one Envoy, and the processors that its container may use."""
    cpu_request: str = "500m"
    """Of processors, which the scheduler keeps free for one Envoy."""
    tls_secret: str | None = None
    """Of the type kubernetes.io/tls, in the namespace of gateways; None: plain HTTP."""
    client_certificates: bool = False
    """Callers need one; `ca.crt` of the same Secret vouches for them."""
    api_keys: Literal["required", "made", "none"] = "made"
    service: ServiceType = "ClusterIP"
    collectors: Collectors | None = None
    """Where local replies are sent. None: they stay in the pod."""
    control_planes: Sequence[str] = field(default_factory=tuple)
    """Networks, as CIDR, from which probes may come besides the pods of the control plane in this namespace."""

    def __post_init__(self) -> None:
        for what, name in (("namespace", self.namespace), ("namespace of releases", self.models)):
            if not _NAMESPACE.fullmatch(name):
                raise InvalidInput(f"The {what} of gateways is not a valid name of a namespace.")
        if self.replicas < 1 or self.threads < 1:
            raise InvalidInput("Gateways have at least one replica and one thread.")
        if self.client_certificates and self.tls_secret is None:
            raise InvalidInput("Client certificates need TLS.", hint="Name the Secret with the certificate.")
