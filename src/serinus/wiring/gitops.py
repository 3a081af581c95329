"""The fleet repository of a cluster, and releases that Argo CD applies from it: which implementations they are."""

from __future__ import annotations

from collections.abc import Callable

from serinus.backends.git import GitFleet, GitRendered, Remote
from serinus.core.home import Home
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.gitops import GitApplier, GitOps
from serinus.targets.kubernetes.settings import ClusterSettings


def build_fleet(home: Home, chosen: ClusterSettings) -> GitFleet:
    """Returns the repository in the home, as the copy of that of the server where the settings name one. Its `run`
    follows the server. Raises InvalidInput where the address cannot be used."""
    fleet = chosen.fleet
    if fleet is None:
        return GitFleet(home.fleet)
    return GitFleet(home.fleet, Remote(fleet.remote, fleet.branch, fleet.credentials, fleet.reviewed))


def build_applier(
    fleet: GitFleet, cluster: Cluster, chosen: ClusterSettings, may_write: Callable[[], object] = lambda: None
) -> GitApplier | None:
    """Brings releases by way of the fleet repository. It is the `applier` of `build_target`. None: objects are applied
    by the API. `may_write` is called before each commit, which is not made where it raises."""
    if chosen.fleet is None or chosen.fleet.argo_cd is None:
        return None
    by = chosen.fleet.argo_cd
    repository = by.repository or chosen.fleet.remote
    gitops = GitOps(repository, by.cluster, chosen.fleet.branch, by.namespace, by.server)
    return build_git_applier(fleet, cluster, gitops, chosen.namespace, may_write)


def build_git_applier(
    fleet: GitFleet,
    cluster: Cluster,
    gitops: GitOps,
    namespace: str,
    may_write: Callable[[], object] = lambda: None,
) -> GitApplier:
    """See `build_applier`. `namespace`: that of releases."""
    rendered = GitRendered(fleet.repository, gitops.cluster, may_write=may_write)
    return GitApplier(cluster, rendered, gitops, namespace)
