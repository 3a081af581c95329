"""Addresses of releases out of EndpointSlices: pure."""

from __future__ import annotations

import pytest
from gateway_harness import slice_of

from serinus.targets.kubernetes.endpoints import Service, service_of
from serinus.targets.kubernetes.gateway.slices import members

ENDPOINT = "card-fraud-7-3f9a2c.serinus.svc:8080"


def conditions(**given: bool | None) -> dict[str, object]:
    return slice_of("card-fraud-7-3f9a2c", endpoints=[{"addresses": ["10.0.0.1"], "conditions": given}])


def test_the_endpoint_of_a_release_names_its_service() -> None:
    assert service_of(ENDPOINT) == Service("card-fraud-7-3f9a2c", "serinus")


@pytest.mark.parametrize("endpoint", ["/run/a.sock", "10.0.0.1:8080", "host.example:8080", "a.b.svc", "a.b.svc:x"])
def test_other_endpoints_are_addresses_themselves(endpoint: str) -> None:
    assert service_of(endpoint) is None
    assert members([endpoint], []) == {}


def test_the_ready_pods_of_all_slices_of_the_service_answer() -> None:
    slices = [
        slice_of("card-fraud-7-3f9a2c", "10.0.0.2", "10.0.0.1"),
        slice_of("card-fraud-7-3f9a2c", "10.0.0.3", "10.0.0.1"),
        slice_of("another", "10.0.0.9"),
    ]
    assert members([ENDPOINT], slices) == {ENDPOINT: ("10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080")}


def test_a_service_of_another_namespace_is_another_one() -> None:
    slices = [slice_of("card-fraud-7-3f9a2c", "10.0.0.1")]
    assert members(["card-fraud-7-3f9a2c.other.svc:8080"], slices) == {"card-fraud-7-3f9a2c.other.svc:8080": ()}


@pytest.mark.parametrize(
    ("given", "answers"),
    [
        ({}, True),
        ({"ready": None}, True),
        ({"ready": True, "serving": True, "terminating": False}, True),
        ({"ready": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
        ({"ready": True, "terminating": True}, False),
    ],
)
def test_a_pod_that_is_not_ready_or_goes_does_not(given: dict[str, bool | None], answers: bool) -> None:
    assert members([ENDPOINT], [conditions(**given)]) == {ENDPOINT: ("10.0.0.1:8080",) if answers else ()}


def test_the_port_is_the_one_that_is_named_http_or_the_only_one() -> None:
    named = [{"name": "health", "port": 8081}, {"name": "http", "port": 9000}]
    slices = [slice_of("card-fraud-7-3f9a2c", "10.0.0.1", ports=named)]
    assert members([ENDPOINT], slices)[ENDPOINT] == ("10.0.0.1:9000",)
    slices = [slice_of("card-fraud-7-3f9a2c", "10.0.0.1", ports=[{"port": 9000}])]
    assert members([ENDPOINT], slices)[ENDPOINT] == ("10.0.0.1:9000",)
    slices = [slice_of("card-fraud-7-3f9a2c", "10.0.0.1", ports=[{"name": "a", "port": 1}, {"name": "b", "port": 2}])]
    assert members([ENDPOINT], slices)[ENDPOINT] == ()


def test_addresses_of_both_families_are_written_as_envoy_reads_them() -> None:
    slices = [slice_of("card-fraud-7-3f9a2c", "fd00::1", "10.0.0.1", "pod.example")]
    assert members([ENDPOINT], slices)[ENDPOINT] == ("10.0.0.1:8080", "[fd00::1]:8080")


@pytest.mark.parametrize("odd", [{}, {"metadata": None}, {"metadata": {"labels": None}}])
def test_a_slice_without_a_service_is_left_aside(odd: dict[str, object]) -> None:
    assert members([ENDPOINT], [odd]) == {ENDPOINT: ()}
