"""The kinds of objects that Serinus reads and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightkube.generic_resource import GenericGlobalResource, GenericNamespacedResource, create_api_info

from serinus.core.errors import InvalidInput

Object = dict[str, Any]
"""An object of the API as JSON has it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`Deployment` of `apps/v1`, called `deployments` in addresses."""

    api_version: str
    name: str
    plural: str
    namespaced: bool = True

    @property
    def resource(self) -> str:
        """As rules of RBAC and messages name it: `deployments.apps`."""
        group = self.group
        return f"{self.plural}.{group}" if group else self.plural

    @property
    def group(self) -> str:
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""


APPLICATION = Kind("argoproj.io/v1alpha1", "Application", "applications")
APPLICATION_SET = Kind("argoproj.io/v1alpha1", "ApplicationSet", "applicationsets")
APP_PROJECT = Kind("argoproj.io/v1alpha1", "AppProject", "appprojects")
CLUSTER_ROLE = Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDING = Kind(
    "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
ENDPOINT_SLICE = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
EVENT = Kind("v1", "Event", "events")
HORIZONTAL_POD_AUTOSCALER = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
JOB = Kind("batch/v1", "Job", "jobs")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
NODE = Kind("v1", "Node", "nodes", namespaced=False)
POD = Kind("v1", "Pod", "pods")
POD_DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
POD_METRICS = Kind("metrics.k8s.io/v1beta1", "PodMetrics", "pods")
RESOURCE_QUOTA = Kind("v1", "ResourceQuota", "resourcequotas")
ROLE = Kind("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDING = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
SECRET = Kind("v1", "Secret", "secrets")
SERVICE = Kind("v1", "Service", "services")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
TOKEN_REVIEW = Kind("authentication.k8s.io/v1", "TokenReview", "tokenreviews", namespaced=False)
VALIDATING_ADMISSION_POLICY = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
    "validatingadmissionpolicies",
    namespaced=False,
)
VALIDATING_ADMISSION_POLICY_BINDING = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding",
    "validatingadmissionpolicybindings",
    namespaced=False,
)

KINDS = tuple(value for value in list(globals().values()) if isinstance(value, Kind))
_BY_NAME = {(kind.api_version, kind.name): kind for kind in KINDS}


def kind_of(manifest: Mapping[str, Any]) -> Kind:
    """Raises InvalidInput: it is of none of these."""
    version, name = manifest.get("apiVersion"), manifest.get("kind")
    found = _BY_NAME.get((str(version), str(name)))
    if found is None:
        raise InvalidInput(f"Serinus writes no objects of the kind {name} of {version}.")
    return found


def resource_class(kind: Kind) -> Any:
    """The class by which lightkube knows the kind; its objects are dictionaries."""
    return _CLASSES[kind]


def _made(kind: Kind) -> Any:
    # Not by lightkube's own `create_...`, which registers a kind by its name: it has typed ones of some of these.
    base = GenericNamespacedResource if kind.namespaced else GenericGlobalResource
    version = kind.api_version.rpartition("/")[2]
    return type(kind.name, (base,), {"_api_info": create_api_info(kind.group, version, kind.name, kind.plural)})


_CLASSES = {kind: _made(kind) for kind in KINDS}
