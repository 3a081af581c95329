"""The objects of a control plane: one pure function a manifest.

They are made of values, or of symbols of them, of which the chart is made. Gateways are not among them: each control
plane installs them before it starts, in its own version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from serinus.targets.kubernetes.control import rights
from serinus.targets.kubernetes.control.pod import CONFIG_FILE, LABELS, pod_spec
from serinus.targets.kubernetes.control.rights import Right
from serinus.targets.kubernetes.control.symbols import choice, digest, document, usual, whole
from serinus.targets.kubernetes.control.values import API_PORT, COLLECTORS_PORT, NAME, SERVICE_PORT, Values
from serinus.targets.kubernetes.gateway.names import ROLE as GATEWAY_ROLE
from serinus.targets.kubernetes.manifests import parts
from serinus.targets.kubernetes.manifests.names import RELEASE_ROLE, ROLE_LABEL

Manifest = dict[str, Any]
Make = Callable[[Values, str], Manifest]
API = "serinus"
"""The Service of the API."""
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class Part:
    """One manifest. `when`: the value, by the names on the way to it, that has to be true. `absent`: that it has to be
    false instead."""

    file: str
    """The template that has it."""
    make: Make
    when: tuple[str, ...] = ()
    absent: bool = False

    def wanted(self, values: Any) -> bool:
        for name in self.when:
            values = getattr(values, name) if values is not None else None
        return not self.when or bool(values) != self.absent


def manifests(values: Values, namespace: str) -> Sequence[Manifest]:
    """All that is installed into `namespace`, in the order in which it is applied."""
    return [part.make(values, namespace) for part in PARTS if part.wanted(values)]


# --- what runs ----------------------------------------------------------------------------------------------


def stateful_set(values: Values, namespace: str) -> Manifest:
    """Pods that keep their names and their disks: a collector has records on its own that are not in the bucket yet,
    and a token of each control plane is in the store by its name."""
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": whole(values.storage.size)}},
        "storageClassName": whole(values.storage.storage_class),
        "volumeMode": "Filesystem",
    }
    return {
        **_head("apps/v1", "StatefulSet", namespace, NAME),
        "spec": {
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "podManagementPolicy": "Parallel",
            "replicas": whole(values.replicas),
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": LABELS},
            "serviceName": NAME,
            "template": {
                "metadata": {"annotations": {"serinus/config": digest(values.config)}, "labels": _labels()},
                "spec": pod_spec(values, namespace),
            },
            "updateStrategy": {"rollingUpdate": {"partition": 0}, "type": "RollingUpdate"},
            "volumeClaimTemplates": [
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {"name": "home"},
                    "spec": {name: one for name, one in claim.items() if one is not None},
                }
            ],
        },
    }


def config(values: Values, namespace: str) -> Manifest:
    return {**_head("v1", "ConfigMap", namespace, NAME), "data": {CONFIG_FILE: document(values.config)}}


def service(values: Values, namespace: str) -> Manifest:
    """Where people call the API and see the page."""
    port = {
        "name": choice(values.config.insecure, "http", "https"),
        "port": SERVICE_PORT,
        "protocol": "TCP",
        "targetPort": "api",
    }
    spec = {
        "internalTrafficPolicy": "Cluster",
        "ipFamilyPolicy": "SingleStack",
        "ports": [port],
        "selector": LABELS,
        "sessionAffinity": "None",
        "type": whole(values.service),
    }
    return {**_head("v1", "Service", namespace, API), "spec": spec}


def names(values: Values, namespace: str) -> Manifest:
    """Gives each pod a name, by which releases and gateways reach its collector: also while the API does not answer."""
    del values
    spec = {
        "clusterIP": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilyPolicy": "SingleStack",
        "ports": [{"name": "collectors", "port": COLLECTORS_PORT, "protocol": "TCP", "targetPort": "collectors"}],
        "publishNotReadyAddresses": True,
        "selector": LABELS,
        "sessionAffinity": "None",
        "type": "ClusterIP",
    }
    return {**_head("v1", "Service", namespace, NAME), "spec": spec}


def disruption_budget(values: Values, namespace: str) -> Manifest:
    del values
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": LABELS}, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
    return {**_head("policy/v1", "PodDisruptionBudget", namespace, NAME), "spec": spec}


def network_policy(values: Values, namespace: str) -> Manifest:
    """In: people from everywhere, and records of releases and gateways. Out: everywhere, since registries, package
    indexes, MLflow, databases and buckets have no addresses that a policy could name."""
    releases = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": whole(values.config.cluster.namespace)}},
        "podSelector": {"matchLabels": {ROLE_LABEL: RELEASE_ROLE}},
    }
    gateways = {"podSelector": {"matchLabels": {ROLE_LABEL: GATEWAY_ROLE}}}
    spec = {
        "ingress": [
            {"ports": [{"port": API_PORT, "protocol": "TCP"}]},
            {"from": [releases, gateways], "ports": [{"port": COLLECTORS_PORT, "protocol": "TCP"}]},
        ],
        "podSelector": {"matchLabels": LABELS},
        "policyTypes": ["Ingress"],
    }
    return {**_head("networking.k8s.io/v1", "NetworkPolicy", namespace, NAME), "spec": spec}


# --- what it may do -----------------------------------------------------------------------------------------


def service_account(values: Values, namespace: str) -> Manifest:
    del values
    return {**_head("v1", "ServiceAccount", namespace, NAME), "automountServiceAccountToken": False}


def _in_control(_: Values, namespace: str) -> str:
    return namespace


def _in_releases(values: Values, _: str) -> str:
    return str(whole(values.config.cluster.namespace))


def _in_argo_cd(values: Values, _: str) -> str:
    return usual(values.config.cluster.fleet.argo_cd.namespace, "argocd")


def _in_cluster(_values: Values, _namespace: str) -> str:
    return ""


def _granted(
    name: str,
    within: Callable[[Values, str], str],
    granted: Callable[[str], Iterable[Right]],
    when: tuple[str, ...] = (),
    *,
    absent: bool = False,
) -> tuple[Part, Part]:
    """A Role and its binding, of the namespace that `within` answers. Empty: of the cluster."""

    def called(namespace: str) -> str:
        # Other installations have theirs in the same place, except in the namespace of the chart.
        return name if within is _in_control else f"{name}.{namespace}"

    def role(values: Values, namespace: str) -> Manifest:
        at = within(values, namespace)
        kind = "Role" if at else "ClusterRole"
        rules = [one.rule for one in granted(namespace)]
        return {**_head(f"{_RBAC}/v1", kind, at, called(namespace)), "rules": rules}

    def binding(values: Values, namespace: str) -> Manifest:
        at = within(values, namespace)
        kind = "Role" if at else "ClusterRole"
        return {
            **_head(f"{_RBAC}/v1", f"{kind}Binding", at, called(namespace)),
            "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": called(namespace)},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
        }

    return Part("rights", role, when, absent), Part("rights", binding, when, absent)


_CLUSTER = ("config", "cluster")
_ARGO_CD = (*_CLUSTER, "fleet", "argo_cd")
_INSTALL = (*_CLUSTER, "gateways", "install")

PARTS: Sequence[Part] = (
    Part("rights", service_account),
    *_granted(NAME, _in_control, lambda _: rights.IN_CONTROL),
    *_granted(f"{NAME}-releases", _in_releases, lambda _: rights.IN_RELEASES),
    *_granted(f"{NAME}-apply", _in_releases, lambda _: rights.TO_APPLY_RELEASES, _ARGO_CD, absent=True),
    *_granted(f"{NAME}-argo-cd", _in_argo_cd, lambda _: rights.IN_ARGO_CD, _ARGO_CD),
    *_granted(f"{NAME}-tokens", _in_cluster, lambda _: rights.IN_CLUSTER),
    *_granted(f"{NAME}-gateways", _in_control, lambda at: rights.to_install(at)["control"], _INSTALL),
    *_granted(f"{NAME}-endpoints", _in_releases, lambda at: rights.to_install(at)["releases"], _INSTALL),
    *_granted(f"{NAME}-policies", _in_cluster, lambda at: rights.to_install(at)["cluster"], _INSTALL),
    Part("config", config),
    Part("services", service),
    Part("services", names),
    Part("network-policy", network_policy),
    Part("disruption-budget", disruption_budget),
    Part("control-plane", stateful_set),
)


# --- parts --------------------------------------------------------------------------------------------------


def _head(api: str, kind: str, namespace: str, name: str) -> Manifest:
    return parts.head(api, kind, namespace, name, _labels())


def _labels() -> dict[str, str]:
    return parts.labels(LABELS, NAME)
