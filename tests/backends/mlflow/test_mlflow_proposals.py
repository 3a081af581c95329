"""Who has set an alias, as the door of the bundled MLflow notes it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from small_fleet import Installation, serving

from serinus.backends.mlflow import MlflowRegistry, proposals
from serinus.backends.mlflow.proposals import Proposal, Proposals
from serinus.core.people import Access

ALIAS = "/api/2.0/mlflow/registered-models/alias"
PASSWORD = "Basic " + base64.b64encode(b"serinus:of-the-tests").decode()


def post(server: Any, path: str, authorization: str, body: bytes) -> int:
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    return httpx.post(f"{server.uri}{path}", headers=headers, content=body, timeout=10).status_code


@pytest.fixture(scope="module")
def installation(mlflow_server: Any) -> Iterator[Installation]:
    made = Installation(mlflow_server.home)
    with serving(made):
        yield made
    made.close()


@pytest.fixture
def registry(mlflow_server: Any, tmp_path: Path) -> MlflowRegistry:
    return MlflowRegistry(mlflow_server.uri, tmp_path, proposals=mlflow_server.home.mlflow_proposals)


def sent(model: str = "constant", alias: str = "challenger", version: object = "1") -> bytes:
    return json.dumps({"name": model, "alias": alias, "version": version}).encode()


def test_an_alias_is_noted_with_the_owner_of_the_token_that_set_it(
    mlflow_server: Any, installation: Installation, registry: MlflowRegistry
) -> None:
    store, now = installation.store, installation.clock.now()
    anna = f"Bearer {store.issue_token('ci', Access.DEPLOY, now, owner='anna@bank')}"
    views = f"Bearer {store.issue_token('alias-reader', Access.VIEW, now)}"
    ajax = ALIAS.replace("/api", "/ajax-api")
    for path, body in (
        (ALIAS, sent()),
        (ajax, sent()),
        (ALIAS, sent(version="01")),
        (ALIAS, json.dumps(sent().decode()).encode()),
    ):
        assert post(mlflow_server, path, PASSWORD, sent()) == 200
        assert registry.who_set("constant", "challenger", "1") == "", "the password is nobody's name"
        assert post(mlflow_server, path, anna, body) == 200, body
        assert registry.aliases()["constant"]["challenger"] == "1"
        assert registry.who_set("constant", "challenger", "1") == "anna@bank", body
    assert registry.who_set("constant", "challenger", "2") == ""
    assert registry.who_set("constant", "champion", "1") == ""
    assert post(mlflow_server, ALIAS, views, sent()) == 403
    assert registry.who_set("constant", "challenger", "1") == "anna@bank"
    assert mlflow_server.home.mlflow_proposals.stat().st_mode & 0o777 == 0o600


def test_what_sets_no_alias_that_can_be_told_is_refused(
    mlflow_server: Any, installation: Installation, registry: MlflowRegistry
) -> None:
    store, now = installation.store, installation.clock.now()
    anna = f"Bearer {store.issue_token('cd', Access.DEPLOY, now, owner='anna@bank')}"
    before = registry.aliases()
    for body in (b"{", b"[]", b"{}", sent(version="x"), sent(alias="big" * proposals.MOST_BYTES), b"[" * 60_000):
        assert post(mlflow_server, ALIAS, anna, body) == 400, body[:80]
    assert registry.aliases() == before


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"name": "m", "alias": "challenger", "version": "8"}),
        json.dumps({"name": "m", "alias": "challenger", "version": " 08 "}),
        json.dumps(json.dumps({"name": "m", "alias": "challenger", "version": 8})),
        '{"name": "m", "alias": "challenger", "version": "7", "version": "8"}',
    ],
)
def test_a_proposal_is_read_as_mlflow_reads_it(body: str) -> None:
    for encoding in ("utf-8", "utf-16"):
        assert proposals.read(body.encode(encoding)) == Proposal("m", "challenger", 8)


def test_a_file_that_is_gone_or_broken_names_nobody(tmp_path: Path) -> None:
    noted = Proposals(tmp_path / "proposals.json")
    assert noted.who("m", "challenger", "8") == ""
    for text in ("{", "[]", '{"[\\"m\\", \\"challenger\\"]": 8}'):
        (tmp_path / "proposals.json").write_text(text)
        assert noted.who("m", "challenger", "8") == ""
    noted.note(Proposal("m", "challenger", 8), "anna@bank")
    noted.note(Proposal("n", "challenger", 8), "bert@bank")
    assert noted.who("m", "challenger", "8") == "anna@bank"
    noted.note(Proposal("m", "challenger", 8), "")
    assert noted.who("m", "challenger", "8") == ""
    assert noted.who("n", "challenger", "8") == "bert@bank"
