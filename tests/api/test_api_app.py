"""How the application is put together."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
from answers import document
from pydantic import TypeAdapter
from small_fleet import Installation, make_home
from starlette.testclient import TestClient

from serinus.api import app as assembly
from serinus.core.people import Access


def test_the_first_client_does_not_wait_for_models_to_be_built(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    document()  # with which the fixtures compare every answer
    assembly._routes.cache_clear()
    made = installation.app("serinus.test")

    def building(*_arguments: object, **_keywords: object) -> NoReturn:
        raise AssertionError("a model is built")

    monkeypatch.setattr(TypeAdapter, "__init__", building)
    client = TestClient(made, base_url="http://serinus.test")
    assert client.get("/healthz").status_code == 200
    client.headers["Authorization"] = f"Bearer {installation.token('anna', Access.VIEW)}"
    assert client.get("/v1/status").status_code == 200


def test_two_homes_in_one_process_are_apart(installation: Installation, tmp_path: Path) -> None:
    other = Installation(make_home(tmp_path / "other"))
    try:
        headers = {"Authorization": f"Bearer {installation.token('anna', Access.VIEW)}"}
        for one, host, status in (
            (installation, "serinus.test", 200),
            (other, "other.test", 401),  # it does not know the token
            (installation, "other.test", 421),
            (other, "serinus.test", 421),
            (installation, "serinus.test", 200),
        ):
            client = TestClient(one.app("serinus.test" if one is installation else "other.test"))
            client.base_url = f"http://{host}"
            assert client.get("/v1/status", headers=headers).status_code == status
    finally:
        other.close()
