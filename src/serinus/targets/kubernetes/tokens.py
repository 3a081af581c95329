"""Checks the tokens by which the pods of releases and gateways identify themselves to a collector.

They are projected tokens of service accounts with an audience of their own, which the API server accepts for nothing
else. See TokenReview in the Kubernetes API, and "Token volume projection" in its documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serinus.core.ports import Writer
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.cluster.kinds import DEPLOYMENT, TOKEN_REVIEW
from serinus.targets.kubernetes.manifests import object_name
from serinus.targets.kubernetes.manifests.names import AUDIENCE
from serinus.targets.kubernetes.manifests.placed import release_id

_ACCOUNT = "system:serviceaccount:"
_POD = "authentication.kubernetes.io/pod-uid"


class ClusterWriters:
    """Implements `core.ports.Writers`. The service account of a release has the name of its objects in `namespace`.
    `gateway` is the namespace and name of the gateways' service account."""

    def __init__(self, cluster: Cluster, namespace: str, gateway: tuple[str, str]) -> None:
        self._cluster, self._namespace, self._gateway = cluster, namespace, gateway

    def owner(self, token: str) -> Writer | None:
        """Returns the owner of a token, or None if the token is not valid for the collector, or belongs to a pod of
        neither a release nor a gateway."""
        review = {
            "apiVersion": TOKEN_REVIEW.api_version,
            "kind": TOKEN_REVIEW.name,
            "spec": {"audiences": [AUDIENCE], "token": token},
        }
        status = self._cluster.create(review).get("status") or {}
        # The audience is checked here as well: an API server that does not know audiences returns none.
        if status.get("authenticated") is not True or AUDIENCE not in (status.get("audiences") or ()):
            return None
        user = status.get("user") or {}
        pods = _values(user, _POD)
        username = str(user.get("username") or "")
        if len(pods) != 1 or not username.startswith(_ACCOUNT):
            return None
        namespace, _, name = username.removeprefix(_ACCOUNT).partition(":")
        if (namespace, name) == self._gateway:
            return Writer(gateway=name, holder=pods[0])
        release = self._release(name) if namespace == self._namespace else None
        return Writer(release=release, holder=pods[0]) if release else None

    def _release(self, name: str) -> str | None:
        """Returns the id of the release whose objects have this name."""
        if object_name(name) == name:
            return name
        there = self._cluster.find(DEPLOYMENT, name, self._namespace) or {}
        found = release_id((there.get("metadata") or {}).get("annotations") or {})
        return found if found is not None and object_name(found) == name else None


def _values(user: Mapping[str, Any], key: str) -> Sequence[str]:
    found = (user.get("extra") or {}).get(key)
    return [str(one) for one in found] if isinstance(found, list) else []
