"""The API server of a cluster: reading, writing and watching its objects."""

from __future__ import annotations

from serinus.targets.kubernetes.cluster.client import CAPACITY_MANAGER, MANAGER, Change, Cluster, Listing
from serinus.targets.kubernetes.cluster.errors import (
    Conflict,
    Denied,
    Expired,
    NotAllowed,
    QuotaExceeded,
    Unauthorised,
)
from serinus.targets.kubernetes.cluster.kinds import Kind, Object
from serinus.targets.kubernetes.cluster.mirror import Mirror

__all__ = [
    "CAPACITY_MANAGER",
    "MANAGER",
    "Change",
    "Cluster",
    "Conflict",
    "Denied",
    "Expired",
    "Kind",
    "Listing",
    "Mirror",
    "NotAllowed",
    "Object",
    "QuotaExceeded",
    "Unauthorised",
]
