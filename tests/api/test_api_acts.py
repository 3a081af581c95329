"""Acts over HTTP: what they do, how refusals are mapped, and that the audit has all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from scenes import busy, in_canary, rollout
from small_fleet import NOW, Installation
from starlette.testclient import TestClient

from serinus.core.errors import Unavailable
from serinus.core.people import Access
from serinus.core.rollout import Phase


def audited(installation: Installation) -> list[tuple[str, str, str]]:
    return [(e.who, e.what, e.subject) for e in installation.store.audit_trail()]


def test_a_deployment_is_begun_and_its_audit_names_who_what_why_and_from_where(
    installation: Installation, client: TestClient
) -> None:
    answer = client.post("/v1/deployments", json={"ref": "card-fraud@7", "why": "more trees"})
    assert answer.status_code == 202
    assert answer.json()["rollout"] == "card-fraud-r1"
    assert installation.store.rollout("card-fraud-r1").actor.name == "admin"
    (entry,) = installation.store.audit_trail()
    assert (entry.who, entry.what, entry.subject, entry.why) == ("admin", "deploy", "card-fraud@7", "more trees")
    assert (entry.origin, entry.at) == ("testclient", NOW)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "nothing to deploy"),
        ({"ref": "card-fraud"}, 422, "does not name a version"),
        ({"ref": "card-fraud@99"}, 404, "no version 99"),
        ({"spec": "model: card-fraud\nrolout: {}\n"}, 422, "rolout"),
        ({"ref": "card-fraud@6"}, 409, "in flight"),
    ],
)
def test_what_the_desk_refuses_has_its_status_its_words_and_its_audit(
    body: dict[str, str], status: int, words: str, installation: Installation, client: TestClient
) -> None:
    installation.store.create(in_canary(1))
    answer = client.post("/v1/deployments", json=body)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert [what for _, what, _ in audited(installation)] == ["deploy", "deploy-refused"]


def test_a_part_that_does_not_answer_is_503_and_says_when_to_come_back(
    installation: Installation, client: TestClient
) -> None:
    installation.registry.away = True
    answer = client.post("/v1/deployments", json={"ref": "card-fraud@7"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json() == {"error": "MLflow does not answer", "hint": "Serving goes on."}


def test_a_version_that_was_stopped_needs_a_reason(installation: Installation, client: TestClient) -> None:
    busy(installation)
    refused = client.post("/v1/deployments", json={"ref": "card-fraud@5", "supersede": True})
    assert refused.status_code == 409
    assert "serinus explain card-fraud-r1" in refused.json()["hint"]
    again = client.post("/v1/deployments", json={"ref": "card-fraud@5", "supersede": True, "why": "the feed is mended"})
    assert again.status_code == 202


@pytest.mark.parametrize("kind", ["promote", "abort"])
def test_an_order_reaches_the_rollout_with_its_author(
    kind: str, installation: Installation, as_role: Callable[[Access], TestClient]
) -> None:
    installation.store.create(in_canary(1))
    answer = as_role(Access.DEPLOY).post("/v1/rollouts/card-fraud/orders", json={"kind": kind, "why": "seen enough"})
    assert answer.status_code == 202
    (order,) = installation.store.orders("card-fraud-r1")
    assert (order.kind, order.actor.name, order.why) == (kind, "deploy", "seen enough")
    assert audited(installation) == [("deploy", kind, "card-fraud")]


def test_an_order_that_the_role_does_not_allow_is_in_the_audit_as_refused(
    installation: Installation, as_role: Callable[[Access], TestClient]
) -> None:
    installation.store.create(in_canary(1))
    assert as_role(Access.VIEW).post("/v1/rollouts/card-fraud/orders", json={"kind": "abort"}).status_code == 403
    assert installation.store.orders("card-fraud-r1") == []
    assert audited(installation) == [("view", "refused", "/v1/rollouts/card-fraud/orders")]


@pytest.mark.parametrize("body", [{"kind": "supersede"}, {"kind": "abort", "wy": ""}, {}, []])
def test_an_order_of_another_shape_is_422(body: object, installation: Installation, client: TestClient) -> None:
    installation.store.create(in_canary(1))
    assert client.post("/v1/rollouts/card-fraud/orders", json=body).status_code == 422
    assert installation.store.orders("card-fraud-r1") == []


def test_a_model_that_is_named_like_a_rollout_does_not_take_its_orders(
    installation: Installation, as_role: Callable[[Access], TestClient]
) -> None:
    installation.store.create(rollout(1, Phase.APPROVAL))
    trap = replace(rollout(1, Phase.APPROVAL), id="card-fraud-r1-r1", model="card-fraud-r1")
    installation.store.create(trap)
    approver = as_role(Access.APPROVE)
    answer = approver.post("/v1/rollouts/card-fraud-r1/orders", json={"kind": "approve"})
    assert answer.status_code == 409
    assert "a model whose rollout card-fraud-r1-r1 is in flight" in answer.json()["error"]
    assert installation.store.orders("card-fraud-r1") == installation.store.orders(trap.id) == []
    for wanted in ("card-fraud", "card-fraud-r1-r1"):
        assert approver.post(f"/v1/rollouts/{wanted}/orders", json={"kind": "approve"}).status_code == 202
    assert len(installation.store.orders("card-fraud-r1")) == len(installation.store.orders(trap.id)) == 1


def test_a_rollback_begins_a_rollout_to_an_earlier_release(installation: Installation, client: TestClient) -> None:
    assert client.post("/v1/models/card-fraud/rollback", json={}).status_code == 404
    busy(installation)
    answer = client.post("/v1/models/card-fraud/rollback", json={"to": "card-fraud-6-1c04be", "why": "complaints"})
    assert answer.status_code == 409
    assert "card-fraud-6-1c04be was never the champion" in answer.json()["error"]


def test_only_who_may_approve_loosens_a_models_policy(
    installation: Installation, as_role: Callable[[Access], TestClient]
) -> None:
    busy(installation)
    path, required, loose = "/v1/models/card-fraud/policy", {"approval": "required"}, {"approval": "none"}
    deployer, approver = as_role(Access.DEPLOY), as_role(Access.APPROVE)
    assert deployer.put(path, json=required).status_code == 200
    answer = deployer.put(path, json=loose)
    assert answer.status_code == 409
    assert "needs the role approve" in answer.json()["error"]
    assert deployer.get(path).json() == {"model": "card-fraud", "approval": "required", "except_of": ""}
    assert approver.put(path, json={**loose, "why": "agreed"}).status_code == 200
    assert deployer.get(path).json()["approval"] == "none"
    told = [(e.who, e.what, e.why) for e in installation.store.audit_trail() if e.subject == "card-fraud"]
    assert [what for _, what, _ in told][-4:] == ["set-policy", "set-policy", "set-policy-refused", "set-policy"]
    assert told[-1][2] == "agreed"
    assert installation.store.events(model="card-fraud")[-1].kind == "policy-changed"


def test_outcomes_are_attached_by_request_id_with_their_time(installation: Installation, client: TestClient) -> None:
    sent = [
        {"request_id": "a", "label": 1, "observed_at": "2026-01-31T12:00:00+02:00", "source": "chargeback"},
        {"request_id": "b", "label": 0, "observed_at": "2026-01-31T12:00:00"},
        {"request_id": "c", "label": True},
    ]
    assert client.post("/v1/outcomes", json=sent).json() == {"received": 3, "changed": 3}
    labels = installation.log.labels
    assert labels["a"].observed_at == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert labels["b"].observed_at == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert (labels["c"].observed_at, labels["c"].label, labels["c"].source) == (NOW, 1.0, "admin")
    assert client.post("/v1/outcomes", json=sent).json() == {"received": 3, "changed": 0}


def test_an_outcome_may_name_the_prediction_the_caller_and_the_release(
    installation: Installation, client: TestClient
) -> None:
    named = {"prediction_id": "own-1", "caller": "payments", "release": "card-fraud-6-1c04be"}
    assert client.post("/v1/outcomes", json=[{**named, "label": 1}]).json() == {"received": 1, "changed": 1}
    [label] = installation.log.labels.values()
    assert (label.prediction_id, label.request_id) == ("own-1", "")
    assert (label.caller, label.release) == ("payments", "card-fraud-6-1c04be")
    assert client.get("/v1/outcomes").json() == {"outcomes": 1, "unmatched": 2, "ambiguous": 1}


def test_an_outcome_that_names_no_request_is_refused(installation: Installation, client: TestClient) -> None:
    answer = client.post("/v1/outcomes", json=[{"caller": "payments", "label": 1}])
    assert answer.status_code == 422
    assert "prediction_id or a request_id" in answer.json()["error"]
    assert installation.log.labels == {}


def test_a_moment_that_utc_has_no_year_for_is_refused(installation: Installation, client: TestClient) -> None:
    sent = [{"request_id": "a", "label": 1, "observed_at": "9999-12-31T23:59:59-23:00"}]
    answer = client.post("/v1/outcomes", json=sent)
    assert answer.status_code == 422
    assert "outside the years 1 to 9999" in answer.json()["error"]
    assert installation.log.labels == {}


@pytest.mark.parametrize("label", ["NaN", "Infinity", "null", '"fraud"', "0.5", "2", "-1"])
def test_a_label_that_is_neither_0_nor_1_is_refused(label: str, installation: Installation, client: TestClient) -> None:
    answer = client.post("/v1/outcomes", content=f'[{{"request_id": "a", "label": {label}}}]')
    assert answer.status_code == 422
    assert installation.log.labels == {}
    part = client.put(f"{IMPORT}/parts/0", content=f'{{"request_id": ["a"], "label": [{label}]}}')
    assert part.status_code == 422
    assert installation.log.staged == {}


IMPORT = f"/v1/outcomes/imports/{'0a' * 16}"


def test_an_import_labels_when_it_is_attached_with_one_entry_in_the_audit_record(
    installation: Installation, client: TestClient
) -> None:
    first = {"prediction_id": ["a", ""], "request_id": ["", "b"], "label": [1, 0]}
    moments = ["2026-01-31T12:00:00+02:00", "2026-01-31T12:00:00"]
    assert client.put(f"{IMPORT}/parts/0", json={**first, "observed_at": moments}).json() == {"received": 2}
    assert client.put(f"{IMPORT}/parts/1", json={"request_id": ["c"], "label": [1]}).json() == {"received": 1}
    assert installation.log.labels == {}
    found = client.post(IMPORT, json={"name": "cases.csv", "rows": 3}).json()
    assert found == {"outcomes": 3, "changed": 3, "unknown": 2, "ambiguous": 1}
    labels = installation.log.labels
    assert labels[""].observed_at == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert labels["b"].observed_at == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert (labels["c"].observed_at, labels["c"].source) == (NOW, "admin")
    (entry,) = [one for one in installation.store.audit_trail() if one.what == "outcomes"]
    assert entry.details == {"owner": "admin", "import": "0a" * 16, "name": "cases.csv", "rows": 3}
    assert client.post(IMPORT, json={}).status_code == 404


@pytest.mark.parametrize(
    "part",
    [
        {"request_id": ["a"], "label": []},
        {"request_id": ["a", "b"], "label": [1]},
        {"request_id": ["a", ""], "label": [1, 1]},
        {"label": [1]},
        {"request_id": ["x" * 201], "label": [1]},
        {"request_id": ["a"] * 10_001, "label": [1] * 10_001},
        {"request_id": ["a"], "label": [1], "observed_at": ["soon"]},
        {"request_id": ["a"], "label": [1], "observed_at": ["0001-01-01T00:00:00+23:00"]},
        {"request_id": ["a"], "label": [1], "more": [1]},
    ],
)
def test_a_part_that_does_not_fit_is_refused(part: object, installation: Installation, client: TestClient) -> None:
    assert client.put(f"{IMPORT}/parts/0", json=part).status_code == 422
    assert installation.log.staged == {}


@pytest.mark.parametrize("path", ["/v1/outcomes/imports/..%2f..%2fx", "/v1/outcomes/imports/0a", f"{IMPORT}0"])
def test_an_import_is_named_by_hexadecimal_digits_only(path: str, client: TestClient) -> None:
    part = {"request_id": ["a"], "label": [1]}
    assert client.put(f"{path}/parts/0", json=part).status_code in (404, 422)
    assert client.put(f"{IMPORT}/parts/300", json=part).status_code == 422


def test_a_token_is_told_once_listed_without_its_secret_and_revoked(
    installation: Installation, client: TestClient, anonymous: TestClient
) -> None:
    made = client.post("/v1/tokens", json={"name": "ci", "access": "deploy"})
    assert made.status_code == 201
    token = made.json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert anonymous.get("/v1/me", headers=headers).json() == {"name": "ci", "owner": "ci", "access": "deploy"}
    listed = client.get("/v1/tokens")
    assert [t["name"] for t in listed.json()] == ["admin", "ci"]
    assert token not in listed.text
    assert client.post("/v1/tokens", json={"name": "ci"}).status_code == 409
    assert client.delete("/v1/tokens/ci").status_code == 200
    assert anonymous.get("/v1/me", headers=headers).status_code == 401
    assert client.delete("/v1/tokens/nobody").status_code == 404
    told = audited(installation)
    assert ("admin", "issue-token", "ci") in told
    assert ("admin", "issue-token-refused", "ci") in told
    assert ("admin", "revoke-token", "ci") in told
    assert token not in str(installation.store.audit_trail())


def test_a_token_is_of_the_owner_that_is_named_and_acts_are_told_with_it(
    installation: Installation, client: TestClient, anonymous: TestClient
) -> None:
    made = client.post("/v1/tokens", json={"name": "ci", "access": "deploy", "owner": " anna@bank "}).json()
    assert made["owner"] == "anna@bank"
    assert client.post("/v1/tokens", json={"name": "cd", "owner": "<b>"}).status_code == 422
    assert [(t["name"], t["owner"]) for t in client.get("/v1/tokens").json()] == [
        ("admin", "admin"),
        ("ci", "anna@bank"),
    ]
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert anonymous.get("/v1/me", headers=headers).json()["owner"] == "anna@bank"
    assert anonymous.post("/v1/deployments", json={"ref": "card-fraud@7"}, headers=headers).status_code == 202
    entry = installation.store.audit_trail()[-1]
    assert (entry.who, entry.details["owner"]) == ("ci", "anna@bank")
    assert "requested by ci (anna@bank)" in installation.store.events()[-1].text
    anonymous.post("/v1/session", json={"token": made["token"]})
    assert anonymous.get("/v1/me").json()["owner"] == "anna@bank", "a session is its token's owner's"
    issued = next(e for e in installation.store.audit_trail() if e.what == "issue-token")
    assert (issued.subject, issued.details["for"]) == ("ci", "anna@bank")


def test_a_callers_key_is_handed_to_the_proxy_and_taken_back(installation: Installation, client: TestClient) -> None:
    made = client.post("/v1/keys", json={"name": "shop", "models": ["card-fraud", "churn", "churn"]})
    assert made.status_code == 201
    assert made.json()["models"] == ["card-fraud", "churn"]
    assert "not served yet: card-fraud, churn" in made.json()["message"]
    assert installation.callers.keys == {"shop": made.json()["key"]}
    assert installation.callers.models == {"shop": ["card-fraud", "churn"]}
    every = client.post("/v1/keys", json={"name": "batch"}).json()
    assert (every["models"], installation.callers.models["batch"]) == (None, None)
    listed = client.get("/v1/keys")
    assert [(k["name"], k["models"]) for k in listed.json()] == [("shop", ["card-fraud", "churn"]), ("batch", None)]
    assert every["key"] not in listed.text
    assert client.post("/v1/keys", json={"name": "shop"}).status_code == 409
    assert client.delete("/v1/keys/shop").status_code == 200
    assert set(installation.callers.keys) == {"batch"}
    assert client.delete("/v1/keys/admin").status_code == 404, "that is a token"
    assert every["key"] not in str(installation.store.audit_trail())


def test_a_key_of_the_older_route_for_tokens_opens_all_models(installation: Installation, client: TestClient) -> None:
    key = client.post("/v1/tokens", json={"name": "shop", "plane": "data"}).json()["token"]
    assert installation.callers.keys == {"shop": key}
    assert installation.callers.models == {"shop": None}
    client.delete("/v1/tokens/shop")
    assert installation.callers.keys == {}


@pytest.mark.parametrize("models", [[], ["../etc"], [""], ["a"] * 1001, "card-fraud"])
def test_a_key_for_what_is_no_model_is_refused(models: object, installation: Installation, client: TestClient) -> None:
    assert client.post("/v1/keys", json={"name": "shop", "models": models}).status_code == 422
    assert installation.callers.keys == {}
    assert all(token["name"] != "shop" for token in installation.store.tokens())


def test_a_key_that_the_proxy_did_not_take_is_not_left_valid(
    installation: Installation, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise Unavailable("Envoy does not answer")

    monkeypatch.setattr(installation.callers, "admit", away)
    assert client.post("/v1/keys", json={"name": "shop"}).status_code == 503
    (token,) = [t for t in installation.store.tokens() if t["name"] == "shop"]
    assert token["revoked_at"] is not None


def test_a_key_that_the_proxy_could_not_forget_counts_as_valid(
    installation: Installation, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nobody takes it for revoked, and it can be revoked again."""

    def away(*_: object) -> None:
        raise Unavailable("Envoy does not answer")

    client.post("/v1/keys", json={"name": "shop"})
    with monkeypatch.context() as patched:
        patched.setattr(installation.callers, "dismiss", away)
        assert client.delete("/v1/keys/shop").status_code == 503
    assert [k["revoked_at"] for k in client.get("/v1/keys").json()] == [None]
    assert client.delete("/v1/keys/shop").status_code == 200
    assert installation.callers.keys == {}


def test_a_callers_key_is_refused_where_no_key_is_asked_for(installation: Installation) -> None:
    app = installation.app("serinus.test", callers=False)
    headers = {"Authorization": f"Bearer {installation.token()}"}
    with TestClient(app, base_url="http://serinus.test", headers=headers) as client:
        answer = client.post("/v1/keys", json={"name": "shop"})
    assert answer.status_code == 409
    assert "--keys required" in answer.json()["hint"]


def test_a_deployment_by_a_spec_alone_is_audited_under_its_model(
    installation: Installation, client: TestClient
) -> None:
    client.post("/v1/deployments", json={"spec": "model: card-fraud\n"})
    client.post("/v1/deployments", json={"spec": "no spec"})
    subjects = [entry.subject for entry in installation.store.audit_trail() if entry.what.startswith("deploy")]
    assert subjects == ["card-fraud", "spec", "spec"]
