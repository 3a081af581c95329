"""One person with several tokens, and MLflow's aliases, against an approval."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hostile_models import mlmodel, requirements
from hostile_serinus import Attacked, fresh
from whole_load import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

ALIAS = "/api/2.0/mlflow/registered-models/alias"


def owned(serinus: Attacked, access: str, owner: str) -> str:
    """A new token of that owner's."""
    wish = {"name": fresh(access), "access": access, "owner": owner}
    return str(serinus.post("/v1/tokens", wish).raise_for_status().json()["token"])


def registered(serinus: Attacked, model: str) -> str:
    columns = [{"type": "double", "name": "amount", "required": True}]
    files = {
        "MLmodel": mlmodel(inputs=columns, outputs=[{"type": "double", "name": "score"}]),
        "serving_input_example.json": '{"dataframe_split": {"columns": ["amount"], "data": [[1.0]]}}',
    }
    return serinus.register(model, files, requirements("scikit-learn", "cloudpickle"))


def order(serinus: Attacked, rollout: str, kind: str, token: str) -> httpx.Response:
    return serinus.post(f"/v1/rollouts/{rollout}/orders", {"kind": kind, "why": "x"}, token)


@pytest.fixture
def guarded(serinus: Attacked) -> tuple[str, str]:
    """A model every version of which needs an approval, and its champion."""
    model = fresh("people")
    champion = serinus.promoted(registered(serinus, model))
    wish = {"approval": "required", "why": "x"}
    serinus.api.put(f"/v1/models/{model}/policy", json=wish).raise_for_status()
    return model, champion


def test_two_tokens_of_one_owner_are_not_four_eyes(serinus: Attacked, guarded: tuple[str, str]) -> None:
    model, champion = guarded
    anna = fresh("anna")
    deploys, approves = owned(serinus, "deploy", f"{anna}@bank"), owned(serinus, "approve", f" {anna.upper()}@Bank ")
    rollout = serinus.attempt(registered(serinus, model), token=deploys)
    assert rollout["status"]["phase"] == "approval"
    answer = order(serinus, rollout["id"], "approve", approves)
    assert answer.status_code == 409
    assert "another person" in answer.text
    assert order(serinus, rollout["id"], "promote", approves).status_code == 409
    assert serinus.champion(model) == champion
    bert = fresh("bert")
    assert order(serinus, rollout["id"], "approve", owned(serinus, "approve", bert)).status_code == 202
    ended = serinus.ended(rollout["id"])
    assert ended["status"]["phase"] == "promoted"
    assert ended["approver"]["owner"] == bert
    assert any(f"({bert})" in note and "load pass" in note for note in ended["notes"])
    assert any(f"({anna}@bank)" in text for text in serinus.events(model))
    trail = serinus.api.get("/v1/audit").raise_for_status().json()
    refused = [entry for entry in trail if entry["what"] == "approve-refused" and entry["subject"] == rollout["id"]]
    assert [entry["details"]["owner"] for entry in refused] == [f"{anna.upper()}@Bank"]


def test_who_loosens_the_policy_does_not_deploy_by_it(serinus: Attacked, guarded: tuple[str, str]) -> None:
    model, champion = guarded
    anna = fresh("anna")
    deploys, approves = owned(serinus, "deploy", anna), owned(serinus, "approve", anna)
    headers = {"Authorization": f"Bearer {approves}"}
    wish = {"approval": "none", "why": "x"}
    serinus.api.put(f"/v1/models/{model}/policy", json=wish, headers=headers).raise_for_status()
    rollout = serinus.attempt(registered(serinus, model), token=deploys)
    assert rollout["status"]["phase"] == "approval"
    assert order(serinus, rollout["id"], "approve", approves).status_code == 409
    assert serinus.champion(model) == champion


def test_an_alias_is_the_proposal_of_whose_token_set_it(serinus: Attacked, guarded: tuple[str, str]) -> None:
    model, champion = guarded
    anna = fresh("anna")
    deploys, approves = owned(serinus, "deploy", anna), owned(serinus, "approve", anna)
    version = registered(serinus, model).partition("@")[2]
    body = {"name": model, "alias": "challenger", "version": version}
    headers = {"Authorization": f"Bearer {deploys}"}
    httpx.post(f"{serinus.addresses.mlflow}{ALIAS}", json=body, headers=headers, timeout=30).raise_for_status()

    def proposed() -> Any:
        found = serinus.api.get("/v1/rollouts", params={"model": model, "limit": 1}).raise_for_status().json()
        return found[0] if found[0]["version"] == version else None

    begun = wait_until(proposed, 60.0, "a rollout of the alias")
    rollout = serinus.settled(begun["id"])
    assert rollout["status"]["phase"] == "approval"
    assert (rollout["actor"]["owner"], rollout["actor"]["origin"]) == (anna, "alias")
    assert order(serinus, rollout["id"], "approve", approves).status_code == 409
    assert serinus.champion(model) == champion
    assert order(serinus, rollout["id"], "approve", owned(serinus, "approve", fresh("bert"))).status_code == 202
    assert serinus.ended(rollout["id"])["status"]["phase"] == "promoted"


def test_the_alias_champion_moved_by_hand_is_put_back(serinus: Attacked, guarded: tuple[str, str]) -> None:
    model, champion = guarded
    version = registered(serinus, model).partition("@")[2]
    serinus.mlflow.set_registered_model_alias(model, "champion", version)

    def put_back() -> bool:
        return str(serinus.mlflow.get_model_version_by_alias(model, "champion").version) != version

    wait_until(put_back, 60.0, "the alias to be put back")
    assert serinus.champion(model) == champion
    assert any("put back" in text for text in serinus.events(model))
