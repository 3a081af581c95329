"""Gateways in the cluster of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from clusters import Cluster

from serinus.targets.kubernetes.cluster import Cluster as Api
from serinus.targets.kubernetes.gateway.manifests import all_of
from serinus.targets.kubernetes.gateway.pod_manifest import PROBES_PORT
from serinus.targets.kubernetes.gateway.settings import GatewaySettings


@contextmanager
def gateways(cluster: Cluster, api: Api, settings: GatewaySettings) -> Iterator[tuple[str, str]]:
    """The addresses for callers and for probes, as this machine reaches them. What is of the whole cluster is removed
    at the end; the rest goes with the namespace."""
    with ExitStack() as undo:
        for manifest in all_of(settings):
            api.apply(manifest)
            if "namespace" not in manifest["metadata"]:
                undo.callback(cluster.kubectl, "delete", manifest["kind"], manifest["metadata"]["name"])
        callers = undo.enter_context(cluster.reach(settings.namespace, "serinus-gateway", 80))
        probes = undo.enter_context(cluster.reach(settings.namespace, "serinus-gateway-probes", PROBES_PORT))
        yield callers, probes
