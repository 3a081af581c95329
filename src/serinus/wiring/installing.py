"""Installs what a cluster needs before the engine starts: gateways, and what releases know collectors by."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from serinus.core.errors import NotFound, Refused
from serinus.core.home import Home
from serinus.targets.kubernetes.cluster import Cluster, NotAllowed
from serinus.targets.kubernetes.gateway.manifests import all_of
from serinus.targets.kubernetes.gateway.names import NAME
from serinus.targets.kubernetes.gateway.settings import GatewaySettings
from serinus.targets.kubernetes.images import contents
from serinus.targets.kubernetes.images.registry import DockerConfig, Registries
from serinus.targets.kubernetes.manifests import collectors_authority
from serinus.targets.kubernetes.services import Services
from serinus.targets.kubernetes.settings import ClusterSettings
from serinus.targets.local.supervisor import settings as supervisor_settings
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.cluster import cluster_settings
from serinus.wiring.collectors import authority_of, make_identity
from serinus.wiring.gateways import push_gateway_image

Say = Callable[[str], None]


def run_install(home: Home, settings: Settings) -> int:
    """Installs, prints what is done, and keeps in the settings of the home where callers reach the gateways. Returns
    the exit code. Raises SerinusError and OSError."""
    chosen = cluster_settings(settings)
    make_identity(home, chosen)
    cluster = Cluster.connected(chosen.kubeconfig, context=chosen.context)
    try:
        url = install(home, chosen, cluster, lambda line: print(line, flush=True))
    finally:
        cluster.close()
    supervisor_settings.save(home, replace(settings, gateways=url))
    return 0


def install(home: Home, chosen: ClusterSettings, cluster: Cluster, say: Say) -> str:
    """Makes the cluster have the gateways of this version, unless somebody else installs them. Their image is built
    where the registry does not have it. Returns the URL at which callers reach them. Nothing is changed in the cluster
    where a right is missing.

    Raises Refused (a right is missing), Unbuildable, InvalidInput and Unavailable, each in words.
    """
    if not chosen.gateways.install:
        return _url(chosen, Services(cluster))
    authority = authority_of(home, chosen)
    prefix = chosen.gateways.python or Path(sys.base_prefix)
    registries = Registries(DockerConfig(), plain=chosen.images.plain)
    image = push_gateway_image(home, registries.of, chosen.place, prefix, say)
    settings = gateway_settings(chosen, str(image), contents.python_version(prefix), authority)
    of_releases = collectors_authority(chosen.manifests_by(authority))
    manifests = [*([of_releases] if of_releases else []), *all_of(settings)]
    check_rights(cluster, manifests)
    for manifest in manifests:
        cluster.apply(manifest, force=True)
    say(f"gateways are installed in the namespace {settings.namespace}")
    return _url(chosen, Services(cluster))


def gateway_settings(chosen: ClusterSettings, image: str, python: str, authority: str) -> GatewaySettings:
    """Returns what the manifests of gateways are made of. `python`: the minor version in their image. `authority`: that
    of the collectors (PEM)."""
    gateways = chosen.gateways
    return GatewaySettings(
        image=image,
        namespace=chosen.gateway_namespace,
        models=chosen.namespace,
        python=python,
        replicas=gateways.replicas,
        threads=gateways.threads,
        cpu_request=gateways.cpu_request,
        tls_secret=gateways.tls_secret,
        client_certificates=gateways.client_certificates,
        api_keys=gateways.api_keys,
        service=gateways.service,
        collectors=chosen.collectors_by(authority),
        control_planes=chosen.control_planes,
    )


_OTHERWISE = (
    "Grant them to the user of the kubeconfig, or have an administrator install gateways and set "
    "`gateways.install: false`."
)


def check_rights(
    cluster: Cluster, manifests: Sequence[Mapping[str, Any]], what: str = "gateways", hint: str = _OTHERWISE
) -> None:
    """Tries everything without changing anything, so that all missing rights are named at once. `what` the manifests
    are of, in words. Raises Refused."""
    missing = []
    roles = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    for manifest in manifests:
        try:
            cluster.apply(manifest, force=True, dry_run=True)
        except NotAllowed as error:
            missing.append(error.message)
        except NotFound:
            # The rules of the Role are looked up where its author may not do everything. A dry run has made no Role.
            bound = manifest.get("roleRef", {})
            if (bound.get("kind"), bound.get("name")) not in roles:
                raise
    if missing:
        raise Refused(
            f"Rights are missing to install {what}:\n" + "\n".join(f"- {one}" for one in dict.fromkeys(missing)),
            hint=hint,
        )


def _url(chosen: ClusterSettings, services: Services) -> str:
    scheme, port = ("https", 443) if chosen.gateways.tls_secret else ("http", 80)
    if chosen.gateways.address:
        return f"{scheme}://{chosen.gateways.address}"
    host, _ = services.address(f"{NAME}.{chosen.gateway_namespace}.svc:{port}")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
