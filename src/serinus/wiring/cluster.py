"""Releases on a cluster: the target, the router, the scorer, and the watch over gateways."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from serinus.core.errors import InvalidInput, SerinusError
from serinus.core.home import Home
from serinus.core.keys import router_key
from serinus.core.ports import Store
from serinus.targets.kubernetes.applying import DirectApplier
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.gateway.cluster_board import Places
from serinus.targets.kubernetes.gateway.counting import warnings_about
from serinus.targets.kubernetes.gateway.names import NAME
from serinus.targets.kubernetes.gateway.pod_manifest import PROBES_PORT
from serinus.targets.kubernetes.gateway.router import ClusterRouter
from serinus.targets.kubernetes.manifests import Sizing
from serinus.targets.kubernetes.manifests.resources import bytes_of_a_worker
from serinus.targets.kubernetes.recording import DeploymentRecords
from serinus.targets.kubernetes.scorer import ClusterScorer
from serinus.targets.kubernetes.services import Services
from serinus.targets.kubernetes.settings import ClusterSettings
from serinus.targets.kubernetes.settings_file import load
from serinus.targets.kubernetes.target import KubernetesTarget
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.collectors import authority_of
from serinus.wiring.gateways import build_cluster_router
from serinus.wiring.gitops import build_applier, build_fleet
from serinus.wiring.images import build_images
from serinus.wiring.jobs import build_cluster_ask, build_cluster_rescorer, build_cluster_trials
from serinus.wiring.kept_images import KeptImages
from serinus.wiring.known_routing import known_routing, lost_keys
from serinus.wiring.kubernetes import build_target
from serinus.wiring.place import Place
from serinus.wiring.sharing import build_leadership, name_of

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Seconds between two looks at the cluster. The status shows what the last one has found."""
_GATE = "memory"
_ROLLOUTS = 20
"""The number of rollouts of a release among which a measurement is looked for."""


def cluster_settings(settings: Settings) -> ClusterSettings:
    """Returns the settings of the cluster on which releases run. Raises InvalidInput."""
    if settings.cluster is None:
        raise InvalidInput("Releases run on this machine, not on a cluster.", hint="Run `serinus up --cluster FILE`.")
    return load(Path(settings.cluster))


def place_on_a_cluster(home: Home, settings: Settings, store: Store) -> Place:
    """Asks nothing yet. Raises InvalidInput and Refused where the settings cannot be used."""
    chosen = cluster_settings(settings)
    manifests = chosen.manifests_by(authority_of(home, chosen))
    leadership = build_leadership(home, chosen, chosen.control, store) if chosen.control else None
    may_write = leadership.term if leadership else lambda: None
    read = Cluster.connected(chosen.kubeconfig, context=chosen.context)
    cluster = Cluster.connected(chosen.kubeconfig, context=chosen.context, may_write=may_write) if leadership else read
    secret = home.secret.read_text()
    images = build_images(
        home,
        chosen.place,
        interpreters=chosen.images.interpreters,
        indexes=settings.indexes,
        plain=chosen.images.plain,
        confined=settings.confined,
    )
    fleet = build_fleet(home, chosen)
    applier = build_applier(fleet, cluster, chosen, may_write) or DirectApplier(cluster, chosen.namespace)
    records = DeploymentRecords(applier.recorded)
    kept = KeptImages(home, lambda release: str(images.build_and_push(release)), store, records.image_of)
    worker_bytes = partial(known_bytes, store, manifests.sizing, records.worker_bytes)
    target = build_target(home, cluster, manifests, kept, worker_bytes, applier)
    places = Places(chosen.gateway_namespace, chosen.namespace)
    probes = chosen.gateways.probes or f"{NAME}-probes.{chosen.gateway_namespace}.svc:{PROBES_PORT}"
    known = partial(known_routing, store, home, chosen.namespace)
    router = build_cluster_router(read, places, secret, probes, leadership, known)
    asks_keys = chosen.gateways.api_keys != "none"
    watch = Watch(
        {
            "the cluster": _observed(target),
            "the gateways": _gateways(router),
            **({"the keys of callers": _keys(router, store)} if asks_keys else {}),
        }
    )

    def close() -> None:
        target.close()
        for one in {cluster, read}:
            one.close()

    return Place(
        target=target,
        router=router,
        scorer=ClusterScorer(Services(read), target.release_at, partial(router_key, secret)),
        fleet=fleet,
        asks_keys=asks_keys,
        fields=_fields(chosen),
        trials=build_cluster_trials(home, cluster, chosen.jobs, images),
        rescorer=build_cluster_rescorer(home, cluster, chosen.jobs, images),
        ask=build_cluster_ask(home, cluster, chosen.jobs, images),
        loops={"cluster": watch.run, "fleet": fleet.run},
        warnings=watch.warnings,
        close=close,
        leadership=leadership,
        name=name_of(home) if leadership else "",
        announce=router.begin_term if leadership else lambda: None,
        recording=records,
    )


class Watch:
    """Looks at a cluster again and again, so that the status need not wait for it. `looks`: name -> returns what is
    wrong, in words, or raises a SerinusError."""

    def __init__(self, looks: dict[str, Callable[[], Sequence[str]]]) -> None:
        self._looks = looks
        self._found: Sequence[str] = ()

    def run(self, stop: threading.Event) -> None:
        """Looks until `stop` is set."""
        while not stop.is_set():
            self.look()
            stop.wait(LOOK_SECONDS)

    def look(self) -> None:
        """Looks once."""
        found: list[str] = []
        for name, look in self._looks.items():
            try:
                found += look()
            except SerinusError as error:
                found.append(str(error))
            except Exception as error:
                log.exception("%s could not be looked at", name)
                found.append(f"{name} could not be looked at: {type(error).__name__}")
        self._found = tuple(dict.fromkeys(found))

    def warnings(self) -> Sequence[str]:
        """Returns what the last look has found, each sentence once."""
        return self._found


def _observed(target: KubernetesTarget) -> Callable[[], Sequence[str]]:
    def look() -> Sequence[str]:
        target.observe()
        return target.warnings()

    return look


def _keys(router: ClusterRouter, store: Store) -> Callable[[], Sequence[str]]:
    return lambda: lost_keys(store, router.callers(), datetime.now(UTC))


def _gateways(router: ClusterRouter) -> Callable[[], Sequence[str]]:
    return lambda: warnings_about(router.gateways())


def measured_bytes(store: Store, sizing: Sizing, release_id: str) -> int | None:
    """Returns the memory of one worker of a release in bytes, as the gate has measured it most recently. None: it was
    not measured."""
    for rollout in store.rollouts(limit=_ROLLOUTS, release=release_id):
        gate = next((gate for gate in rollout.gates if gate.gate == _GATE), None)
        used = gate.evidence.get("used_bytes") if gate is not None else None
        if isinstance(used, int) and rollout.plan is not None:
            return bytes_of_a_worker(used, rollout.plan.scale, sizing)
    return None


def known_bytes(store: Store, sizing: Sizing, recorded: Callable[[str], int | None], release_id: str) -> int | None:
    """Returns the same as `measured_bytes`, or, of a release that was taken over without its rollouts, what was
    `recorded` when it was placed."""
    if store.rollouts(limit=1, release=release_id):
        return measured_bytes(store, sizing, release_id)
    return recorded(release_id)


def _fields(chosen: ClusterSettings) -> dict[str, str]:
    replicas = chosen.releases.replicas
    return {
        "serving.workers": "the workers of one pod; "
        f"{replicas.least} to {replicas.most} pods, by the use of their processors (`releases.replicas`)",
        "serving.warm": "a release on a cluster is not scaled to zero",
    }
