"""Two control planes as processes, with PostgreSQL and a Lease of a real API server between them."""

from __future__ import annotations

from pathlib import Path

import pytest
import taking_over
from clusters import Cluster
from control_processes import one_of_two_decides


@pytest.mark.parametrize("story", taking_over.ON_A_CLUSTER, ids=lambda story: story.__name__)
def test_of_two_control_planes_of_a_cluster_one_decides(
    story: object, cluster: Cluster, namespace: str, postgres_database: str, tmp_path: Path
) -> None:
    cluster.kubectl("delete", "lease", "serinus-control", f"--namespace={namespace}", "--ignore-not-found")
    taking_over.run(story, postgres_database, cluster.kubeconfig, namespace, tmp_path)
    lease = cluster.get("lease", "serinus-control", f"--namespace={namespace}")
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("second", 2)


def test_of_two_control_processes_of_a_cluster_one_decides(
    cluster: Cluster, namespace: str, postgres_database: str, tmp_path: Path
) -> None:
    cluster.kubectl("delete", "lease", "serinus-control", f"--namespace={namespace}", "--ignore-not-found")

    def terms() -> tuple[str, int]:
        found = cluster.get("lease,secret", f"--namespace={namespace}")["items"]
        there = {one["metadata"]["name"]: one for one in found}
        if "serinus-routing" not in there:
            return "", 0
        term = there["serinus-routing"]["metadata"]["annotations"]["serinus/term"]
        return there["serinus-control"]["spec"].get("holderIdentity", ""), int(term)

    one_of_two_decides(tmp_path, cluster.kubeconfig, namespace, postgres_database, terms)
