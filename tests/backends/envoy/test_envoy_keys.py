"""Keys of callers: who is let in, to which models, and what a release learns of it."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from envoy_harness import Proxy, routing
from tritonclient.grpc import service_pb2, service_pb2_grpc

from serinus.backends.envoy import names, prepare, xds

CHAMPION = "fraud-1-aaaaaa"
OTHER = "other-1-cccccc"
FRAUD_PATHS = (
    "/v2/models/fraud/infer",
    "/models/fraud/invocations",
    "/models/fraud/invocations?model=other",
    "//v2//models/./fraud/infer",
    "/v2/models/other/../fraud/infer",
    "/v2/models/%66raud/infer",
)


@pytest.fixture
def two(served: Proxy) -> Proxy:
    """The models `fraud` and `other`; nobody has asked for keys yet."""
    served.releases.start(OTHER)
    served.router.apply(routing(served.arm(OTHER, 10_000), model="other"))
    return served


@pytest.fixture
def keyed(two: Proxy) -> Proxy:
    two.router.admit("payments", "k-fraud", ["fraud"])
    two.router.admit("shop", "k-other", ["other"])
    two.router.admit("batch", "k-all")
    return two


def call(proxy: Proxy, model: str, **metadata: str) -> Any:
    """The answer to a ModelInfer; its id holds the headers that the release got."""
    with grpc.insecure_channel(f"127.0.0.1:{proxy.port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        sent = [(name.replace("_", "-"), value) for name, value in metadata.items()]
        return stub.ModelInfer(service_pb2.ModelInferRequest(model_name=model), metadata=sent, timeout=10)


def failure(proxy: Proxy, model: str, **metadata: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call(proxy, model, **metadata)
    return raised.value.code(), raised.value.details()


def test_without_any_key_everybody_is_let_in_and_nothing_is_said_of_callers(two: Proxy) -> None:
    answer = two.ask(x_serinus_caller="payments", x_api_key="left over")
    assert answer.status_code == 200
    assert not {"x-serinus-caller", "x-api-key"} & answer.json()["headers"].keys()


def test_from_the_first_key_on_callers_without_one_are_refused(two: Proxy) -> None:
    two.router.admit("payments", "k1")
    for headers in ({}, {"x_api_key": "wrong"}, {"x_api_key": ""}, {"x_serinus_caller": "payments"}):
        answer = two.ask(**headers)
        assert answer.status_code == 401, headers
        assert "x-api-key" in answer.json()["error"]
    assert two.ask(x_api_key="k1").status_code == 200
    assert two.client.get("/v2/health/live").status_code == 200
    code, said = failure(two, "fraud")
    assert (code, "x-api-key" in said) == (grpc.StatusCode.UNAUTHENTICATED, True)


def test_a_release_learns_the_callers_name_and_never_its_key(keyed: Proxy) -> None:
    for key, caller in (("k-fraud", "payments"), ("k-all", "batch")):
        got = keyed.ask(x_api_key=key, x_serinus_caller="somebody else").json()
        assert got["headers"]["x-serinus-caller"] == caller
        assert key not in json.dumps(got)
        told = json.loads(call(keyed, "fraud", x_api_key=key, x_serinus_caller="somebody else").id)
        assert told["x-serinus-caller"] == caller
        assert key not in json.dumps(told)


def test_a_key_opens_its_models_alone_however_the_path_is_written(keyed: Proxy) -> None:
    for path in FRAUD_PATHS:
        opened, shut, every = (
            keyed.client.post(path, json={}, headers={"x-api-key": key}).status_code
            for key in ("k-fraud", "k-other", "k-all")
        )
        assert (shut, opened) in ((403, 200), (404, 404)), path
        assert every == opened, path
    refused = keyed.ask(x_api_key="k-other")
    assert refused.json() == {"error": "this key may not ask this model"}
    assert refused.headers["x-request-id"]
    assert keyed.ask("other", x_api_key="k-fraud").status_code == 403


def test_a_key_opens_its_models_alone_over_grpc_as_well(keyed: Proxy) -> None:
    assert call(keyed, "fraud", x_api_key="k-fraud").model_version == CHAMPION
    assert call(keyed, "other", x_api_key="k-other").model_version == OTHER
    for model, key in (("other", "k-fraud"), ("fraud", "k-other")):
        assert failure(keyed, model, x_api_key=key) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "this key may not ask this model",
        )
    mended = failure(keyed, "other", x_api_key="k-fraud", x_request_id="not an id")
    assert mended[0] is grpc.StatusCode.PERMISSION_DENIED


def test_a_request_whose_headers_are_mended_is_held_to_its_key_too(keyed: Proxy) -> None:
    for headers in ({"x_request_id": "not an id"}, {"x_entity_id": ""}):
        assert keyed.ask("other", x_api_key="k-fraud", **headers).status_code == 403
        assert keyed.ask("fraud", x_api_key="k-fraud", **headers).status_code == 200
        assert keyed.ask("fraud", **headers).status_code == 401


@pytest.mark.parametrize("keys", [("k-fraud", "k-other"), ("wrong", "k-fraud"), ("k-fraud", "")])
def test_of_two_keys_in_one_request_none_adds_to_the_other(keyed: Proxy, keys: tuple[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", keyed.port, timeout=10)
    connection.putrequest("POST", "/v2/models/other/infer")
    for key in keys:
        connection.putheader("x-api-key", key)
    connection.putheader("content-length", "2")
    connection.endheaders(b"{}")
    assert connection.getresponse().status in (401, 403)
    connection.close()


def test_a_key_that_is_taken_back_is_refused_at_the_next_request_of_an_open_connection(keyed: Proxy) -> None:
    with httpx.Client(base_url=keyed.url, headers={"x-api-key": "k-fraud"}) as client:
        assert client.post("/v2/models/fraud/infer", json={}).status_code == 200
        keyed.router.dismiss("payments")
        assert client.post("/v2/models/fraud/infer", json={}).status_code == 401
    assert keyed.ask(x_api_key="k-all").status_code == 200


def test_with_the_last_key_taken_back_nobody_is_let_in_also_after_a_restart(two: Proxy) -> None:
    two.router.admit("payments", "k1", ["fraud"])
    two.router.dismiss("payments")
    for key in ("", "k1"):
        assert two.ask(x_api_key=key).status_code == 401
    two.kill()
    prepare(two.home, port=two.port)
    two.start()
    assert two.ask().status_code == 401
    two.router.admit("payments", "k2")
    assert two.ask(x_api_key="k2").status_code == 200


def test_taking_back_a_key_that_is_none_needs_no_envoy(two: Proxy) -> None:
    two.kill()
    two.router.dismiss("a token of the control plane")
    two.start()
    assert two.ask().status_code == 200, "no key was made, so none is needed"


def test_where_keys_are_never_asked_for_one_that_was_made_changes_nothing(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "home", api_keys="none").start()
    try:
        proxy.releases.start(CHAMPION)
        proxy.router.apply(routing(proxy.arm(CHAMPION, 10_000)))
        proxy.router.admit("payments", "k1", ["other"])
        assert proxy.ask().status_code == 200
    finally:
        proxy.close()


def test_where_keys_are_required_an_unknown_model_is_told_to_nobody_without_one(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "home", api_keys="required").start()
    try:
        assert proxy.ask("fraud").status_code == 401
        assert proxy.ask("fraud", x_api_key="k1").status_code == 401
    finally:
        proxy.close()


def test_what_the_routes_file_says_of_keys_is_read_back(keyed: Proxy) -> None:
    routes = xds.read_routes(names.routes_file(keyed.home))
    assert {name: key.models for name, key in routes.callers.items()} == {
        "payments": ("fraud",),
        "shop": ("other",),
        "batch": None,
    }
    assert xds.parse_routes(xds.render_routes(routes, lambda release: "of the router")) == routes
    assert names.routes_file(keyed.home).stat().st_mode & 0o777 == 0o600
    assert "k-fraud" not in (keyed.home.logs / "envoy.log").read_text()
