"""A Kubernetes cluster of one node on this machine, without a container engine: the tests of the cluster run on it.

    python -m clusterlab build     the programs, from published Go modules
    python -m clusterlab up        the cluster, in namespaces of its own (root)
    python -m clusterlab status    where it is reached
    python -m clusterlab down      all of it, and what it left (root)

docs/lab.md describes it.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class LabError(Exception):
    """What is wrong and what to do about it, for a person."""
