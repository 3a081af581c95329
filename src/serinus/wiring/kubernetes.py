"""A cluster as the target: which implementations it is made of."""

from __future__ import annotations

from collections.abc import Callable

from serinus.core.home import Home
from serinus.core.keys import router_key
from serinus.targets.kubernetes.applying import Applier
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.manifests import Settings
from serinus.targets.kubernetes.target import KubernetesTarget
from serinus.wiring.kept_images import KeptImages


def build_target(
    home: Home,
    cluster: Cluster,
    settings: Settings,
    images: KeptImages,
    worker_bytes: Callable[[str], int | None] = lambda _: None,
    applier: Applier | None = None,
) -> KubernetesTarget:
    """Runs releases, each from an image of its own. They answer those alone who show the key that is derived from the
    secret of the home, as on one machine. `worker_bytes`: see `KubernetesTarget`.
    `applier`: None: objects are applied by the API. Raises OSError: the home has no secret."""
    secret = home.secret.read_text()
    return KubernetesTarget(
        cluster,
        settings,
        images.image_of,
        images.holds,
        router_key=lambda release_id: router_key(secret, release_id),
        worker_bytes=worker_bytes,
        applier=applier,
    )
