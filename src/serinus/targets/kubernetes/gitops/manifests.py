"""What Argo CD is told, and the files of a release in the fleet repository. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from serinus.targets.kubernetes.cluster import CAPACITY_MANAGER
from serinus.targets.kubernetes.gitops.settings import GitOps
from serinus.targets.kubernetes.manifests import Manifest, rendered
from serinus.targets.kubernetes.manifests.names import PART_OF

API = "argoproj.io/v1alpha1"
CLUSTER_LABEL = "serinus/cluster"
"""Of Applications."""
DIGEST = "serinus/rendered"
"""The annotation of a Deployment by which the cluster shows which files of the release are applied."""

DEPLOYMENT_FILE = "deployment.yaml"
"""The name of the file of a release's Deployment."""

_KINDS = (
    ("", "Service"),
    ("", "ServiceAccount"),
    ("apps", "Deployment"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("policy", "PodDisruptionBudget"),
)
"""All that Argo CD may apply from the fleet repository, whoever writes there."""
_WAVE = "argocd.argoproj.io/sync-wave"
_LATER = ("Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget")
"""Applied after the others and removed before them: the NetworkPolicy is there until the last pod has drained."""


def files_of(manifests: Sequence[Manifest]) -> tuple[Mapping[str, str], str]:
    """Returns the files of a release by their names, and the digest that its Deployment shows once they are applied."""
    waved = [_annotated(one, {_WAVE: "1"}) if one["kind"] in _LATER else one for one in manifests]
    digest = hashlib.sha256(rendered(waved).encode()).hexdigest()
    marked = [_annotated(one, {DIGEST: digest}) if one["kind"] == "Deployment" else one for one in waved]
    return {f"{one['kind'].lower()}.yaml": rendered([one]) for one in marked}, digest


def _annotated(manifest: Manifest, added: Mapping[str, str]) -> Manifest:
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **added}}}


def application_set(gitops: GitOps, namespace: str) -> Manifest:
    """An Application for each folder of a release, which brings its objects into `namespace` and keeps them as they
    are in Git."""
    generator = {
        "repoURL": gitops.repository,
        "revision": gitops.branch,
        "directories": [{"path": f"rendered/{gitops.cluster}/*/*"}],
    }
    spec = {
        "goTemplate": True,
        "goTemplateOptions": ["missingkey=error"],
        "generators": [{"git": generator}],
        "template": _application(gitops, namespace),
    }
    return _object("ApplicationSet", gitops, spec)


def _application(gitops: GitOps, namespace: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": gitops.application("{{.path.basenameNormalized}}"),
            "labels": {**PART_OF, CLUSTER_LABEL: gitops.cluster},
            # The objects of a release go with its Application, those of the last wave first.
            "finalizers": ["resources-finalizer.argocd.argoproj.io"],
        },
        "spec": {
            "project": gitops.name,
            "source": {"repoURL": gitops.repository, "targetRevision": gitops.branch, "path": "{{.path.path}}"},
            "destination": {"server": gitops.server, "namespace": namespace},
            # The HorizontalPodAutoscaler owns them, and no file names them. Argo CD must not write them either, so
            # that `RespectIgnoreDifferences`, which writes what it has read before, is not set.
            "ignoreDifferences": [
                {"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]},
                # The least number of pods is raised before a release gets more traffic.
                {
                    "group": "autoscaling",
                    "kind": "HorizontalPodAutoscaler",
                    "managedFieldsManagers": [CAPACITY_MANAGER],
                },
            ],
            "syncPolicy": {
                "automated": {"enabled": True, "prune": True, "selfHeal": True},
                "retry": {
                    "limit": -1,
                    "refresh": True,
                    "backoff": {"duration": "5s", "factor": 2, "maxDuration": "1m"},
                },
                # What does not differ is not written: a change of another object resets no least number of pods.
                "syncOptions": ["ServerSideApply=true", "ApplyOutOfSyncOnly=true"],
            },
        },
    }


def project(gitops: GitOps, namespace: str) -> Manifest:
    """What may come from the fleet repository: the kinds of which a release is made, into one namespace."""
    spec = {
        "description": f"Releases that Serinus places in the namespace {namespace}",
        "sourceRepos": [gitops.repository],
        "destinations": [{"server": gitops.server, "namespace": namespace}],
        "clusterResourceWhitelist": [],
        "namespaceResourceWhitelist": [{"group": group, "kind": kind} for group, kind in _KINDS],
    }
    return _object("AppProject", gitops, spec)


def _object(kind: str, gitops: GitOps, spec: Mapping[str, Any]) -> Manifest:
    metadata = {"labels": dict(PART_OF), "name": gitops.name, "namespace": gitops.namespace}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": dict(spec)}
