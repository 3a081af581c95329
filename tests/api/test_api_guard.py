"""What every request meets first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from small_fleet import Installation
from starlette.testclient import TestClient

from serinus.api.guard import MAX_BODY_BYTES


@pytest.mark.parametrize("host", ["evil.test", "serinus.test.evil.test", "evil.test:81", "127.0.0.1", "", ":81"])
def test_another_host_is_refused_before_anything_else(host: str, client: TestClient) -> None:
    for path in ("/v1/status", "/", "/healthz", "/page/style.css"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 421
        assert set(answer.json()) == {"error", "hint"}


def test_a_host_is_accepted_on_any_port_as_it_is_called_behind_a_proxy(client: TestClient) -> None:
    for host in ("serinus.test", "serinus.test:81", "serinus.test:31234"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200
    for host in ("serinus.test:", "serinus.test:x", "serinus.test:81:81", "serinus.test:123456"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 421


def test_the_host_is_read_without_regard_to_case(client: TestClient) -> None:
    assert client.get("/healthz", headers={"Host": "Serinus.TEST"}).status_code == 200


def test_another_origin_changes_nothing_even_with_a_token(installation: Installation, client: TestClient) -> None:
    answer = client.post("/v1/tokens", json={"name": "new"}, headers={"Origin": "https://evil.test"})
    assert answer.status_code == 403
    assert [t["name"] for t in installation.store.tokens()] == ["admin"]


def test_every_answer_carries_the_headers_that_browsers_obey(client: TestClient) -> None:
    for path in ("/", "/login", "/page/style.css", "/v1/status", "/nothing", "/healthz"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    assert client.get("/v1/status").headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in client.get("/v1/status", headers={"Origin": "https://a.test"}).headers


def test_a_body_over_the_limit_is_refused_with_or_without_its_length(client: TestClient) -> None:
    large = b" " * (MAX_BODY_BYTES + 1)

    def parts() -> Iterator[bytes]:
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    assert client.post("/v1/outcomes", content=large).status_code == 413
    answer = client.post("/v1/outcomes", content=parts(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "limit" in answer.json()["error"]


def test_an_error_of_ours_is_json_and_tells_nothing_of_the_inside(
    installation: Installation, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ValueError("card 4111111111111111")

    monkeypatch.setattr(installation.report, "_processes", broken)
    answer = client.get("/v1/status")
    assert answer.status_code == 500
    assert "4111" not in answer.text
    assert "logs/control.log" in answer.json()["hint"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_was_sent_is_never_echoed_in_an_error(client: TestClient) -> None:
    answer = client.post("/v1/outcomes", json=[{"request_id": "a", "label": "4111111111111111x"}])
    assert answer.status_code == 422
    assert "4111" not in answer.text
    assert "body.0.label" in answer.json()["error"]
