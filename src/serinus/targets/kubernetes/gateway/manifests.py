"""What a cluster needs for gateways: one pure function a manifest."""

from __future__ import annotations

from collections.abc import Sequence

from serinus.targets.kubernetes.gateway.names import NAME, ROLE, ROLE_LABEL, SECRET_NAME
from serinus.targets.kubernetes.gateway.pod_manifest import (
    CALLERS_PORT,
    HEALTH_PORT,
    PROBES_PORT,
    Manifest,
    pod_spec,
)
from serinus.targets.kubernetes.gateway.settings import GatewaySettings
from serinus.targets.kubernetes.manifests import collecting, parts
from serinus.targets.kubernetes.manifests.names import CONTROL_ROLE, PORT

CONTROL_PLANE = {ROLE_LABEL: CONTROL_ROLE}
"""Labels of the pods from which probes come."""
_SELECTED = {"app.kubernetes.io/name": "serinus", "app.kubernetes.io/component": ROLE, ROLE_LABEL: ROLE}
_ENDPOINTS = f"{NAME}-endpoints"
"""Of the role in the namespace of releases, which may be the same as that of gateways."""
_REACHED_FROM_OUTSIDE: dict[str, Manifest] = {
    "NodePort": {"externalTrafficPolicy": "Cluster"},
    "LoadBalancer": {"allocateLoadBalancerNodePorts": True, "externalTrafficPolicy": "Cluster"},
}
"""By the type of a Service: what the API server would add."""
_API_SERVER_PORTS = (443, 6443)


def all_of(settings: GatewaySettings) -> Sequence[Manifest]:
    """In the order in which they are applied. The namespaces are there already."""
    return [
        service_account(settings),
        *([collecting.authority(settings.collectors, settings.namespace)] if settings.collectors else []),
        role(settings),
        binding(settings),
        role_in_models(settings),
        binding_in_models(settings),
        report_policy(settings),
        report_policy_binding(settings),
        service(settings),
        probe_service(settings),
        network_policy(settings),
        disruption_budget(settings),
        deployment(settings),
    ]


def deployment(settings: GatewaySettings) -> Manifest:
    return {
        **_head("apps/v1", "Deployment", settings.namespace, NAME),
        "spec": {
            "minReadySeconds": 5,
            "progressDeadlineSeconds": 600,
            "replicas": settings.replicas,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": _SELECTED},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}, "type": "RollingUpdate"},
            "template": {
                "metadata": {"labels": _labels()},
                "spec": pod_spec(settings, NAME, _SELECTED),
            },
        },
    }


def service(settings: GatewaySettings) -> Manifest:
    """Where callers send their requests."""
    outside = settings.tls_secret is not None
    port = {
        "name": "https" if outside else "http",
        "port": 443 if outside else 80,
        "protocol": "TCP",
        "targetPort": "http",
    }
    return _service(settings, NAME, port, settings.service)


def probe_service(settings: GatewaySettings) -> Manifest:
    """Where the control plane asks releases that have no traffic yet."""
    port = {"name": "probes", "port": PROBES_PORT, "protocol": "TCP", "targetPort": "probes"}
    return _service(
        settings, f"{NAME}-probes", port, "ClusterIP" if settings.service == "LoadBalancer" else settings.service
    )


def disruption_budget(settings: GatewaySettings) -> Manifest:
    return {
        **_head("policy/v1", "PodDisruptionBudget", settings.namespace, NAME),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": _SELECTED},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def network_policy(settings: GatewaySettings) -> Manifest:
    """In: callers from everywhere, probes from the control plane alone. Out: releases, collectors,
    and the API server, whose address a policy cannot name."""
    sources: list[Manifest] = [{"podSelector": {"matchLabels": CONTROL_PLANE}}]
    sources += [{"ipBlock": {"cidr": network}} for network in settings.control_planes]
    known = settings.collectors
    models = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.models}}}
    return {
        **_head("networking.k8s.io/v1", "NetworkPolicy", settings.namespace, NAME),
        "spec": {
            "egress": [
                {"ports": [{"port": PORT, "protocol": "TCP"}], "to": [models]},
                {"ports": [{"port": port, "protocol": "TCP"} for port in _API_SERVER_PORTS]},
                *(collecting.egress(known, settings.namespace, settings.namespace) if known else []),
            ],
            "ingress": [
                {"ports": [{"port": port, "protocol": "TCP"} for port in (CALLERS_PORT, HEALTH_PORT)]},
                {"from": sources, "ports": [{"port": PROBES_PORT, "protocol": "TCP"}]},
            ],
            "podSelector": {"matchLabels": _SELECTED},
            "policyTypes": ["Ingress", "Egress"],
        },
    }


# --- what a gateway may ask of the API server -------------------------------------------------------------


def service_account(settings: GatewaySettings) -> Manifest:
    return {
        **_head("v1", "ServiceAccount", settings.namespace, NAME),
        "automountServiceAccountToken": False,
    }


def role(settings: GatewaySettings) -> Manifest:
    """Reads one Secret. Writes Leases: only its own, as `report_policy` says, because a Role cannot."""
    return {
        **_head("rbac.authorization.k8s.io/v1", "Role", settings.namespace, NAME),
        "rules": [
            {
                "apiGroups": [""],
                "resourceNames": [SECRET_NAME],
                "resources": ["secrets"],
                "verbs": ["get", "list", "watch"],
            },
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "patch"]},
        ],
    }


def role_in_models(settings: GatewaySettings) -> Manifest:
    """Reads where the pods of releases answer."""
    return {
        **_head("rbac.authorization.k8s.io/v1", "Role", settings.models, _ENDPOINTS),
        "rules": [
            {
                "apiGroups": ["discovery.k8s.io"],
                "resources": ["endpointslices"],
                "verbs": ["get", "list", "watch"],
            }
        ],
    }


def binding(settings: GatewaySettings) -> Manifest:
    return _binding(settings, settings.namespace, NAME)


def binding_in_models(settings: GatewaySettings) -> Manifest:
    return _binding(settings, settings.models, _ENDPOINTS)


def report_policy(settings: GatewaySettings) -> Manifest:
    """A gateway writes the Lease that has the name of its pod, and says in it that it is this pod: by the claims of its
    token, which the API server itself has made. Source: Kubernetes, ValidatingAdmissionPolicy; ServiceAccount tokens
    that are bound to a pod."""
    claim = "request.userInfo.extra['authentication.kubernetes.io/{}'][0]"
    bound = "'authentication.kubernetes.io/pod-name' in request.userInfo.extra"
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"labels": _labels(), "name": _policy_name(settings)},
        "spec": {
            "failurePolicy": "Fail",
            "matchConditions": [
                {
                    "expression": f"request.userInfo.username == 'system:serviceaccount:{settings.namespace}:{NAME}'",
                    "name": "by-a-gateway",
                }
            ],
            "matchConstraints": {
                "matchPolicy": "Equivalent",
                "namespaceSelector": {},
                "objectSelector": {},
                "resourceRules": [
                    {
                        "apiGroups": ["coordination.k8s.io"],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["leases"],
                        "scope": "*",
                    }
                ],
            },
            "validations": [
                {
                    "expression": f"{bound} && object.metadata.name == {claim.format('pod-name')}"
                    f" && object.spec.holderIdentity == {claim.format('pod-uid')}",
                    "message": "a gateway writes its own report alone",
                }
            ],
        },
    }


def report_policy_binding(settings: GatewaySettings) -> Manifest:
    namespace = {"kubernetes.io/metadata.name": settings.namespace}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"labels": _labels(), "name": _policy_name(settings)},
        "spec": {
            "matchResources": {
                "matchPolicy": "Equivalent",
                "namespaceSelector": {"matchLabels": namespace},
                "objectSelector": {},
            },
            "policyName": _policy_name(settings),
            "validationActions": ["Deny"],
        },
    }


# --- parts ------------------------------------------------------------------------------------------------


def _policy_name(settings: GatewaySettings) -> str:
    """Policies are of the whole cluster."""
    return f"{NAME}-reports.{settings.namespace}"


def _binding(settings: GatewaySettings, namespace: str, name: str) -> Manifest:
    group = "rbac.authorization.k8s.io"
    return {
        **_head(f"{group}/v1", "RoleBinding", namespace, name),
        "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": settings.namespace}],
    }


def _service(settings: GatewaySettings, name: str, port: Manifest, kind: str) -> Manifest:
    return {
        **_head("v1", "Service", settings.namespace, name),
        "spec": {
            **_REACHED_FROM_OUTSIDE.get(kind, {}),
            "internalTrafficPolicy": "Cluster",
            "ipFamilyPolicy": "SingleStack",
            "ports": [port],
            "selector": _SELECTED,
            "sessionAffinity": "None",
            "type": kind,
        },
    }


def _head(api: str, kind: str, namespace: str, name: str) -> Manifest:
    return parts.head(api, kind, namespace, name, _labels())


def _labels() -> dict[str, str]:
    return parts.labels(_SELECTED, NAME)
