"""Two control planes as processes, with PostgreSQL and a Lease of a real API server between them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import taking_over
from clusters import Cluster
from control_processes import one_of_two_decides
from relays import as_bearer


@pytest.mark.parametrize("story", taking_over.ON_A_CLUSTER, ids=lambda story: story.__name__)
def test_of_two_control_planes_of_a_cluster_one_decides(
    story: object, cluster: Cluster, namespace: str, postgres_database: str, tmp_path: Path
) -> None:
    cluster.kubectl("delete", "lease", "serinus-control", f"--namespace={namespace}", "--ignore-not-found")
    taking_over.run(story, postgres_database, cluster.kubeconfig, namespace, tmp_path)
    lease = cluster.get("lease", "serinus-control", f"--namespace={namespace}")
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("second", 2)


ACCOUNT = "serinus-control"
LEASES, CORE = "coordination.k8s.io", ""
RULES = [
    {"apiGroups": [LEASES], "resources": ["leases"], "resourceNames": ["serinus-control"], "verbs": ["get", "update"]},
    {"apiGroups": [LEASES], "resources": ["leases"], "verbs": ["create", "list"]},
    {"apiGroups": [CORE], "resources": ["secrets"], "resourceNames": ["serinus-routing"], "verbs": ["get", "update"]},
    {"apiGroups": [CORE], "resources": ["secrets"], "verbs": ["create"]},
    {"apiGroups": [CORE], "resources": ["pods"], "verbs": ["list"]},
]
"""What it takes to decide and to publish that, as the page about Kubernetes says."""
MAY = ("get leases/serinus-control", "update leases/serinus-control", "update secrets/serinus-routing")
MAY_NOT = ("delete leases/serinus-control", "update leases/another", "get secrets/another", "patch deployments")


@pytest.fixture
def account(cluster: Cluster, namespace: str, tmp_path: Path) -> Path:
    """The kubeconfig of a service account that may do nothing else."""
    group = "rbac.authorization.k8s.io"
    head = {"apiVersion": f"{group}/v1", "metadata": {"name": ACCOUNT}}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}
    cluster.apply(
        namespace,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}},
        {**head, "kind": "Role", "rules": RULES},
        {
            **head,
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": group, "kind": "Role", "name": ACCOUNT},
            "subjects": [subject],
        },
    )
    token = cluster.kubectl("create", "token", ACCOUNT, f"--namespace={namespace}").strip()
    return as_bearer(cluster.kubeconfig, token, tmp_path)


def may(cluster: Cluster, namespace: str, what: str) -> bool:
    verb, resource = what.split()
    command = [cluster.kubectl_program, f"--kubeconfig={cluster.kubeconfig}", "auth", "can-i", verb, resource]
    account = f"--as=system:serviceaccount:{namespace}:{ACCOUNT}"
    return subprocess.run([*command, f"--namespace={namespace}", account], capture_output=True).returncode == 0


def test_of_two_control_processes_one_decides_with_no_more_rights_than_that_takes(
    cluster: Cluster, namespace: str, account: Path, postgres_database: str, tmp_path: Path
) -> None:
    cluster.kubectl("delete", "lease", "serinus-control", f"--namespace={namespace}", "--ignore-not-found")

    def terms() -> tuple[str, int]:
        found = cluster.get("lease,secret", f"--namespace={namespace}")["items"]
        there = {one["metadata"]["name"]: one for one in found}
        if "serinus-routing" not in there:
            return "", 0
        term = there["serinus-routing"]["metadata"]["annotations"]["serinus/term"]
        return there["serinus-control"]["spec"].get("holderIdentity", ""), int(term)

    one_of_two_decides(tmp_path, account, namespace, postgres_database, terms)
    assert [what for what in (*MAY, *MAY_NOT) if may(cluster, namespace, what)] == list(MAY)
