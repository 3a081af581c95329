"""Where releases answer: Unix sockets here, addresses of TCP for another target."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from envoy_harness import Proxy, release_of, routing
from servers import ServerThread

from serinus.backends.envoy import xds
from serinus.backends.envoy.endpoints import address_of
from serinus.core.errors import InvalidInput
from serinus.core.routing import Arm, Role

RELEASE = "fraud-1-aaaaaa"


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    """Of a release that answers over TCP, on loopback."""
    with ServerThread(ThreadingHTTPServer(("127.0.0.1", 0), Answer)) as server:
        yield server.server_port


@pytest.mark.parametrize(
    ("endpoint", "address", "discovery"),
    [
        ("/s/r/0123.sock", {"pipe": {"path": "/s/r/0123.sock"}}, "STATIC"),
        ("10.1.2.3:8080", {"socket_address": {"address": "10.1.2.3", "port_value": 8080}}, "STATIC"),
        ("[fd00::1]:80", {"socket_address": {"address": "fd00::1", "port_value": 80}}, "STATIC"),
        (
            "fraud-1.models.svc:8080",
            {"socket_address": {"address": "fraud-1.models.svc", "port_value": 8080}},
            "STRICT_DNS",
        ),
    ],
)
def test_an_endpoint_is_an_address_of_a_cluster_and_is_read_back(
    tmp_path: Path, endpoint: str, address: object, discovery: str
) -> None:
    text = xds.render_clusters({RELEASE: endpoint})
    (cluster,) = json.loads(text)["resources"]
    (locality,) = cluster["load_assignment"]["endpoints"]
    assert locality["lb_endpoints"] == [{"endpoint": {"address": address}}]
    assert cluster["type"] == discovery
    (tmp_path / "clusters.json").write_text(text)
    assert xds.read_clusters(tmp_path / "clusters.json") == {RELEASE: endpoint}


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "relative.sock",
        "/" + "a" * 107,
        "host",
        "host:",
        ":80",
        "host:0",
        "host:65536",
        "a b:80",
        "[::g]:80",
        "::1:80",
    ],
)
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        address_of(endpoint)


def test_a_routing_with_something_else_is_refused_and_names_the_release(proxy: Proxy) -> None:
    with pytest.raises(InvalidInput, match=rf"the endpoint of {RELEASE} cannot be used"):
        proxy.router.apply(routing(Arm(RELEASE, 10_000, Role.CHAMPION, "nowhere")))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_release_that_answers_over_tcp_is_routed_to_and_probed(proxy: Proxy, port: int, host: str) -> None:
    endpoint = f"{host}:{port}"
    asked = routing(Arm(RELEASE, 10_000, Role.CHAMPION, endpoint))
    proxy.router.apply(asked)
    assert proxy.router.in_force("fraud") == asked
    assert proxy.client.get("/v2/models/fraud").json() == {"path": "/v2/models/fraud"}
    proxy.router.apply(replace(asked, timeout_ms=900))
    assert proxy.client.get("/v2/models/fraud").status_code == 200
    assert proxy.router.probe(release_of(RELEASE), endpoint, 1_000)
