"""What the objects of a cluster say of a release: pure.

A model that does not come up is FAILED, and its rollout ends. What somebody can set right while the rollout waits (a
quota, a node without room, an image that cannot be pulled) leaves it STARTING, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from serinus.core.placement import Placement, PlacementState
from serinus.targets.kubernetes import troubles
from serinus.targets.kubernetes.manifests import endpoint, placed
from serinus.targets.kubernetes.manifests.names import RELEASE_LABEL

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one release."""

    deployment: Object
    pods: Sequence[Object]
    events: Sequence[Object]
    """Warnings of these pods and of what makes them."""
    memory: Mapping[str, int]
    """Bytes that pods use, by their names, as far as they were measured."""


def by_release(pods: Iterable[Object]) -> dict[str, list[Object]]:
    """The pods that are not going away, by the name of their release's objects."""
    found: dict[str, list[Object]] = {}
    for pod in pods:
        metadata = pod["metadata"]
        name = (metadata.get("labels") or {}).get(RELEASE_LABEL)
        if name is not None and "deletionTimestamp" not in metadata:
            found.setdefault(name, []).append(pod)
    return found


def is_going(deployment: Object) -> bool:
    return "deletionTimestamp" in deployment["metadata"]


def placement(seen: Seen, workers: int) -> Placement | None:
    """`workers`: of one pod. None: the Deployment is not one of a release."""
    said = seen.deployment["metadata"].get("annotations") or {}
    release = placed.release_id(said)
    if release is None:
        return None
    live = [pod for pod in seen.pods if (pod.get("status") or {}).get("phase") not in ("Failed", "Succeeded")]
    ready = [since for pod in live if (since := _ready_since(pod)) is not None]
    state, reason = _state(seen, live, bool(ready))
    used = [seen.memory[name] for pod in live if (name := pod["metadata"]["name"]) in seen.memory]
    long = placed.LONG in said
    return Placement(
        release,
        state,
        reason,
        endpoint=endpoint(release, seen.deployment["metadata"]["namespace"]),
        memory_bytes=max(used, default=None),
        restarts=sum(_restarts(pod) for pod in live),
        crashes=max((_restarts(pod) for pod in live if _backs_off(pod)), default=0),
        workers=workers * len(ready),
        way="mlflow" if long and ready and _is_complete(seen.deployment) else "",
        active_since=min(ready, default=None),
        long=long,
        scale=placed.scale(said),
    )


def _state(seen: Seen, live: Sequence[Object], ready: bool) -> tuple[PlacementState, str]:
    found = [one for pod in live if (one := troubles.of_pod(pod, troubles.about(seen.events, pod))) is not None]
    if ready and _is_complete(seen.deployment):
        return PlacementState.READY, ""
    if ready:
        # Others of its pods may not come up: those of a new image, of a larger size, or for more load.
        words = found[0].words if found else troubles.of_deployment(seen.deployment, seen.pods, live)
        return PlacementState.READY, words
    fatal = next((one for one in found if one.fatal), None)
    if fatal is not None:
        return PlacementState.FAILED, fatal.words
    if found:
        return PlacementState.STARTING, found[0].words
    return PlacementState.STARTING, troubles.of_deployment(seen.deployment, seen.pods, live)


def _restarts(pod: Object) -> int:
    return int((troubles.container_status(pod) or {}).get("restartCount") or 0)


def _backs_off(pod: Object) -> bool:
    """Whether the kubelet waits before it starts the container again, since it ends again and again."""
    state = (troubles.container_status(pod) or {}).get("state") or {}
    return (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff"


def _ready_since(pod: Object) -> datetime | None:
    """None: it is not ready."""
    for one in (pod.get("status") or {}).get("conditions") or ():
        if one.get("type") == "Ready" and one.get("status") == "True":
            return _moment(one.get("lastTransitionTime") or pod["metadata"].get("creationTimestamp"))
    return None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _is_complete(deployment: Object) -> bool:
    """Whether all of its pods are of its present template, and are ready."""
    status = deployment.get("status") or {}
    wanted = (deployment.get("spec") or {}).get("replicas", 1)
    seen = int(status.get("observedGeneration") or 0) >= int(deployment["metadata"].get("generation") or 0)
    counts = [int(status.get(name) or 0) for name in ("updatedReplicas", "availableReplicas", "replicas")]
    return seen and all(count == wanted for count in counts)
