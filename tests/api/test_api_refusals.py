"""Whatever is refused is refused in a sentence, stands in the audit record, and has changed nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from answers import document
from scenes import busy, rollout
from small_fleet import Installation
from starlette.testclient import TestClient

from serinus.core.people import Access
from serinus.core.rollout import Phase

IMPORT = "/v1/outcomes/imports/{import_id}"
BAD_SPEC = "model: card-fraud\nrolout: {}\n"

REFUSED: tuple[tuple[str, str, Access, Any, int], ...] = (
    # By role.
    ("POST", "/v1/deployments", Access.VIEW, {"ref": "card-fraud@7"}, 403),
    ("POST", "/v1/rollouts/{rollout_id}/orders", Access.VIEW, {"kind": "abort"}, 403),
    ("POST", "/v1/rollouts/{rollout_id}/orders", Access.DEPLOY, {"kind": "approve"}, 403),
    ("POST", "/v1/models/{model}/rollback", Access.VIEW, {}, 403),
    ("POST", "/v1/models/{model}/retire", Access.APPROVE, {"why": "replaced"}, 403),
    ("PUT", "/v1/models/{model}/policy", Access.VIEW, {"approval": "required"}, 403),
    ("POST", "/v1/outcomes", Access.VIEW, [{"request_id": "a", "label": 1}], 403),
    ("PUT", f"{IMPORT}/parts/{{number}}", Access.VIEW, {"request_id": ["a"], "label": [1]}, 403),
    ("POST", IMPORT, Access.VIEW, {}, 403),
    ("DELETE", IMPORT, Access.VIEW, None, 403),
    ("POST", "/v1/disk/prune", Access.APPROVE, {"items": []}, 403),
    ("POST", "/v1/tokens", Access.APPROVE, {"name": "new", "access": "admin"}, 403),
    ("DELETE", "/v1/tokens/{name}", Access.APPROVE, None, 403),
    ("POST", "/v1/keys", Access.APPROVE, {"name": "new"}, 403),
    ("DELETE", "/v1/keys/{name}", Access.APPROVE, None, 403),
    # By the present state or a rule.
    ("POST", "/v1/deployments", Access.DEPLOY, {"ref": "card-fraud@7", "spec": "model: card-fraud\n"}, 409),
    ("POST", "/v1/deployments", Access.DEPLOY, {"ref": "card-fraud@99", "spec": "model: card-fraud\n"}, 404),
    ("POST", "/v1/rollouts/{rollout_id}/orders", Access.DEPLOY, {"kind": "promote"}, 409),
    ("POST", "/v1/rollouts/{rollout_id}/orders", Access.ADMIN, {"kind": "approve"}, 409),
    ("POST", "/v1/models/{model}/rollback", Access.DEPLOY, {"to": "card-fraud-7-3f9a2c"}, 409),
    ("POST", "/v1/models/{model}/retire", Access.ADMIN, {"why": "replaced"}, 409),
    ("PUT", "/v1/models/{model}/policy", Access.DEPLOY, {"approval": "none"}, 409),
    ("POST", IMPORT, Access.DEPLOY, {}, 404),
    ("POST", "/v1/tokens", Access.ADMIN, {"name": "anna"}, 409),
    ("DELETE", "/v1/tokens/{name}", Access.ADMIN, None, 404),
    ("POST", "/v1/keys", Access.ADMIN, {"name": "anna"}, 409),
    ("DELETE", "/v1/keys/{name}", Access.ADMIN, None, 404),
    # By what was sent.
    ("POST", "/v1/deployments", Access.DEPLOY, {"ref": "card-fraud@7", "spec": BAD_SPEC}, 422),
    ("POST", "/v1/deployments", Access.DEPLOY, {"ref": 7}, 422),
    ("POST", "/v1/deployments", Access.DEPLOY, b"{", 422),
    ("POST", "/v1/rollouts/{rollout_id}/orders", Access.DEPLOY, {"kind": "supersede"}, 422),
    ("POST", "/v1/models/{model}/rollback", Access.DEPLOY, {"too": "6"}, 422),
    ("POST", "/v1/models/{model}/retire", Access.ADMIN, {"why": " "}, 422),
    ("PUT", "/v1/models/{model}/policy", Access.DEPLOY, {"approval": "maybe"}, 422),
    ("POST", "/v1/outcomes", Access.DEPLOY, [{"request_id": "a", "label": "fraud"}], 422),
    ("PUT", f"{IMPORT}/parts/{{number}}", Access.DEPLOY, {"request_id": ["a"], "label": [2]}, 422),
    ("POST", "/v1/disk/prune", Access.ADMIN, {"items": [{"kind": "store", "name": "store.db"}]}, 422),
    ("POST", "/v1/tokens", Access.ADMIN, {"name": "a b"}, 422),
    ("POST", "/v1/tokens", Access.ADMIN, {"name": "new", "access": "root"}, 422),
    ("POST", "/v1/tokens", Access.ADMIN, {"name": "new", "owner": "nobody"}, 422),
    ("POST", "/v1/keys", Access.ADMIN, {"name": "new", "models": ["../x"]}, 422),
)
PARTS = {
    "{rollout_id}": "card-fraud-r4",
    "{model}": "card-fraud",
    "{name}": "unknown",
    "{number}": "0",
    "{import_id}": "0a" * 16,
}
OTHERWISE = {
    ("POST", "/v1/diff"),
    ("POST", "/v1/session"),
    ("DELETE", "/v1/session"),
    ("POST", "/v1/session/links"),
    ("POST", "/v1/home/token"),
}
"""Open to every role, or asked for by no token at all: there is no refusal but 401."""


@pytest.fixture
def waiting(installation: Installation, as_role: Callable[[Access], TestClient]) -> Callable[[Access], TestClient]:
    """A client by role. card-fraud@7 waits for an approval, asked for by the admin, where every version needs one."""
    busy(installation)
    installation.token("anna")
    admin = as_role(Access.ADMIN)
    known = {Access.ADMIN: admin}
    admin.post("/v1/rollouts/card-fraud/orders", json={"kind": "abort"})
    admin.put("/v1/models/card-fraud/policy", json={"approval": "required"})
    (flying,) = installation.store.in_flight()
    installation.store.save(rollout(3, Phase.ABORTED))
    assert flying.id == "card-fraud-r3"
    asked = installation.store.whose_token(admin.headers["authorization"][7:])
    installation.store.create(rollout(4, Phase.APPROVAL, actor=asked))

    def client(access: Access) -> TestClient:
        return known.setdefault(access, None) or as_role(access)

    return client


def everything(installation: Installation) -> dict[str, Any]:
    """All that an act could change, but for the audit record."""
    store = installation.store
    return {
        "rollouts": store.rollouts(limit=100),
        "orders": [store.orders(one.id) for one in store.rollouts(limit=100)],
        "models": store.models(),
        "settings": [store.setting("policy.card-fraud")],
        "pending": store.pending(),
        "events": store.events(limit=1000),
        "tokens": store.tokens(),
        "specs": dict(installation.fleet.specs),
        "kept": dict(installation.log.kept),
        "labels": (dict(installation.log.labels), dict(installation.log.staged)),
        "keys": (dict(installation.callers.keys), dict(installation.callers.models)),
    }


@pytest.mark.parametrize(("method", "route", "access", "body", "status"), REFUSED)
def test_what_is_refused_is_in_the_audit_in_one_sentence_and_has_changed_nothing(
    method: str,
    route: str,
    access: Access,
    body: Any,
    status: int,
    installation: Installation,
    waiting: Callable[[Access], TestClient],
) -> None:
    client = waiting(access)
    path = route
    for part, value in PARTS.items():
        path = path.replace(part, value)
    before, entries = everything(installation), len(installation.store.audit_trail())
    sent: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer = client.request(method, path, **({} if body is None else sent))
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert everything(installation) == before
    last = installation.store.audit_trail()[entries:][-1]
    assert last.what.endswith("refused")
    assert last.details["reason"] == answer.json()["error"]
    assert last.details["owner"] == last.who == access.value
    assert installation.store.audit_broken_at() is None


def test_every_route_that_changes_something_is_in_the_table() -> None:
    documented = document()["paths"]
    changing = {
        (method.upper(), path)
        for path, methods in documented.items()
        for method in methods
        if method in ("post", "put", "patch", "delete")
    }
    assert {(method, route) for method, route, *_ in REFUSED} == changing - OTHERWISE


@pytest.mark.parametrize("body", [b"{", b'{"ref": 7}'])
def test_nobody_fills_the_audit_without_a_token(body: bytes, installation: Installation, anonymous: TestClient) -> None:
    assert anonymous.post("/v1/deployments", content=body).status_code == 401
    assert anonymous.post("/v1/session", content=b"{").status_code == 422
    assert installation.store.audit_trail() == []
