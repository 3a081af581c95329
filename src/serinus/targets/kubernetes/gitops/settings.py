"""Which Argo CD applies the fleet repository, and where it finds the manifests of this cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CLUSTER = re.compile(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class GitOps:
    """Raises ValueError where `cluster` is not a name of up to 42 lower-case letters, digits and hyphens."""

    repository: str
    """The address of the fleet repository as Argo CD reads it. Its credentials are Argo CD's own."""
    cluster: str
    """The folder of this cluster below `rendered` in that repository, and a part of the names in Argo CD."""
    branch: str = "main"
    namespace: str = "argocd"
    """Of Argo CD."""
    server: str = "https://kubernetes.default.svc"
    """The API server of the cluster, as Argo CD reaches it."""

    def __post_init__(self) -> None:
        if _CLUSTER.fullmatch(self.cluster) is None:
            raise ValueError("cluster: a name of up to 42 characters a-z, 0-9 and '-' that begins with a letter")
        if not self.repository:
            raise ValueError("repository: the address of the fleet repository as Argo CD reads it")

    @property
    def name(self) -> str:
        """The name of the ApplicationSet and of the AppProject."""
        return f"serinus-{self.cluster}"

    def application(self, release: str) -> str:
        """The name of the Application of a release, given the name of its objects."""
        return f"{self.cluster}.{release}"

    def release(self, application: str) -> str:
        """The name of the objects of a release, given that of its Application."""
        return application.removeprefix(f"{self.cluster}.")
