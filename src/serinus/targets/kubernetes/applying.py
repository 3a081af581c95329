"""How the objects of releases come into the cluster, and leave it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from serinus.core.release import Release
from serinus.targets.kubernetes.cluster import Cluster, Object
from serinus.targets.kubernetes.cluster.kinds import (
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    SERVICE,
    SERVICE_ACCOUNT,
)
from serinus.targets.kubernetes.manifests import Manifest, object_name
from serinus.targets.kubernetes.manifests.names import RELEASE_ROLE, ROLE_LABEL

_BESIDE = (SERVICE_ACCOUNT, NETWORK_POLICY, SERVICE, HORIZONTAL_POD_AUTOSCALER, POD_DISRUPTION_BUDGET)
"""What a release has beside its Deployment."""


class Applier(Protocol):
    """Implementations: `DirectApplier`, and `gitops.GitApplier`. What holds a secret is not given to it."""

    def start(self) -> None: ...

    def close(self) -> None: ...

    def bring(self, release: Release, /, manifests: Sequence[Manifest]) -> Object:
        """Answers the Deployment as the cluster has it, once it has all of them or will have them by itself.

        Raises a SerinusError that says why it does not yet. A TemporaryError is called again after its delay.
        """
        ...

    def remove(self, release_id: str) -> bool:
        """Begins to take a release away. Answers whether its Deployment may still be there for a while. Raises
        Unavailable."""
        ...

    def keep(self, there: Collection[str], /) -> Collection[str]:
        """Looks after what it has brought. `there`: the names of all Deployments of releases. Returns those of releases
        that have to be brought again, because objects of them are missing. Raises a SerinusError."""
        ...

    def recorded(self) -> Sequence[Object]:
        """Returns the Deployments of all releases as they were brought last. Raises a SerinusError."""
        ...

    def troubles(self) -> Mapping[str, str]:
        """What is wrong with releases that were brought, beside what their pods say, by the names of their objects."""
        ...


class DirectApplier:
    """By server-side apply. Implements `Applier`."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace

    def start(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""

    def bring(self, _: Release, /, manifests: Sequence[Manifest]) -> Object:
        # What Serinus names is its own; what it does not name, such as `replicas`, is left to others.
        applied = [self._cluster.apply(manifest, force=True) for manifest in manifests]
        return next(one for one in applied if one["kind"] == "Deployment")

    def remove(self, release_id: str) -> bool:
        # In the foreground: the Deployment is there until its pods have drained, so that nothing of the same name is
        # placed among them.
        return self._cluster.delete(DEPLOYMENT, object_name(release_id), self._namespace, foreground=True)

    def keep(self, there: Collection[str], /) -> Collection[str]:
        """Nobody else heals what somebody deletes."""
        missing: set[str] = set()
        for kind in _BESIDE if there else ():
            listed = self._cluster.list(kind, self._namespace, labels={ROLE_LABEL: RELEASE_ROLE}).items
            missing |= set(there) - {one["metadata"]["name"] for one in listed}
        return missing

    def recorded(self) -> Sequence[Object]:
        listed = self._cluster.list(DEPLOYMENT, self._namespace, labels={ROLE_LABEL: RELEASE_ROLE}).items
        return [one for one in listed if "deletionTimestamp" not in one["metadata"]]

    def troubles(self) -> Mapping[str, str]:
        return {}
