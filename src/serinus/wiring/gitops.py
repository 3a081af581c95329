"""Releases by Git and Argo CD: which implementations they are made of."""

from __future__ import annotations

from serinus.backends.git import GitFleet, GitRendered
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.gitops import GitApplier, GitOps


def build_git_applier(fleet: GitFleet, cluster: Cluster, gitops: GitOps, namespace: str) -> GitApplier:
    """Brings the releases of `namespace` by way of the fleet repository, which has a remote that Argo CD reads. It is
    the `applier` of `build_target`. Raises InvalidInput: the name of the cluster cannot be that of a folder."""
    return GitApplier(cluster, GitRendered(fleet.repository, gitops.cluster), gitops, namespace)
