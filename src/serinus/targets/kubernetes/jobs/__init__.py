"""Work with untrusted files in Jobs of a cluster, one a question.

settings                what Jobs get, and how long they are waited for
posing                  questions as a pod reads them, and answers as it writes them
manifests, outcomes     their objects, and what these say
jobs                    asks a question, and waits for the answer
trials                  the ports, on that
"""

from __future__ import annotations

from serinus.targets.kubernetes.jobs.jobs import Jobs
from serinus.targets.kubernetes.jobs.settings import JobSettings
from serinus.targets.kubernetes.jobs.trials import ClusterTrials

__all__ = ["ClusterTrials", "JobSettings", "Jobs"]
