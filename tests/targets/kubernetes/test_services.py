"""Where a Service answers, by the API server's word."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from api_server import cluster_of, not_found

from serinus.core.errors import Unavailable
from serinus.targets.kubernetes import services
from serinus.targets.kubernetes.services import Services

ENDPOINT = "fraud-1-abcdef.serinus.svc:8080"


class ApiServer:
    def __init__(self, spec: dict[str, Any] | None) -> None:
        self.spec = spec
        self.asked = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        assert request.url.path == "/api/v1/namespaces/serinus/services/fraud-1-abcdef"
        return not_found() if self.spec is None else httpx2.Response(200, json={"spec": self.spec})


def test_the_address_of_a_service_is_read_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(services, "monotonic", lambda: now)
    server = ApiServer({"clusterIP": "10.96.0.7"})
    found = Services(cluster_of(server))
    assert [found.address(ENDPOINT) for _ in range(3)] == [("10.96.0.7", 8080)] * 3
    assert server.asked == 1
    server.spec = {"clusterIP": "10.96.0.8"}
    now += 11
    assert found.address(ENDPOINT) == ("10.96.0.8", 8080)


@pytest.mark.parametrize("endpoint", ["192.0.2.1:8085", "gateway.example:8085", "[2001:db8::1]:8085"])
def test_an_address_is_used_as_it_is(endpoint: str) -> None:
    host, port = Services(cluster_of(ApiServer(None))).address(endpoint)
    assert (host, port) == (endpoint.rpartition(":")[0].strip("[]"), 8085)


@pytest.mark.parametrize(
    ("spec", "said"),
    [(None, "does not exist"), ({"clusterIP": "None"}, "has no address of its own"), ({}, "has no address of its own")],
)
def test_a_service_without_an_address_is_said(spec: dict[str, Any] | None, said: str) -> None:
    with pytest.raises(Unavailable, match=f"The Service fraud-1-abcdef of the namespace serinus {said}"):
        Services(cluster_of(ApiServer(spec))).address(ENDPOINT)


def test_an_api_server_that_is_away_is_said() -> None:
    def away(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with pytest.raises(Unavailable, match="does not answer"):
        Services(cluster_of(away)).address(ENDPOINT)
