"""What the lab itself needs in the cluster, as YAML."""

from __future__ import annotations

import yaml

from clusterlab.modules import manifest

_CRDS = ("application-crd.yaml", "applicationset-crd.yaml", "appproject-crd.yaml")
_KEPT = ("ConfigMap", "Secret")
"""Of Argo CD's own installation: its programs run beside the cluster."""


def metrics() -> str:
    """The API of metrics-server, which the API server reaches on its own machine."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "metrics-server", "namespace": "kube-system"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": 4443}]},
    }
    registered = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "metrics-server", "namespace": "kube-system", "port": 4443},
        },
    }
    return yaml.safe_dump_all([service, registered])


def argo_cd_namespace() -> str:
    """The namespace and the kinds, which have to be there before the rest."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}}
    return "---\n".join([yaml.safe_dump(namespace), *(manifest(f"crds/{name}").read_text() for name in _CRDS)])


def argo_cd() -> str:
    """Its configuration, the password of redis, and the project that an Application is in by default."""
    documents = yaml.safe_load_all(manifest("core-install.yaml").read_text())
    kept = [document for document in documents if document and document["kind"] in _KEPT]
    for document in kept:
        document["metadata"]["namespace"] = "argocd"
    redis = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "argocd-redis", "namespace": "argocd"},
        "stringData": {"auth": ""},
    }
    anything = {"group": "*", "kind": "*"}
    project = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": {"name": "default", "namespace": "argocd"},
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{"server": "*", "namespace": "*"}],
            "clusterResourceWhitelist": [anything],
        },
    }
    return yaml.safe_dump_all([*kept, redis, project])
