"""Releases by Git: Serinus commits their manifests to the fleet repository, and Argo CD applies them.

settings      which Argo CD, and where it finds the manifests
manifests     what Argo CD is told, and the files of a release
words         what Argo CD says of a release
applier       commits, tells Argo CD, and waits until the cluster has it
"""

from __future__ import annotations

from serinus.targets.kubernetes.gitops.applier import GitApplier, Rendered
from serinus.targets.kubernetes.gitops.settings import GitOps

__all__ = ["GitApplier", "GitOps", "Rendered"]
