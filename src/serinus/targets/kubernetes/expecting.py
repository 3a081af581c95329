"""How many pods a release keeps at the least, beside what its load asks for: pure.

The floor is `minReplicas` of its HorizontalPodAutoscaler, written by a field manager of its own. What is applied from a
repository names the usual one, and leaves this field alone where the fields of that manager are left out of the
comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from serinus.core.placement import Placement
from serinus.targets.kubernetes.manifests.settings import Replicas

EXPECTED = "serinus/expected-workers"
"""The annotation of a HorizontalPodAutoscaler with the number of workers that its floor was made of."""

Object = Mapping[str, Any]


def changes(workers: int, workers_of_pod: int, most: int, replicas: Replicas) -> dict[str, Any]:
    """Returns the merge patch of an autoscaler whose release is to have so many workers. 0: the usual floor. `most` are
    the pods that it may have."""
    said = {EXPECTED: str(workers) if workers else None}
    return {"metadata": {"annotations": said}, "spec": {"minReplicas": _floor(workers, workers_of_pod, most, replicas)}}


def most_pods(autoscaler: Object) -> int:
    """Returns the largest number of pods that the autoscaler allows."""
    return int(autoscaler["spec"]["maxReplicas"])


def sized(placement: Placement, autoscaler: Object | None, workers_of_pod: int, replicas: Replicas) -> Placement:
    """Returns the placement with how large it is expected to be, is and can be. `autoscaler` is None where the release
    has none yet."""
    if autoscaler is None:
        return replace(placement, capacity=placement.workers)
    most = most_pods(autoscaler)
    said = str((autoscaler["metadata"].get("annotations") or {}).get(EXPECTED, ""))
    workers = int(said) if said.isdecimal() else 0
    floor = _floor(workers, workers_of_pod, most, replicas)
    # Another floor was applied in the meantime. It is told again.
    in_force = int(autoscaler["spec"].get("minReplicas") or 1) == floor
    return replace(
        placement,
        expected=workers if in_force else 0,
        capacity=placement.workers,
        most=most * workers_of_pod,
    )


def _floor(workers: int, workers_of_pod: int, most: int, replicas: Replicas) -> int:
    return min(max(-(-workers // workers_of_pod), replicas.least), most)
