"""The least number of pods at run time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from serinus.core.placement import Placement, PlacementState
from serinus.core.release import Release, ServingSettings
from serinus.targets.kubernetes import expecting
from serinus.targets.kubernetes.manifests import Replicas, Settings, autoscaler

REPLICAS = Replicas(least=2, most=6)
RELEASE = Release(
    "card-fraud-7-3f9a2c", "card-fraud", "7", "a" * 64, "b" * 64, ServingSettings(), datetime(2026, 1, 1, tzinfo=UTC)
)
PLACED = Placement(RELEASE.id, PlacementState.READY, workers=4)


def told(workers: int, *, of_pod: int = 2) -> dict[str, Any]:
    """The autoscaler after it was told."""
    found = autoscaler(RELEASE, Settings(replicas=REPLICAS))
    changes = expecting.changes(workers, of_pod, expecting.most_pods(found), REPLICAS)
    found["spec"] |= changes["spec"]
    found["metadata"]["annotations"] = {k: v for k, v in changes["metadata"]["annotations"].items() if v is not None}
    return found


@pytest.mark.parametrize(("workers", "pods"), [(0, 2), (1, 2), (4, 2), (5, 3), (12, 6), (13, 6)])
def test_the_floor_is_of_whole_pods_between_the_least_and_the_most(workers: int, pods: int) -> None:
    assert told(workers)["spec"]["minReplicas"] == pods


@pytest.mark.parametrize("workers", [0, 1, 5, 13])
def test_a_placement_says_what_is_expected_what_is_there_and_what_can_be(workers: int) -> None:
    found = expecting.sized(PLACED, told(workers), 2, REPLICAS)
    assert (found.expected, found.capacity, found.most) == (workers, 4, 12)


def test_what_was_overwritten_is_not_expected_any_more_so_that_it_is_told_again() -> None:
    overwritten = told(8)
    overwritten["spec"]["minReplicas"] = 2
    assert expecting.sized(PLACED, overwritten, 2, REPLICAS).expected == 0
    assert expecting.sized(PLACED, told(8), 1, REPLICAS).expected == 0, "its pods have another number of workers"


def test_without_an_autoscaler_nothing_is_expected_and_the_most_is_unknown() -> None:
    found = expecting.sized(PLACED, None, 2, REPLICAS)
    assert (found.expected, found.capacity, found.most) == (0, 4, None)


def test_an_annotation_that_is_no_number_is_none() -> None:
    odd = told(8)
    odd["metadata"]["annotations"][expecting.EXPECTED] = "many"
    assert expecting.sized(PLACED, odd, 2, REPLICAS).expected == 0
