"""What Envoy does to a request on its way to a release, and what it answers itself."""

from __future__ import annotations

import json
import socket
import time

import httpx
import pytest
from envoy_harness import Proxy, routing
from waiting import free_port, wait_until

from serinus.core.keys import router_key
from serinus.core.routing import Role

CHAMPION = "fraud-1-aaaaaa"
CANARY = "fraud-2-bbbbbb"


def test_a_release_is_told_split_role_start_and_time_limit(shared: Proxy) -> None:
    before = time.time()
    headers = shared.ask().json()["headers"]
    assert headers["x-serinus-split"] == "s1"
    assert headers["x-serinus-role"] == "champion"
    assert before - 0.01 <= float(headers["x-serinus-start"]) <= time.time()
    assert headers["x-envoy-expected-rq-timeout-ms"] == "10000"
    assert headers["x-serinus-router"] == router_key(shared.home.secret.read_text(), CHAMPION)


@pytest.mark.parametrize("weights", [(0, 10_000), (1, 9_999)], ids=["alone", "beside the champion"])
def test_each_release_is_shown_its_own_key_and_callers_are_shown_none(served: Proxy, weights: tuple[int, int]) -> None:
    served.releases.start(CANARY)
    arms = served.arm(CHAMPION, weights[0]), served.arm(CANARY, weights[1], Role.CANARY)
    served.router.apply(routing(*arms, split="s2"))
    answer = served.ask(x_serinus_router=router_key(served.home.secret.read_text(), CHAMPION))
    shown = answer.json()["headers"]["x-serinus-router"]
    assert shown == router_key(served.home.secret.read_text(), answer.json()["release"])
    assert "x-serinus-router" not in answer.headers


def test_the_canary_is_told_that_it_is_one(served: Proxy) -> None:
    served.releases.start(CANARY)
    served.router.apply(routing(served.arm(CHAMPION, 0), served.arm(CANARY, 10_000, Role.CANARY), split="s2"))
    headers = served.ask().json()["headers"]
    assert (headers["x-serinus-role"], headers["x-serinus-split"]) == ("canary", "s2")


def test_a_caller_cannot_steer_serinus_or_envoy(shared: Proxy) -> None:
    sent = {
        "x_serinus_split": "mine",
        "x_serinus_role": "mine",
        "x_serinus_start": "0",
        "x_serinus_router": "mine",
        "x_serinus_release": "mine",
        "x_serinus_fallback": "true",
        "x_envoy_upstream_rq_timeout_ms": "60000",
        "x_envoy_max_retries": "9",
        "x_api_key": "a secret that is none of the model's business",
    }
    headers = shared.ask(**sent).json()["headers"]
    assert not {"mine", "60000", "9"} & set(headers.values())
    assert not {"x-serinus-release", "x-serinus-fallback", "x-api-key"} & headers.keys()
    assert headers["x-envoy-expected-rq-timeout-ms"] == "10000"


@pytest.mark.parametrize("sent", ["7", "a.b_c:d-e", "x" * 128])
def test_a_well_formed_request_id_is_kept(shared: Proxy, sent: str) -> None:
    answer = shared.ask(x_request_id=sent)
    assert answer.json()["headers"]["x-request-id"] == sent
    assert answer.headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "two words", 'quote"', "x" * 129, "a,b", "%REQ(host)%"])
def test_a_malformed_request_id_is_replaced(shared: Proxy, sent: str) -> None:
    answer = shared.ask(x_request_id=sent)
    given = answer.json()["headers"]["x-request-id"]
    assert given != sent
    assert len(given) == 36
    assert answer.headers["x-request-id"] == given


def test_a_missing_request_id_is_made(shared: Proxy) -> None:
    first, second = (shared.ask().headers["x-request-id"] for _ in range(2))
    assert first != second


def test_an_empty_entity_is_none_and_is_split_at_random(served: Proxy) -> None:
    served.releases.start(CANARY)
    served.router.apply(routing(served.arm(CHAMPION, 5_000), served.arm(CANARY, 5_000, Role.CANARY), split="s2"))
    answers = [served.ask(x_entity_id="", x_request_id=sent) for sent in ("good", "bad id") for _ in range(20)]
    assert {answer.json()["release"] for answer in answers} == {CHAMPION, CANARY}
    assert all("x-entity-id" not in answer.json()["headers"] for answer in answers)
    assert [answer.headers["x-request-id"] == "good" for answer in answers] == [True] * 20 + [False] * 20


def test_a_large_body_passes_though_its_request_id_was_malformed(shared: Proxy) -> None:
    answer = shared.client.post(
        "/models/fraud/invocations", content=b"x" * (2 << 20), headers={"x-request-id": "two words"}
    )
    assert answer.status_code == 200
    assert len(answer.json()["body"]) == 2 << 20


def test_a_malformed_request_id_never_comes_back_even_from_no_model(shared: Proxy) -> None:
    for path in ("/v2/models/unknown/infer", "/", "/v2/health/live"):
        answer = shared.client.get(path, headers={"x-request-id": "two words"})
        assert answer.headers["x-request-id"] != "two words"


def test_of_two_models_the_longer_name_is_not_taken_for_the_shorter(served: Proxy) -> None:
    served.releases.start("fraud-eu-1-cccccc")
    served.router.apply(routing(served.arm("fraud-eu-1-cccccc", 10_000), model="fraud-eu"))
    assert served.ask("fraud").json()["release"] == CHAMPION
    assert served.ask("fraud-eu").json()["release"] == "fraud-eu-1-cccccc"
    assert [served.ask(model).status_code for model in ("fraud-", "fraud-e", "fraud-eu1", "frau")] == [404] * 4
    assert served.client.get("/v2/models/fraud?x=/v2/models/fraud-eu").json()["release"] == CHAMPION


def test_an_entity_passes_untouched(shared: Proxy) -> None:
    entity = r'card "7" \1 %20 %REQ(host)% ü'
    answer = shared.client.post("/v2/models/fraud/infer", headers={b"x-entity-id": entity.encode("latin-1")}, json={})
    assert answer.json()["headers"]["x-entity-id"] == entity


@pytest.mark.parametrize("path", ["/v2/models/fraud", "/v2/models/fraud/infer?x=1", "/models/fraud/invocations"])
def test_both_protocols_reach_the_release_with_their_own_paths(shared: Proxy, path: str) -> None:
    assert shared.client.post(path, json={}).json()["path"] == path


@pytest.mark.parametrize("path", ["/v2/models/fraudulent/infer", "/v2/models", "/", "/models/other/invocations"])
def test_an_unknown_model_is_a_404_in_json(shared: Proxy, path: str) -> None:
    answer = shared.client.post(path, json={})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"error": "no such model is served"}


def test_an_escaped_slash_is_refused(shared: Proxy) -> None:
    assert shared.client.get("/v2%2Fmodels/fraud").status_code == 400


def test_health_and_server_metadata_need_no_release(proxy: Proxy) -> None:
    assert proxy.client.get("/v2/health/live").json() == {"live": True}
    assert proxy.client.get("/v2/health/ready").json() == {"ready": True}
    assert proxy.client.get("/v2").json()["name"] == "serinus"


@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/health/ready"])
def test_what_the_server_says_of_itself_is_read_with_get_with_a_slash_or_without(shared: Proxy, path: str) -> None:
    plain = shared.client.get(path)
    for same in (f"{path}/", f"{path}?x=1", f"{path}/?x=1", f"{path}//"):
        assert shared.client.get(same).content == plain.content
        assert shared.client.head(same).status_code == 200
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            refused = shared.client.request(method, same, content=b"{}")
            assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
            assert refused.json() == {"error": "use GET for this path"}
            assert refused.headers["x-request-id"]
    assert shared.client.get(f"{path}/more").status_code == 404


def exchanged(proxy: Proxy, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """What comes back for these bytes on a connection of their own: status, headers and body."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as raw:
        raw.sendall(request)
        with raw.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            headers = dict(line.decode().strip().lower().split(": ", 1) for line in iter(answer.readline, b"\r\n"))
            return status, headers, answer.read(int(headers["content-length"]))


@pytest.mark.parametrize("more", [b"", b"host: x\r\n", b"connection: keep-alive\r\n"])
def test_http_1_0_is_answered(shared: Proxy, more: bytes) -> None:
    status, headers, body = exchanged(shared, b"GET /v2/health/live HTTP/1.0\r\n" + more + b"\r\n")
    assert (status, json.loads(body), headers["content-type"]) == (200, {"live": True}, "application/json")
    asked = b"POST /v2/models/fraud/infer HTTP/1.0\r\ncontent-length: 2\r\n" + more + b"\r\n{}"
    status, headers, body = exchanged(shared, asked)
    assert (status, json.loads(body)["release"]) == (200, CHAMPION)
    assert headers["connection"] == ("keep-alive" if b"keep-alive" in more else "close")


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "no host": (b"GET /v2 HTTP/1.1\r\n\r\n", 400, "not well-formed HTTP (missing_host_header)"),
    "no request": (b"nonsense\r\n\r\n", 400, "not well-formed HTTP ("),
    "a length below zero": (
        b"POST /v2 HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        400,
        "not well-formed HTTP (",
    ),
    "an underscore": (b"GET /v2 HTTP/1.1\r\nhost: x\r\na_b: secret\r\n\r\n", 400, "(http1.unexpected_underscore)"),
    "an escaped slash": (b"GET /v2%2Fmodels HTTP/1.1\r\nhost: x\r\n\r\n", 400, "(path_normalization_failed)"),
    "a coding": (b"POST /v2 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", 501, "is chunked"),
    "a long header": (b"GET /v2 HTTP/1.1\r\nhost: x\r\na: %b\r\n\r\n" % (b"secret" * 9_000), 431, "32 KiB"),
    "many headers": (b"GET /v2 HTTP/1.1\r\nhost: x\r\n%b\r\n" % (b"a: b\r\n" * 120), 431, "100 headers"),
    "an upgrade": (
        b"GET /v2 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        403,
        "connections cannot be upgraded",
    ),
    "no path": (b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", 404, "there is no such path"),
    "no model": (b"GET /v2/models/secret HTTP/1.1\r\nhost: x\r\n\r\n", 404, "no such model is served"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_envoy_refuses_itself_has_a_text_and_a_request_id_and_nothing_of_what_was_sent(
    shared: Proxy, kind: str
) -> None:
    request, status, text = REFUSED[kind]
    found, headers, body = exchanged(shared, request)
    assert (found, headers["content-type"]) == (status, "application/json")
    assert len(headers["x-request-id"]) == 36
    said = json.loads(body)
    assert list(said) == ["error"]
    assert text in said["error"]
    assert b"secret" not in body


def test_errors_of_envoy_keep_the_callers_request_id(served: Proxy) -> None:
    served.router.apply(routing(served.arm(CHAMPION, 10_000), timeout_ms=150, split="s2"))
    refused = {
        404: served.client.get("/none", headers={"x-request-id": "r-1"}),
        405: served.client.post("/v2", headers={"x-request-id": "r-1"}),
        503: served.ask(x_do="die", x_request_id="r-1"),
        504: served.ask(x_do="hang", x_request_id="r-1"),
    }
    assert {status: answer.status_code for status, answer in refused.items()} == {status: status for status in refused}
    assert {answer.headers["x-request-id"] for answer in refused.values()} == {"r-1"}
    assert all(answer.json()["error"] for answer in refused.values())


def test_a_release_may_refuse_a_body_while_it_is_still_arriving(shared: Proxy) -> None:
    headers = {"x-do": "refuse"}
    answer = shared.client.post("/v2/models/fraud/infer", content=b"x" * (4 << 20), headers=headers)
    assert answer.status_code == 413


def test_length_and_chunks_together_are_refused(shared: Proxy) -> None:
    before = dict(shared.releases.served)
    with socket.create_connection(("127.0.0.1", shared.port), timeout=5) as raw:
        raw.sendall(
            b"POST /v2/models/fraud/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n"
            b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 400")
    assert shared.releases.served == before


# --- answers in a release's place -------------------------------------------------------------------------


def test_a_release_that_hangs_is_a_504_after_the_time_limit_and_is_logged(served: Proxy) -> None:
    served.router.apply(routing(served.arm(CHAMPION, 10_000), timeout_ms=150, split="s2"))
    before = time.time()
    answer = served.ask(x_do="hang", x_request_id="r-1", x_entity_id='card "7"')
    assert time.time() - before > 0.14
    assert answer.status_code == 504
    assert answer.json() == {"error": "the model did not answer within its time limit"}
    [line] = wait_until(served.local_answers, 2)
    assert before - 0.01 <= line.pop("t") <= time.time()
    assert 140 < line.pop("ms") <= 1_000 * (time.time() - before)
    assert line.pop("prediction") == answer.headers["x-serinus-prediction-id"]
    assert line == {
        "id": "r-1",
        "caller": None,
        "entity": 'card "7"',
        "model": "fraud",
        "release": CHAMPION,
        "role": "champion",
        "split": "s2",
        "status": 504,
        "flags": "UT",
    }


def test_what_a_release_died_over_is_asked_once_more_where_it_answers_alone(served: Proxy) -> None:
    assert served.ask(x_do="die-once").json()["release"] == CHAMPION
    assert served.releases.served[CHAMPION] == 2


def test_a_release_that_dies_again_is_a_503_and_is_not_asked_a_third_time(served: Proxy) -> None:
    answer = served.ask(x_do="die")
    assert answer.status_code == 503
    assert answer.json() == {"error": "the model is not answering"}
    assert served.releases.served[CHAMPION] == 2


@pytest.mark.parametrize("fallback", [None, 0.25])
def test_a_release_that_dies_over_a_body_too_large_to_be_kept_for_another_try_has_not_answered(
    served: Proxy, fallback: float | None
) -> None:
    """Envoy's own status for that, where more of the body comes while it waits for the next try, is 507."""
    served.router.apply(routing(served.arm(CHAMPION, 10_000), fallback_score=fallback, split="s2"))
    for number in range(20):
        asked = {"content": b"x" * (3 << 20), "headers": {"x-do": "cut", "x-request-id": f"r-{number}"}}
        answer = served.client.post("/v2/models/fraud/infer", **asked)
        assert answer.headers["x-request-id"] == f"r-{number}"
        if answer.status_code == 200:  # it was not being tried again
            assert (fallback, answer.headers["x-serinus-fallback"]) == (0.25, "true")
        else:
            assert (answer.status_code, answer.json()) == (503, {"error": "the model is not answering"})
    wait_until(lambda: len(served.local_answers()) == 20, 2)


def test_where_releases_are_compared_each_sees_a_request_once(served: Proxy) -> None:
    served.releases.start(CANARY)
    for weight in (9_999, 1):
        arms = (served.arm(CHAMPION, weight), served.arm(CANARY, 10_000 - weight, Role.CANARY))
        served.router.apply(routing(*arms, split=f"s{weight}"))
        assert served.ask(x_do="die", x_entity_id="card-1").status_code == 503
    assert served.releases.served == {CHAMPION: 1, CANARY: 1}


def test_a_release_that_is_not_there_is_a_503_and_is_logged_without_an_entity(served: Proxy) -> None:
    served.releases.stop(CHAMPION)
    wait_until(lambda: served.ask().status_code == 503)
    lines = wait_until(served.local_answers, 2)
    assert {(line["status"], line["entity"], line["release"]) for line in lines} == {(503, None, CHAMPION)}


def test_answers_of_a_release_and_of_an_unknown_model_are_not_logged_as_local(served: Proxy) -> None:
    served.ask()
    served.ask("unknown")
    served.ask(x_do="refuse")
    served.ask(x_do="die", x_request_id="last")
    assert [line["id"] for line in wait_until(served.local_answers, 2)] == ["last"]


def test_where_a_fallback_is_declared_it_answers_and_says_so(served: Proxy) -> None:
    served.router.apply(routing(served.arm(CHAMPION, 10_000), fallback_score=0.25))
    infer = served.ask(x_do="die", x_request_id="r-1")
    assert infer.status_code == 200
    assert infer.headers["x-serinus-fallback"] == "true"
    assert infer.headers["x-request-id"] == "r-1"
    assert infer.json()["model_name"] == "fraud"
    assert infer.json()["outputs"] == [{"name": "output-0", "shape": [1], "datatype": "FP64", "data": [0.25]}]
    invoked = served.client.post("/models/fraud/invocations?x=/infer", headers={"x-do": "die"}, json={})
    assert invoked.status_code == 200
    assert invoked.json() == {"predictions": [0.25], "fallback": True, "fallback_reason": "no-answer"}
    for path in ("/v2/models/fraud/infer/", "/models/fraud/invocations/?x=1"):
        again = served.client.post(path, headers={"x-do": "die"}, json={})
        assert (again.status_code, again.headers.get("x-serinus-fallback")) == (200, "true")
    lines = wait_until(lambda: len(served.local_answers()) == 4 and served.local_answers(), 2)
    assert {line["status"] for line in lines} == {200}


def test_a_fallback_is_no_answer_to_anything_but_a_prediction(served: Proxy) -> None:
    served.router.apply(routing(served.arm(CHAMPION, 10_000), fallback_score=0.25))
    answer = served.client.get("/v2/models/fraud/ready", headers={"x-do": "die"})
    assert answer.status_code == 503
    assert "x-serinus-fallback" not in answer.headers


def test_a_fallback_of_one_model_is_not_one_of_another(served: Proxy) -> None:
    served.router.apply(routing(served.arm(CHAMPION, 10_000), fallback_score=0.25))
    served.releases.start("other-1-cccccc")
    served.router.apply(routing(served.arm("other-1-cccccc", 10_000), model="other"))
    assert served.ask("other", x_do="die").status_code == 503
    assert served.ask("fraud", x_do="die").status_code == 200


# --- API keys ---------------------------------------------------------------------------------------------


def test_where_keys_are_required_only_their_holders_are_served(tmp_path_factory: pytest.TempPathFactory) -> None:
    proxy = Proxy(tmp_path_factory.mktemp("keys"), api_keys="required").start()
    try:
        proxy.releases.start(CHAMPION)
        proxy.router.apply(routing(proxy.arm(CHAMPION, 10_000)))
        assert proxy.ask(x_api_key="k1").status_code == 401
        proxy.router.admit("payments", "k1")
        proxy.router.admit("batch", "k2")
        answer = proxy.ask(x_api_key="k1")
        assert answer.status_code == 200
        assert "k1" not in json.dumps(answer.json())
        assert proxy.ask(x_api_key="wrong").status_code == 401
        assert "error" in proxy.ask().json()
        assert proxy.client.get("/v2/health/live").status_code == 200
        # They survive other changes, and can be taken back.
        proxy.router.apply(routing(proxy.arm(CHAMPION, 10_000), split="s2"))
        assert proxy.ask(x_api_key="k2").status_code == 200
        proxy.router.dismiss("batch")
        assert proxy.ask(x_api_key="k2").status_code == 401
        assert (proxy.home.envoy / "xds" / "routes.json").stat().st_mode & 0o777 == 0o600
    finally:
        proxy.close()


def test_the_admin_interface_can_listen_on_loopback(tmp_path_factory: pytest.TempPathFactory) -> None:
    port = free_port()
    proxy = Proxy(tmp_path_factory.mktemp("tcp"), admin_port=port).start()
    try:
        assert httpx.get(f"http://127.0.0.1:{port}/ready").text == "LIVE\n"
    finally:
        proxy.close()
