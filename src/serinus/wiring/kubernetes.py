"""A cluster as the target: which implementations it is made of."""

from __future__ import annotations

from collections.abc import Callable

from serinus.core.home import Home
from serinus.core.keys import router_key
from serinus.core.release import Release
from serinus.targets.kubernetes.applying import Applier
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.images import Images
from serinus.targets.kubernetes.manifests import Settings
from serinus.targets.kubernetes.target import KubernetesTarget


def build_target(
    home: Home,
    cluster: Cluster,
    settings: Settings,
    images: Images,
    worker_bytes: Callable[[str], int | None] = lambda _: None,
    applier: Applier | None = None,
) -> KubernetesTarget:
    """Runs the releases whose files are in `home`, each from an image of its own. They answer those alone who show the
    key that is derived from the secret of the home, as on one machine. `worker_bytes`: see `KubernetesTarget`.
    `applier`: None: objects are applied by the API. Raises OSError: the home has no secret."""
    secret = home.secret.read_text()
    return KubernetesTarget(
        cluster,
        settings,
        lambda release: str(images.build_and_push(release)),
        lambda release: _holds(home, release),
        router_key=lambda release_id: router_key(secret, release_id),
        worker_bytes=worker_bytes,
        applier=applier,
    )


def _holds(home: Home, release: Release) -> bool:
    """Whether all that its images are built of is there: that of its graph, and that of the model, which is served
    where the graph is distrusted."""
    files, python = home.artifact(release.artifact_digest), home.interpreter(release.environment_digest)
    if not (files.is_dir() and python.exists()):
        return False
    compiled = release.compiled
    return compiled is None or (
        home.graph(compiled.digest).is_dir() and home.interpreter(compiled.environment_digest).exists()
    )
