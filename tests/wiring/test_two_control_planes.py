"""Two control planes as processes, with PostgreSQL and an API server of Leases between them."""

from __future__ import annotations

from pathlib import Path

import pytest
import taking_over
from lease_server import serving_leases

pytestmark = pytest.mark.long


@pytest.mark.parametrize("story", taking_over.WITHOUT_A_CLUSTER, ids=lambda story: story.__name__)
def test_of_two_control_planes_one_decides(story: object, postgres_database: str, tmp_path: Path) -> None:
    with serving_leases(tmp_path) as (kubeconfig, _, _):
        taking_over.run(story, postgres_database, kubeconfig, "serinus", tmp_path)
