"""Releases by Git and Argo CD: which implementations they are made of."""

from __future__ import annotations

from collections.abc import Callable

from serinus.backends.git import GitFleet, GitRendered
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.gitops import GitApplier, GitOps


def build_git_applier(
    fleet: GitFleet,
    cluster: Cluster,
    gitops: GitOps,
    namespace: str,
    may_write: Callable[[], object] = lambda: None,
) -> GitApplier:
    """Brings the releases of `namespace` by way of the fleet repository, which has a remote that Argo CD reads. It is
    the `applier` of `build_target`. `may_write` is called before each commit, which is not made where it raises."""
    rendered = GitRendered(fleet.repository, gitops.cluster, may_write=may_write)
    return GitApplier(cluster, rendered, gitops, namespace)
