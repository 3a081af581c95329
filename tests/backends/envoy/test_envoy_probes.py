"""The way of the control plane to a release without traffic: the routes of callers, and none that a caller can take."""

from __future__ import annotations

import itertools
import stat
from pathlib import Path

import httpx
import pytest
from envoy_harness import Proxy, release_of, routing
from tritonclient.grpc import service_pb2

from serinus.backends.envoy import EnvoyRouter, admin_socket
from serinus.backends.envoy.names import probe_socket
from serinus.core.errors import Unavailable
from serinus.core.keys import router_key
from serinus.lib.plain_http import NO_TLS
from serinus.targets.asking.grpc_calls import TARGET, framed, outputs_of

CANDIDATE = "fraud-2-bbbbbb"
INFER = "/v2/models/fraud/infer"
PATIENT = 10_000
"""Milliseconds to answer, where the time limit is not what is tested: the machine may be busy."""


@pytest.fixture
def probed(served: Proxy) -> Proxy:
    """The candidate is being asked, while another release has the traffic."""
    served.releases.start(CANDIDATE)
    probe(served)
    return served


def probe(proxy: Proxy, timeout_ms: int = PATIENT) -> None:
    proxy.router.probe(release_of(CANDIDATE), str(proxy.home.release_socket(CANDIDATE)), timeout_ms)


def through(proxy: Proxy) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=str(probe_socket(proxy.home)), verify=NO_TLS)
    return httpx.Client(transport=transport, base_url="http://probe", timeout=10)


def test_the_socket_of_probes_is_this_users_alone(probed: Proxy) -> None:
    assert stat.S_IMODE(probe_socket(probed.home).stat().st_mode) == 0o600


HEADERS = [
    {"x-serinus-probe": "true"},
    {"x-serinus-release": CANDIDATE},
    {"x-serinus-role": "canary", "x-serinus-split": "probe"},
    {"x-envoy-original-path": INFER, "x-envoy-upstream-alt-stat-name": "probe"},
    {"host": "serinus-probe"},
    {"host": CANDIDATE},
    {"x-entity-id": CANDIDATE},
    {"x-request-id": "probe"},
    {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https"},
    {"x-api-key": "probe"},
    {"te": "trailers", "connection": "close, x-serinus-split"},
]
PATHS = [INFER, "/models/fraud/invocations", f"{INFER}?release={CANDIDATE}", f"/v2/models/{CANDIDATE}/infer"]


def test_no_header_and_no_path_leads_a_caller_to_a_release_that_is_only_probed(probed: Proxy) -> None:
    for headers, path in itertools.product(HEADERS, PATHS):
        answer = probed.client.post(path, json={"inputs": []}, headers=headers)
        if answer.status_code == 200:
            assert answer.json()["release"] != CANDIDATE, (headers, path)
        else:
            assert answer.status_code in (400, 404), (headers, path)
    assert CANDIDATE not in probed.releases.served


def test_a_probe_speaks_every_protocol_by_the_routes_of_callers(probed: Proxy) -> None:
    with through(probed) as client:
        for path in (INFER, "/models/fraud/invocations", "/v2/models/fraud"):
            assert client.post(path, json={}).json()["release"] == CANDIDATE
        body = framed("fraud", [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]}])
        answer = client.post(TARGET, content=body, headers={"content-type": "application/grpc"})
        message = service_pb2.ModelInferResponse.FromString(answer.content[5:])
        assert message.model_version == CANDIDATE
        assert outputs_of(answer.content)[0]["name"] == str(len(body))
        unknown = framed("other", [])
        assert (
            client.post(TARGET, content=unknown, headers={"content-type": "application/grpc"}).headers["grpc-status"]
            == "5"
        )


def test_headers_that_would_have_a_probe_counted_are_taken_away(probed: Proxy) -> None:
    with through(probed) as client:
        told = client.post(INFER, json={}, headers={"x-serinus-split": "s1", "x-serinus-role": "champion"})
    assert not {"x-serinus-split", "x-serinus-role"} & told.json()["headers"].keys()


def test_a_probe_shows_the_releases_key(probed: Proxy) -> None:
    key = router_key(probed.home.secret.read_text(), CANDIDATE)
    with through(probed) as client:
        for path in (INFER, "/models/fraud/invocations"):
            told = client.post(path, json={}, headers={"x-serinus-router": "mine"}).json()["headers"]
            assert told["x-serinus-router"] == key


def test_what_envoy_answers_to_a_probe_is_no_fallback_and_is_not_logged(probed: Proxy) -> None:
    probed.router.apply(routing(probed.arm("fraud-1-aaaaaa", 10_000), fallback_score=0.5, timeout_ms=1000))
    probe(probed, timeout_ms=1000)
    with through(probed) as client:
        late = client.post(INFER, json={}, headers={"x-do": "hang"})
        assert (late.status_code, "x-serinus-fallback" in late.headers) == (504, False)
        assert client.post(INFER, json={}, headers={"x-do": "die"}).status_code == 503
        assert probed.releases.served[CANDIDATE] == 2  # none was tried again
    # What callers are answered is logged, and that is enough to know that the log was written meanwhile.
    assert probed.ask(**{"x-do": "hang"}).status_code == 200
    probed.wait_until_logged(1)
    assert [entry["release"] for entry in probed.local_answers()] == ["fraud-1-aaaaaa"]


def test_the_next_control_plane_clears_what_the_one_before_was_asking(probed: Proxy) -> None:
    successor = EnvoyRouter(probed.home, admin_socket(probed.home), drain=0.0)
    try:
        successor.probe(release_of("other-1-cccccc", "other"), str(probed.home.release_socket(CANDIDATE)), PATIENT)
        with through(probed) as client:
            assert client.post(INFER, json={}).status_code == 404
            assert client.post("/v2/models/other/infer", json={}).json()["release"] == CANDIDATE
    finally:
        successor.close()


def test_a_probe_outlives_the_sweep_of_clusters_that_callers_do_not_need(tmp_path: Path, probed: Proxy) -> None:
    for turn in range(3):
        probed.router.apply(routing(probed.arm("fraud-1-aaaaaa", 10_000), split=f"s{turn}"))
    with through(probed) as client:
        assert client.post(INFER, json={}).json()["release"] == CANDIDATE


def test_without_a_running_envoy_a_probe_is_refused_in_words(tmp_path: Path) -> None:
    away = Proxy(tmp_path)
    try:
        with pytest.raises(Unavailable, match="cannot reach releases without traffic"):
            away.router.probe(release_of("a"), str(away.home.release_socket("a")), 1_000)
    finally:
        away.close()
