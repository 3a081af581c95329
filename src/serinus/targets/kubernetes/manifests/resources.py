"""What a pod asks of its node: processors and memory, in the form that the API server answers them in."""

from __future__ import annotations

import math
from typing import Any

from serinus.core.release import Scale
from serinus.targets.kubernetes.manifests.placed import Placed
from serinus.targets.kubernetes.manifests.settings import MIB, Sizing

_LEAST_CPU = 10
"""Thousandths of a processor."""
_MOST_WORKERS = 64
"""Of one pod, as its supervisor takes them."""


def resources(placed: Placed, sizing: Sizing) -> dict[str, Any]:
    """`requests` and `limits`. Memory is requested as a whole: a pod that gets what nobody has set aside for it is
    killed when its node is full."""
    count = workers_of(placed.scale, sizing)
    limit = max(_LEAST_CPU, round(1000 * count * (placed.scale.cpu_limit or 1.0)))
    asked = max(_LEAST_CPU, round(limit * sizing.requested_share))
    size = memory(sizing.base_bytes + count * _worker_bytes(placed, sizing))
    return {"limits": {"cpu": cpu(limit), "memory": size}, "requests": {"cpu": cpu(asked), "memory": size}}


def workers_of(scale: Scale, sizing: Sizing) -> int:
    """Processes of one pod."""
    return min(scale.max_workers or sizing.workers, _MOST_WORKERS)


def _worker_bytes(placed: Placed, sizing: Sizing) -> int:
    """What the spec allows; else what was measured, with headroom; else what is usual. A cache grows after the gate has
    measured, so it comes on top."""
    if placed.scale.memory_limit_bytes is not None:
        return placed.scale.memory_limit_bytes
    cache = placed.scale.cache_bytes if placed.release.settings.cache is not None else 0
    if placed.worker_bytes is not None:
        return math.ceil(placed.worker_bytes * sizing.headroom) + cache
    return sizing.worker_bytes + cache


def bytes_of_a_worker(pod_bytes: int, scale: Scale, sizing: Sizing) -> int:
    """Returns the memory of one worker where a whole pod was measured: so much that the pod gets `headroom` times what
    it has used, and never less than `base_bytes`."""
    workers = pod_bytes - sizing.base_bytes / sizing.headroom
    return max(0, math.ceil(workers / workers_of(scale, sizing)))


def memory(size: int) -> str:
    """Bytes, rounded up to whole MiB, in the largest unit of which they are a whole number, as the API server writes
    them."""
    number, unit = -(-size // MIB), "Mi"
    for larger in ("Gi", "Ti"):
        if number % 1024 == 0:
            number, unit = number // 1024, larger
        else:
            break
    return f"{number}{unit}"


def cpu(thousandths: int) -> str:
    """Of a processor, as the API server writes them."""
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"
