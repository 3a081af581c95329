"""Who gets in, and what each role may do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from answers import document
from scenes import busy, rollout
from small_fleet import Installation
from starlette.testclient import TestClient

from serinus.api.sessions import LASTS, LINK_LASTS, LINKS
from serinus.core.people import Access
from serinus.core.rollout import Phase

ORIGIN = {"Origin": "http://serinus.test"}
ROUTES = (
    ("GET", "/v1/status", Access.VIEW),
    ("GET", "/v1/silent-models", Access.VIEW),
    ("GET", "/v1/openapi.json", Access.VIEW),
    ("GET", "/v1/models/card-fraud", Access.VIEW),
    ("GET", "/v1/models/card-fraud/policy", Access.VIEW),
    ("GET", "/v1/models/card-fraud/spec", Access.VIEW),
    ("POST", "/v1/diff", Access.VIEW),
    ("GET", "/v1/rollouts", Access.VIEW),
    ("GET", "/v1/rollouts/card-fraud-r3", Access.VIEW),
    ("GET", "/v1/releases", Access.VIEW),
    ("GET", "/v1/releases/card-fraud-r1/explain", Access.VIEW),
    ("GET", "/v1/events", Access.VIEW),
    ("GET", "/v1/audit", Access.VIEW),
    ("GET", "/v1/audit/verify", Access.VIEW),
    ("GET", "/v1/me", Access.VIEW),
    ("GET", "/metrics", Access.VIEW),
    ("POST", "/v1/session/links", Access.VIEW),
    ("GET", "/v1/logs?process=control", Access.DEPLOY),
    ("POST", "/v1/deployments", Access.DEPLOY),
    ("POST", "/v1/models/card-fraud/rollback", Access.DEPLOY),
    ("POST", "/v1/models/card-fraud/retire", Access.ADMIN),
    ("PUT", "/v1/models/card-fraud/policy", Access.DEPLOY),
    ("POST", "/v1/outcomes", Access.DEPLOY),
    ("PUT", f"/v1/outcomes/imports/{'a' * 32}/parts/0", Access.DEPLOY),
    ("POST", f"/v1/outcomes/imports/{'a' * 32}", Access.DEPLOY),
    ("DELETE", f"/v1/outcomes/imports/{'a' * 32}", Access.DEPLOY),
    ("POST", "/v1/rollouts/card-fraud-r3/orders?promote", Access.DEPLOY),
    ("POST", "/v1/rollouts/card-fraud-r3/orders?abort", Access.DEPLOY),
    ("POST", "/v1/rollouts/card-fraud-r3/orders?approve", Access.APPROVE),
    ("GET", "/v1/disk", Access.VIEW),
    ("POST", "/v1/disk/prune", Access.ADMIN),
    ("GET", "/v1/tokens", Access.ADMIN),
    ("POST", "/v1/tokens", Access.ADMIN),
    ("DELETE", "/v1/tokens/anna", Access.ADMIN),
    ("GET", "/v1/keys", Access.ADMIN),
    ("POST", "/v1/keys", Access.ADMIN),
    ("DELETE", "/v1/keys/anna", Access.ADMIN),
)
BODIES: dict[str, Any] = {
    "/v1/deployments": {"ref": "card-fraud@7"},
    "/v1/models/card-fraud/rollback": {},
    "/v1/models/card-fraud/retire": {"why": "replaced"},
    "/v1/disk/prune": {"items": []},
    "/v1/diff": {"spec": "model: card-fraud"},
    "/v1/outcomes": [],
    "/v1/tokens": {"name": "new"},
    "/v1/keys": {"name": "new"},
}


def call(client: TestClient, method: str, path: str) -> int:
    kind = path.partition("?")[2]
    body = {"kind": kind} if "/orders" in path else BODIES.get(path)
    body = {"approval": "required"} if path.endswith("/policy") and method == "PUT" else body
    body = {"label": [1], "request_id": ["a"]} if "/parts/" in path else body
    body = {} if "/imports/" in path and method == "POST" else body
    return client.request(method, path, json=body).status_code


@pytest.mark.parametrize(("method", "path", "access"), ROUTES)
def test_a_route_is_open_to_its_role_and_above_and_to_nobody_below(
    method: str,
    path: str,
    access: Access,
    installation: Installation,
    anonymous: TestClient,
    as_role: Callable[[Access], TestClient],
) -> None:
    busy(installation)
    ladder = list(Access)
    assert call(anonymous, method, path) == 401
    for role in ladder[: ladder.index(access)]:
        assert call(as_role(role), method, path) == 403
    assert call(as_role(access), method, path) not in (401, 403)


def test_every_route_under_v1_is_in_the_table_of_roles() -> None:
    documented = document()["paths"]
    known = {path.partition("?")[0].replace("card-fraud-r3", "{}") for _, path, _ in ROUTES}
    open_to_all = {"/v1/session", "/v1/home/token", "/healthz"}
    known = {p.replace("/releases/card-fraud-r1/", "/releases/{}/").replace("/anna", "/{}") for p in known}
    known = {p.replace("models/card-fraud", "models/{}") for p in known} | {"/v1/events/stream", "/v1/spec/{}"}
    known = {p.replace("/imports/" + "a" * 32, "/imports/{}").replace("/parts/0", "/parts/{}") for p in known}
    names = ("rollout_id", "model", "wanted", "name", "import_id", "number")
    for name in names:
        documented = {path.replace("{" + name + "}", "{}"): value for path, value in documented.items()}
    assert set(documented) == known - {"/v1/openapi.json"} | open_to_all


def test_a_revoked_token_is_worth_nothing(installation: Installation, client: TestClient) -> None:
    assert client.get("/v1/me").json() == {"name": "admin", "owner": "admin", "access": "admin"}
    installation.store.revoke_token("admin", installation.clock.now())
    answer = client.get("/v1/me")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "serinus login" in answer.json()["hint"]


def test_a_key_of_the_data_plane_opens_nothing_here(installation: Installation, anonymous: TestClient) -> None:
    key = installation.store.issue_token("shop", Access.ADMIN, installation.clock.now(), plane="data")
    assert anonymous.get("/v1/status", headers={"Authorization": f"Bearer {key}"}).status_code == 401


def test_who_approves_is_not_who_asked_whatever_the_role(
    installation: Installation, as_role: Callable[[Access], TestClient]
) -> None:
    asked = as_role(Access.ADMIN)
    other = as_role(Access.APPROVE)
    waiting = rollout(1, Phase.APPROVAL, actor=installation.store.whose_token(asked.headers["authorization"][7:]))
    installation.store.create(waiting)
    refused = asked.post("/v1/rollouts/card-fraud-r1/orders", json={"kind": "approve"})
    assert refused.status_code == 409
    assert "another person" in refused.json()["error"]
    assert other.post("/v1/rollouts/card-fraud-r1/orders", json={"kind": "approve"}).status_code == 202
    (order,) = installation.store.orders("card-fraud-r1")
    assert (order.kind, order.actor.name, order.actor.origin) == ("approve", "approve", "testclient")


# --- the page's session -----------------------------------------------------------------------------------


def test_the_page_exchanges_a_token_for_a_cookie_that_scripts_and_other_sites_cannot_use(
    installation: Installation, anonymous: TestClient
) -> None:
    answer = anonymous.post("/v1/session", json={"token": installation.token("anna", Access.VIEW)}, headers=ORIGIN)
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 200
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert anonymous.get("/v1/me").json() == {"name": "anna", "owner": "anna", "access": "view"}


def test_a_link_signs_in_as_who_made_it_once(installation: Installation, anonymous: TestClient) -> None:
    headers = {"Authorization": f"Bearer {installation.token('deploy', Access.DEPLOY)}"}
    code = anonymous.post("/v1/session/links", headers=headers).json()["code"]
    assert anonymous.post("/v1/session", json={"code": code}, headers=ORIGIN).status_code == 200
    assert anonymous.get("/v1/me").json() == {"name": "deploy", "owner": "deploy", "access": "deploy"}
    anonymous.cookies.clear()
    again = anonymous.post("/v1/session", json={"code": code}, headers=ORIGIN)
    assert again.status_code == 401
    assert "already been used" in again.json()["error"]
    assert anonymous.get("/v1/me").status_code == 401
    assert code not in str(installation.store.audit_trail())
    assert [e.what for e in installation.store.audit_trail()] == ["make-login-link"]


def test_a_link_ends_with_its_time_and_with_its_token(installation: Installation, anonymous: TestClient) -> None:
    headers = {"Authorization": f"Bearer {installation.token('view', Access.VIEW)}"}

    def opens(code: str) -> bool:
        return anonymous.post("/v1/session", json={"code": code}).status_code == 200

    late, in_time, revoked, other = (
        anonymous.post("/v1/session/links", headers=headers).json()["code"] for _ in range(4)
    )
    installation.clock.time += LINK_LASTS - timedelta(seconds=1)
    assert opens(in_time)
    installation.clock.time += timedelta(seconds=1)
    assert not opens(late)
    installation.clock.time -= timedelta(minutes=30)
    installation.store.revoke_token("view", installation.clock.now())
    assert not opens(revoked)
    installation.clock.time += timedelta(minutes=1)
    installation.token("view", Access.ADMIN)
    assert not opens(other), "the same name again is another token"
    assert not opens("")
    assert not opens("wrong")


def test_links_that_nobody_follows_do_not_pile_up(installation: Installation, client: TestClient) -> None:
    codes = [client.post("/v1/session/links").json()["code"] for _ in range(LINKS + 1)]
    first, *others = codes
    assert client.post("/v1/session", json={"code": first}).status_code == 401
    assert client.post("/v1/session", json={"code": others[0]}).status_code == 200


def test_the_homes_secret_opens_nothing_over_a_port(installation: Installation, anonymous: TestClient) -> None:
    secret = installation.home.secret.read_text()
    for path in ("/v1/home/token", "/v1/session/links"):
        assert anonymous.post(path, headers={"Authorization": f"Home {secret}"}).status_code == 401
    assert not installation.home.token.exists()


def test_a_wrong_token_opens_no_session(anonymous: TestClient) -> None:
    answer = anonymous.post("/v1/session", json={"token": "srn_wrong"}, headers=ORIGIN)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_a_session_ends_with_its_token_with_its_time_and_by_signing_out(
    installation: Installation, anonymous: TestClient
) -> None:
    token = installation.token("anna", Access.VIEW)
    assert anonymous.post("/v1/session", json={"token": token}).status_code == 200
    installation.clock.time += LASTS - timedelta(seconds=1)
    assert anonymous.get("/v1/me").status_code == 200
    installation.clock.time += timedelta(seconds=1)
    assert anonymous.get("/v1/me").status_code == 401
    anonymous.post("/v1/session", json={"token": token})
    installation.store.revoke_token("anna", installation.clock.now())
    assert anonymous.get("/v1/me").status_code == 401
    second = installation.token("anna", Access.ADMIN)  # the same name again is another token
    assert anonymous.get("/v1/me").status_code == 401
    anonymous.post("/v1/session", json={"token": second})
    assert anonymous.get("/v1/me").status_code == 200
    anonymous.delete("/v1/session", headers=ORIGIN)
    assert anonymous.get("/v1/me").status_code == 401


def test_a_forged_cookie_is_refused(installation: Installation, anonymous: TestClient) -> None:
    anonymous.post("/v1/session", json={"token": installation.token("anna", Access.VIEW)})
    (name, value), *_ = anonymous.cookies.items()
    content, _, signature = value.partition(".")
    for forged in (f"{content}x.{signature}", f"{content}.{signature[:-2]}xx", content, "", ".", "ü.ü"):
        headers = {"Cookie": f"{name}={forged}".encode()}
        assert anonymous.get("/v1/me", headers=headers).status_code == 401, forged


def test_a_session_outlives_a_restart_of_the_api_and_is_of_one_home(
    installation: Installation, anonymous: TestClient
) -> None:
    anonymous.post("/v1/session", json={"token": installation.token("anna", Access.VIEW)})
    with TestClient(installation.app("serinus.test"), base_url="http://serinus.test") as restarted:
        restarted.cookies.update(dict(anonymous.cookies))
        assert restarted.get("/v1/me").status_code == 200
    installation.home.secret.write_text("another home's")
    with TestClient(installation.app("serinus.test"), base_url="http://serinus.test") as elsewhere:
        elsewhere.cookies.update(dict(anonymous.cookies))
        assert elsewhere.get("/v1/me").status_code == 401


def test_a_cookie_changes_something_only_from_the_pages_own_origin(
    installation: Installation, anonymous: TestClient
) -> None:
    anonymous.post("/v1/session", json={"token": installation.token("anna", Access.ADMIN)})
    for headers, status in (
        ({}, 403),
        ({"Origin": "http://evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://serinus.test:81"}, 403),
        (ORIGIN, 201),
    ):
        answer = anonymous.post("/v1/tokens", json={"name": "new"}, headers=headers)
        assert answer.status_code == status, headers
