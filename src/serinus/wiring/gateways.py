"""Gateways in a cluster: which implementations build their image and tell them how to route."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from serinus.backends.uv import UvPackages
from serinus.core.home import Home
from serinus.core.keys import router_key
from serinus.core.ports import Leadership
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.gateway.cluster_board import ClusterBoard, Places
from serinus.targets.kubernetes.gateway.image import IMAGE
from serinus.targets.kubernetes.gateway.publication import Wanted
from serinus.targets.kubernetes.gateway.router import ClusterRouter
from serinus.targets.kubernetes.images import Place, Reference, programs
from serinus.targets.kubernetes.images.registry import Registry

_GLIBC = "2.31"
"""That Envoy's wheel needs in the base image."""


def build_cluster_router(
    cluster: Cluster,
    places: Places,
    secret: str,
    probes: str,
    leadership: Leadership | None = None,
    known: Callable[[], Wanted | None] = Wanted,
) -> ClusterRouter:
    """`secret`: the content of `Home.secret`. `probes`: `host:port` of the Service of probes, as the control plane
    reaches it. `leadership`: where there are several control planes. `known`: see `ClusterRouter`. Nothing is asked
    here."""
    board = ClusterBoard(cluster, places)
    return ClusterRouter(board, lambda release: router_key(secret, release), probes, leadership=leadership, known=known)


def push_gateway_image(
    home: Home,
    registry: Callable[[str], Registry],
    place: Place,
    prefix: Path,
    say: Callable[[str], None] = lambda _: None,
) -> Reference:
    """The image of gateways with the installation of Python at `prefix`, for the first platform of `place`. Errors as
    of `programs.push`."""
    install = partial(UvPackages(home.environments).install_lock, glibc=_GLIBC)
    platform = place.platforms[0]
    return programs.push(IMAGE, registry, place, prefix, install, home.images, platform, say)
