"""What holds for all Jobs of a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from serinus.targets.kubernetes.manifests.settings import MIB

_BESIDE = 96 * MIB
"""Memory of a pod beside that of the model's process: its first process, which holds question and answer."""


@dataclass(frozen=True, slots=True)
class JobSettings:
    """`namespace`: of Jobs. `owner`: the installation of Serinus that they belong to, as a value of a label."""

    namespace: str = "serinus"
    owner: str = "serinus"
    processors: float = 1.0
    requested_share: float = 0.5
    """Of the processors: what is set aside for the pod."""
    memory_bytes: int = 2048 * MIB
    """Of the pod."""
    scratch_bytes: int = 1024 * MIB
    """Of the files that the model may write."""
    seconds: float = 120.0
    """For which the model may take to answer, from the start of its process."""
    start_seconds: int = 600
    """Until the container runs: a node is found, and the image is pulled."""
    patience_seconds: int = 60
    """For which a pod may not start for a reason that is known, before the reason is told."""
    pull_secrets: tuple[str, ...] = ()
    """Names of Secrets by which the kubelet pulls images."""
    confinement: str = "if-available"
    """`required`: nothing of a model is loaded on a node whose kernel has no Landlock."""

    def __post_init__(self) -> None:
        if self.processors <= 0 or not 0 < self.requested_share <= 1 or self.seconds <= 0 or self.scratch_bytes < 1:
            raise ValueError("jobs: processors, seconds and scratch_bytes are positive, requested_share is in (0, 1]")
        if self.memory_bytes <= 2 * _BESIDE:
            raise ValueError(f"jobs: memory_bytes is more than {2 * _BESIDE}")
        if self.start_seconds < 1 or self.patience_seconds < 0:
            raise ValueError("jobs: start_seconds is positive, and patience_seconds is not negative")

    @property
    def model_bytes(self) -> int:
        """Memory that the process of the model may allocate for itself."""
        return self.memory_bytes - _BESIDE

    @property
    def deadline_seconds(self) -> int:
        """After which Kubernetes ends a Job, whoever has asked for it."""
        return self.start_seconds + int(self.seconds) + 60
