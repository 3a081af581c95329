"""Models examined in Jobs of a cluster: which implementations that is made of."""

from __future__ import annotations

from dataclasses import replace

from serinus.backends.onnx import Ask
from serinus.core.home import Home
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.images import Images
from serinus.targets.kubernetes.jobs import ClusterTrials, Jobs, JobSettings
from serinus.targets.local.host import Trials
from serinus.wiring.local import COMPILE_SECONDS, RECHECK_SECONDS

_LEAST_SHARE = 0.01
"""The share of their processors that is set aside for the pods of the recheck."""


def build_cluster_trials(home: Home, cluster: Cluster, settings: JobSettings, images: Images) -> ClusterTrials:
    """Examines models whose files are in `home`. Files of rows, which hold no code, are read by a confined process
    beside the control plane. Nothing is asked here."""

    def image_of(artifact: str, environment: str | None) -> str:
        return str(images.for_trial(artifact, environment))

    return ClusterTrials(Jobs(cluster, settings), image_of, Trials(home))


def build_cluster_rescorer(home: Home, cluster: Cluster, settings: JobSettings, images: Images) -> ClusterTrials:
    """The same for the recheck. Its pods only get processors that are idle."""
    behind = replace(settings, seconds=RECHECK_SECONDS, requested_share=_LEAST_SHARE)
    return build_cluster_trials(home, cluster, behind, images)


def build_cluster_ask(home: Home, cluster: Cluster, settings: JobSettings, images: Images) -> Ask:
    """Returns what asks the processes that write graphs and prove them."""
    return build_cluster_trials(home, cluster, replace(settings, seconds=COMPILE_SECONDS), images).ask
