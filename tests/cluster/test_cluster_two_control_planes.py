"""Two control planes as processes, with PostgreSQL and a Lease of a real API server between them."""

from __future__ import annotations

from pathlib import Path

import pytest
import taking_over
from clusters import Cluster


@pytest.mark.parametrize("story", taking_over.ON_A_CLUSTER, ids=lambda story: story.__name__)
def test_of_two_control_planes_of_a_cluster_one_decides(
    story: object, cluster: Cluster, namespace: str, postgres_database: str, tmp_path: Path
) -> None:
    cluster.kubectl("delete", "lease", "serinus-control", f"--namespace={namespace}", "--ignore-not-found")
    taking_over.run(story, postgres_database, cluster.kubeconfig, namespace, tmp_path)
    lease = cluster.get("lease", "serinus-control", f"--namespace={namespace}")
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("second", 2)
