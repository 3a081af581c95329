"""What holds for all releases of a cluster."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many pods a release has, as the HorizontalPodAutoscaler finds it."""

    least: int = 2
    """From 1 on: a release is not scaled to zero on a cluster, because nothing would hold its callers' connections."""
    most: int = 10
    cpu_percent: int = 70
    """Of what pods have requested: what they shall use on average."""
    scale_down_after: int = 300
    """Seconds for which fewer pods must have sufficed."""
    in_flight: int | None = None
    """The requests that a pod shall have in flight on average, as the metric `serinus_pod_requests_in_flight` of the
    custom metrics API says them. None: processors alone decide, and the cluster needs no such API."""

    def __post_init__(self) -> None:
        if not (1 <= self.least <= self.most and self.cpu_percent >= 1 and 0 <= self.scale_down_after <= 3600):
            raise ValueError("replicas: 1 <= least <= most, 1 <= cpu_percent and 0 <= scale_down_after <= 3600")
        if self.in_flight is not None and self.in_flight < 1:
            raise ValueError("replicas: in_flight is 1 or more, or None")


@dataclass(frozen=True, slots=True)
class Sizing:
    """What a pod asks for, where neither the spec nor a measurement says it."""

    workers: int = 1
    """Processes of a pod whose scale names no number. More load gets more pods."""
    worker_bytes: int = 512 * MIB
    """Memory of one worker that has not been measured."""
    headroom: float = 1.5
    """Times what a worker was measured to use."""
    base_bytes: int = 160 * MIB
    """Memory of a pod beside its workers: the supervisor and the process that they are forked from."""
    requested_share: float = 0.5
    """Of the limit of processors: what is set aside for the pod, so that the rest is shared while it is idle."""
    scratch_bytes: int = 512 * MIB
    """Twice what a worker keeps of its records there while no collector answers."""

    def __post_init__(self) -> None:
        sizes = (self.workers, self.worker_bytes, self.base_bytes, self.scratch_bytes)
        if min(sizes) < 1 or self.headroom < 1 or not 0 < self.requested_share <= 1:
            raise ValueError("sizing: sizes are positive, headroom is 1 or more, requested_share is in (0, 1]")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of the life of a pod."""

    startup: int = 300
    """Until it must have answered its warm-up, the pull of its image not counted."""
    endpoints: int = 5
    """That the preStop hook waits, in which gateways leave the pod out before it stops."""
    drain: int = 15
    """For which callers that are connected may go on after that."""
    progress: int = 600
    """After which Kubernetes reports a Deployment whose pods do not become ready."""

    def __post_init__(self) -> None:
        if not 1 <= self.startup < self.progress or self.endpoints < 1 or self.drain < 0:
            raise ValueError("timing: 1 <= startup < progress, 0 < endpoints and 0 <= drain")


@dataclass(frozen=True, slots=True)
class Collectors:
    """The collectors that pods send their prediction records to."""

    addresses: tuple[str, ...]
    """`host:port` of each. They are tried in turn."""
    authority: str
    """The certificate of the authority that has signed theirs, in PEM."""
    name: str = "serinus-collector"
    """The name in their certificates."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`namespace`: of releases. `gateways`: the namespace of gateways and control plane; empty: the same."""

    namespace: str = "serinus"
    gateways: str = ""
    replicas: Replicas = Replicas()
    sizing: Sizing = Sizing()
    timing: Timing = Timing()
    pull_secrets: tuple[str, ...] = ()
    """Names of Secrets by which the kubelet pulls images."""
    confinement: str = "if-available"
    """`required`: a release does not start on a node whose kernel has no Landlock."""
    collectors: Collectors | None = None
    """None: predictions are not recorded."""
    control_planes: tuple[str, ...] = ()
    """Networks, as CIDR, from which a control plane outside the cluster asks releases."""
