"""The Kubernetes target: releases as Deployments."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic

from serinus.core.errors import InvalidInput, NotFound, Refused, SerinusError, Unavailable
from serinus.core.home import checked_digest
from serinus.core.placement import Placement
from serinus.core.release import USUAL, Release, Scale
from serinus.targets.kubernetes import expecting
from serinus.targets.kubernetes.applying import Applier, DirectApplier
from serinus.targets.kubernetes.cluster import CAPACITY_MANAGER, Cluster, Mirror, Object
from serinus.targets.kubernetes.cluster.kinds import (
    DEPLOYMENT,
    EVENT,
    HORIZONTAL_POD_AUTOSCALER,
    POD,
    POD_METRICS,
)
from serinus.targets.kubernetes.distrusting import Distrusted
from serinus.targets.kubernetes.endpoints import service_of
from serinus.targets.kubernetes.keeping import Keeping, keep_secrets, keep_shared
from serinus.targets.kubernetes.manifests import (
    Placed,
    Settings,
    collectors_authority,
    endpoint,
    manifests,
    object_name,
    placed,
    router_secret,
)
from serinus.targets.kubernetes.manifests.names import RELEASE_ROLE, ROLE_LABEL
from serinus.targets.kubernetes.manifests.resources import workers_of
from serinus.targets.kubernetes.observing import Seen, by_release, is_going, placement
from serinus.targets.kubernetes.placing import Placing, Wish
from serinus.targets.kubernetes.quantities import size_of
from serinus.targets.kubernetes.removing import Removing

log = logging.getLogger(__name__)

_RELEASES = {ROLE_LABEL: RELEASE_ROLE}
_FIRST_LISTING = 10.0
"""Seconds for which the first reading of the cluster is waited for."""
_MEASURED_FOR = 5.0
"""Seconds for which what pods use is not asked again. metrics-server measures it every 15 s by default, and the first
measurement of a pod is waited for."""


class KubernetesTarget:
    """Places releases as Deployments of one namespace. Implements `core.ports.Target`.

    Every method raises Unavailable where the API server does not answer. A release is not scaled to zero: its smallest
    number of pods is one or more, whatever its warm hours say.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        image_of: Callable[[Release], str],
        holds: Callable[[Release], bool],
        *,
        router_key: Callable[[str], str] | None = None,
        worker_bytes: Callable[[str], int | None] = lambda _: None,
        applier: Applier | None = None,
    ) -> None:
        """`image_of`: `registry/repository@sha256:...` of a release, built and pushed where it is not there yet, which
        may take minutes; raises Unbuildable, InvalidInput or Unavailable. `holds`: whether a release has an image, or
        all that one is built of. `router_key`: of a release, by its id; None: releases answer everybody who reaches
        them. `worker_bytes`: memory of one worker of a release, as the gate measured it. `applier`: None: objects
        are applied by the API."""
        self._cluster, self._settings = cluster, settings
        self._image_of, self._holds = image_of, holds
        self._router_key, self._worker_bytes = router_key, worker_bytes
        namespace = settings.namespace
        self._keeping = Keeping(
            self._there,
            {
                "the certificate of collectors that pods mount": self._keep_authority,
                "the list of distrusted releases": self._keep_distrusted,
                "the Secrets of releases": self._keep_secrets,
                "what was brought of releases": self._keep_brought,
            },
        )
        self._deployments = Mirror(cluster, DEPLOYMENT, namespace, labels=_RELEASES, changed=self._keeping.tell)
        self._pods = Mirror(cluster, POD, namespace, labels=_RELEASES)
        self._autoscalers = Mirror(cluster, HORIZONTAL_POD_AUTOSCALER, namespace, labels=_RELEASES)
        self._warnings = Mirror(cluster, EVENT, namespace, fields={"type": "Warning"})
        self._placing = Placing(self._bring)
        self._applier = applier or DirectApplier(cluster, namespace)
        self._removing = Removing(cluster, namespace, lambda: self._placing.wishes())
        self._distrusted = Distrusted(cluster, namespace)
        self._lock = threading.Lock()
        self._memory: Mapping[str, int] = {}
        self._measured_at = float("-inf")
        self._mirrors = (self._deployments, self._pods, self._autoscalers, self._warnings)
        for mirror in self._mirrors:
            mirror.start()
        self._applier.start()
        self._removing.start()
        self._keeping.start()

    def close(self) -> None:
        """Ends its threads. What is placed goes on."""
        self._placing.close()
        self._applier.close()
        self._removing.close()
        self._keeping.close()
        for mirror in self._mirrors:
            mirror.close()

    def place(self, release: Release, scale: Scale = USUAL) -> None:
        """Refused where another release is placed under the same id."""
        _check(release)
        there = self._there().get(object_name(release.id))
        wish = self._placing.wishes().get(release.id)
        known = placed.identity(wish.release) if wish is not None else _said(there).get(placed.RELEASE)
        if known not in (None, placed.identity(release)):
            raise Refused(f"Another release is placed under the id {release.id}.")
        self._placing.wish(release, scale)

    def remove(self, release_id: str) -> None:
        self._there()  # Raises where the API server does not answer.
        self._placing.forget(release_id)
        if self._applier.remove(release_id):
            self._deployments.drop(object_name(release_id))
        self._removing.look()

    def activate(self, release_id: str) -> None:
        """Nothing: no release is scaled to zero. NotFound: it is not placed."""
        if release_id not in self._placing.wishes() and object_name(release_id) not in self._there():
            raise NotFound(f"The release {release_id} is not placed.")

    def expect(self, release_id: str, workers: int) -> None:
        """Sets the least number of its pods. It is bounded by the settings of the cluster."""
        name, namespace = object_name(release_id), self._settings.namespace
        there, autoscaler = self._there().get(name), self._autoscalers.objects().get(name)
        if there is None or autoscaler is None:
            return
        most, replicas = expecting.most_pods(autoscaler), self._settings.replicas
        changes = expecting.changes(workers, self._workers_of_pod(there), most, replicas)
        with suppress(NotFound):  # It was removed in the meantime.
            self._autoscalers.put(
                self._cluster.merge(HORIZONTAL_POD_AUTOSCALER, name, namespace, changes, manager=CAPACITY_MANAGER)
            )

    def distrust(self, release_id: str) -> None:
        """Has it served the long way, now and whenever it is placed. Its pods are replaced by others, which have an
        image with the model's own environment."""
        name = object_name(release_id)
        self._distrusted.add(name, release_id)
        wish = self._placing.forget(release_id)
        there = self._there().get(name)
        if wish is not None:
            self._placing.wish(wish.release, wish.scale)
        elif there is not None and placed.LONG not in _said(there):
            self._placing.wish(_release(there), placed.scale(_said(there)) or USUAL)

    def holds(self, release: Release) -> bool:
        return self._holds(release)

    def release_at(self, endpoint: str) -> Release:
        """Returns the release that is placed at an endpoint. Raises NotFound."""
        service = service_of(endpoint)
        there = self._there().get(service.name) if service and service.namespace == self._settings.namespace else None
        if there is None or not placed.document(_said(there)):
            raise NotFound("No release is placed at this endpoint.", hint="Place it first.")
        return _release(there)

    def observe(self) -> Mapping[str, Placement]:
        there = self._there()
        pods, autoscalers = by_release(self._pods.objects().values()), self._autoscalers.objects()
        events = self._events()
        memory = self._used() if there else {}
        troubles = self._applier.troubles()
        found: dict[str, Placement] = {}
        for name, deployment in there.items():
            of_pod = self._workers_of_pod(deployment)
            one = placement(Seen(deployment, pods.get(name, ()), events, memory), of_pod)
            if one is not None:
                one = expecting.sized(one, autoscalers.get(name), of_pod, self._settings.replicas)
                long = one.long or name in self._distrusted.known()
                trouble = troubles.get(name, "")
                found[one.release] = replace(one, long=long, reason=one.reason or trouble, unsettled=trouble)
        for release_id, wish in self._placing.wishes().items():
            found[release_id] = self._wished(wish, found.get(release_id))
        return found

    def _wished(self, wish: Wish, there: Placement | None) -> Placement:
        """What runs of it goes on while another scale or another image is brought."""
        if there is not None:
            return replace(there, scale=wish.scale, reason=wish.reason or there.reason)
        release = wish.release.id
        return Placement(
            release,
            wish.state,
            wish.reason,
            endpoint=endpoint(release, self._settings.namespace),
            workers=0,
            long=object_name(release) in self._distrusted.known(),
            scale=wish.scale,
        )

    def _workers_of_pod(self, deployment: Object) -> int:
        return workers_of(placed.scale(_said(deployment)) or USUAL, self._settings.sizing)

    def _there(self) -> Mapping[str, Object]:
        """Deployments of releases that are not being deleted, by name."""
        self._deployments.listed(_FIRST_LISTING)
        self._pods.listed(_FIRST_LISTING)
        self._autoscalers.listed(_FIRST_LISTING)
        return {name: one for name, one in self._deployments.objects().items() if not is_going(one)}

    def _events(self) -> list[Object]:
        try:
            return list(self._warnings.objects().values())
        except SerinusError:  # they only explain
            return []

    def _bring(self, wish: Wish) -> None:
        """Raises a SerinusError: the cluster does not run it as it shall."""
        release, name, namespace = wish.release, object_name(wish.release.id), self._settings.namespace
        long = name in self._distrusted.read() or placed.LONG in _said(self._deployments.objects().get(name))
        wish.image = wish.image or self._image_of(replace(release, compiled=None) if long else release)
        worker_bytes = self._worker_bytes(release.id)
        made = Placed(release, wish.scale, wish.image, long, worker_bytes, guarded=self._router_key is not None)
        with wish.writing:
            if wish.ended.is_set():
                return
            there = self._cluster.find(DEPLOYMENT, name, namespace)
            if there is not None and is_going(there):
                raise Unavailable(f"The pods of {release.id} that ran before are still draining.", delay=1.0)
            if self._router_key is not None:
                self._cluster.apply(router_secret(release, self._settings, self._router_key(release.id)), force=True)
            if (authority := collectors_authority(self._settings)) is not None:
                self._cluster.apply(authority, force=True)
            self._deployments.put(self._applier.bring(release, manifests(made, self._settings)))

    # --- what releases need beside their manifests --------------------------------------------------------

    def warnings(self) -> Sequence[str]:
        """Returns in words what releases need and could not be made, at once."""
        return self._keeping.troubles()

    def _keep_authority(self, _: Mapping[str, Object]) -> None:
        if (authority := collectors_authority(self._settings)) is not None:
            keep_shared(self._cluster, authority)

    def _keep_secrets(self, there: Mapping[str, Object]) -> None:
        if self._router_key is None:
            return
        releases = [release for one in there.values() if (release := _known_release(one)) is not None]
        wanted = {
            object_name(release.id): router_secret(release, self._settings, self._router_key(release.id))
            for release in releases
        }
        keep_secrets(self._cluster, self._settings.namespace, wanted)

    def _keep_brought(self, there: Mapping[str, Object]) -> None:
        for name in self._applier.keep(there.keys()):
            release = _known_release(there[name])
            # What was removed meanwhile is not there any more.
            if release is not None and name in self._there() and release.id not in self._placing.wishes():
                log.warning("Objects of %s are missing, and it is placed again.", release.id)
                self._placing.wish(release, placed.scale(_said(there[name])) or USUAL)

    def _keep_distrusted(self, there: Mapping[str, Object]) -> None:
        """A Deployment that was made for a distrusted release says so, and may be all that is left."""
        said = {name: placed.release_id(_said(one)) for name, one in there.items() if placed.LONG in _said(one)}
        self._distrusted.keep({name: release for name, release in said.items() if release})

    def _used(self) -> Mapping[str, int]:
        """Bytes of memory by pod; nothing where the cluster does not measure it."""
        with self._lock:
            if monotonic() - self._measured_at > _MEASURED_FOR:
                self._measured_at = monotonic()
                try:
                    found = self._cluster.list(POD_METRICS, self._settings.namespace, labels=_RELEASES)
                    self._memory = {one["metadata"]["name"]: _memory(one) for one in found.items}
                except SerinusError:
                    self._memory = {}
            return self._memory


def _check(release: Release) -> None:
    """Raises InvalidInput: it is none that Serinus makes."""
    if not release.id or release.id.startswith("."):
        raise InvalidInput("A release id must not be empty or start with a dot.")
    digests = [release.artifact_digest, release.environment_digest]
    if release.compiled is not None:
        digests += [release.compiled.digest, release.compiled.environment_digest]
    for digest in digests:
        checked_digest(digest)


def _said(deployment: Object | None) -> Mapping[str, str]:
    return ((deployment or {}).get("metadata") or {}).get("annotations") or {}


def _release(deployment: Object) -> Release:
    """That it was made of; made again at the time of the Deployment, which nothing reads."""
    return placed.release(_said(deployment), datetime.now(UTC))


def _known_release(deployment: Object) -> Release | None:
    """None: it does not say a release as this version of Serinus does, or says one of another name."""
    try:
        found = _release(deployment)
    except ValueError:
        return None
    return found if object_name(found.id) == deployment["metadata"]["name"] else None


def _memory(metrics: Object) -> int:
    sizes = [size_of(str((one.get("usage") or {}).get("memory", ""))) for one in metrics.get("containers") or ()]
    return sum(size or 0 for size in sizes)
