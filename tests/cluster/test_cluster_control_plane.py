"""The objects of the control plane on a real API server: that it takes them, and what they let the control plane do.

The control plane itself is not started here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster as Lab
from control_values import LEAST, write
from relays import as_bearer

from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.gateway.manifests import all_of
from serinus.targets.kubernetes.gateway.settings import GatewaySettings
from serinus.targets.kubernetes.manifests import Collectors
from serinus.wiring.control_plane import objects
from serinus.wiring.installing import check_rights

ABOUT_RIGHTS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


@pytest.fixture
def found(namespace: str, tmp_path: Path) -> Sequence[dict[str, Any]]:
    """Releases and the control plane are in the same namespace."""
    document = deepcopy(LEAST)
    document["config"]["cluster"]["namespace"] = namespace
    return objects(write(tmp_path, document), namespace)


@pytest.fixture
def granted(cluster: Lab, namespace: str, found: Sequence[dict[str, Any]]) -> Iterator[None]:
    """Its account and its rights are there. What is of the whole cluster is removed afterwards."""
    with_rights = [one for one in found if one["kind"] in ABOUT_RIGHTS]
    cluster.apply(namespace, *with_rights)
    yield
    for one in with_rights:
        if one["kind"].startswith("Cluster"):
            cluster.kubectl("delete", one["kind"], one["metadata"]["name"])


def test_the_api_server_takes_every_object(cluster: Lab, found: Sequence[dict[str, Any]]) -> None:
    client = Cluster.connected(cluster.kubeconfig)
    try:
        for one in found:
            told = client.apply(one, force=True, dry_run=True)
            assert told["metadata"]["name"] == one["metadata"]["name"]
    finally:
        client.close()


@pytest.mark.usefixtures("granted")
def test_gateways_can_be_installed_by_the_account_of_the_control_plane(
    cluster: Lab, namespace: str, tmp_path: Path
) -> None:
    """Every object is tried, and with it that no Role allows more than its author may."""
    token = cluster.kubectl("create", "token", "serinus-control", f"--namespace={namespace}").strip()
    client = Cluster.connected(as_bearer(cluster.kubeconfig, token, tmp_path))
    collectors = Collectors(("10.0.0.9:7443",), "PEM")
    image = f"registry.example/serinus/gateway@sha256:{'0' * 64}"
    try:
        check_rights(client, all_of(GatewaySettings(image, namespace, models=namespace, collectors=collectors)))
    finally:
        client.close()


@pytest.mark.usefixtures("granted")
@pytest.mark.parametrize(
    ("verb", "group", "resource", "name", "allowed"),
    [
        ("get", "", "secrets", "serinus-routing", True),
        ("get", "", "secrets", "serinus-store", False),
        ("update", "coordination.k8s.io", "leases", "serinus-control", True),
        ("update", "coordination.k8s.io", "leases", "another", False),
        ("watch", "autoscaling", "horizontalpodautoscalers", "", True),
        ("create", "apps", "statefulsets", "", False),
        ("create", "", "pods", "", False),
        ("create", "", "pods/exec", "", False),
        ("patch", "rbac.authorization.k8s.io", "roles", "serinus-gateway", True),
        ("patch", "rbac.authorization.k8s.io", "roles", "serinus-control", False),
    ],
)
def test_the_account_may_do_what_it_needs_and_no_more(
    cluster: Lab, namespace: str, verb: str, group: str, resource: str, name: str, allowed: bool
) -> None:
    plural, _, subresource = resource.partition("/")
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": plural, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{namespace}:serinus-control",
            "resourceAttributes": {**attributes, "subresource": subresource},
        },
    }
    told = json.loads(cluster.kubectl("create", "--filename=-", "--output=json", given=json.dumps(review)))
    assert told["status"]["allowed"] is allowed
