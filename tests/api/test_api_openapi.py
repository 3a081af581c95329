"""The OpenAPI document of the control API: whole, published, and what the API does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from answers import check, document, operations
from scenes import busy
from small_fleet import Installation
from starlette.testclient import TestClient
from test_api_access import BODIES

from serinus.api.openapi import as_yaml
from serinus.core.people import Access

FILE = Path(__file__).parents[2] / "docs" / "openapi" / "control.yaml"
OPEN = {("/healthz", "GET"), ("/v1/session", "POST"), ("/v1/session", "DELETE")}
NO_JSON = {"/metrics", "/v1/events/stream"}
OTHER_BODIES: dict[str, Any] = {
    "/v1/rollouts/{rollout_id}/orders": {"kind": "abort"},
    "/v1/models/{model}/rollback": {},
    "/v1/models/{model}/retire": {"why": "replaced"},
    "/v1/models/{model}/policy": {"approval": "required"},
    "/v1/outcomes": [{"request_id": "a", "label": 1}],
    "/v1/outcomes/imports/{import_id}": {},
    "/v1/outcomes/imports/{import_id}/parts/{number}": {"label": [1], "request_id": ["a"]},
    "/v1/session": {"token": "srn_x"},
}
PARTS = {"import_id": "a" * 32, "number": "0", "rollout_id": "card-fraud-r3", "model": "card-fraud"}


def operation(path: str, method: str) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][path][method.lower()]
    return found


def with_bodies() -> list[tuple[str, str]]:
    return [one for one in operations() if "requestBody" in operation(*one)]


def test_the_file_is_what_the_code_says() -> None:
    assert FILE.read_text() == as_yaml(), "run: python -m serinus.api.reference > docs/openapi/control.yaml"
    assert yaml.safe_load(FILE.read_text()) == document()


def test_it_is_served_to_those_who_may_read(anonymous: TestClient, as_role: Callable[[Access], TestClient]) -> None:
    assert anonymous.get("/v1/openapi.json").status_code == 401
    assert as_role(Access.VIEW).get("/v1/openapi.json").json() == document()


@pytest.mark.parametrize(("path", "method"), list(operations()))
def test_every_route_is_described_with_its_answer_its_errors_and_who_may(path: str, method: str) -> None:
    found = operation(path, method)
    assert found["description"].strip()
    good = [answer for status, answer in found["responses"].items() if status.startswith("2")]
    assert good
    for answer in good:
        (content,) = answer["content"].values()
        schema = content["schema"]
        assert schema.keys() & {"$ref", "items"} or (path in NO_JSON and schema == {"type": "string"})
    errors = [answer for status, answer in found["responses"].items() if not status.startswith("2")]
    assert all(answer["content"]["application/json"]["schema"]["$ref"].endswith("/Failure") for answer in errors)
    assert "default" in found["responses"]
    if (path, method) not in OPEN:
        assert {"401", "403"} <= found["responses"].keys()
        assert found["security"]


def test_every_field_of_every_answer_has_a_type() -> None:
    def untyped(schema: Any, where: str) -> Iterator[str]:
        for name, field in schema.get("properties", {}).items():
            if not field.keys() & {"type", "$ref", "anyOf", "allOf", "const", "enum"}:
                yield f"{where}.{name}"

    schemas = document()["components"]["schemas"]
    assert [line for name, schema in schemas.items() for line in untyped(schema, name)] == []


def test_an_answer_that_is_not_described_is_found() -> None:
    """The check that all of these tests go through can fail."""

    def answer(status: int, json: Any, path: str = "/v1/me") -> httpx.Response:
        made = httpx.Response(status, json=json, request=httpx.Request("GET", f"http://serinus.test{path}"))
        made.elapsed = timedelta()
        return made

    assert check(answer(200, {"name": "a", "owner": "a", "access": "view"}))
    for wrong in ({"name": "a", "owner": "a", "access": "root"}, {"name": "a", "access": "view"}):
        with pytest.raises(AssertionError, match="/v1/me"):
            check(answer(200, wrong))
    with pytest.raises(AssertionError, match="error"):
        check(answer(409, {"detail": "no"}))
    assert not check(answer(200, {}, "/login"))


@pytest.mark.parametrize(("path", "method"), with_bodies())
def test_a_request_with_an_unknown_field_is_refused(
    path: str, method: str, installation: Installation, client: TestClient
) -> None:
    busy(installation)
    body = OTHER_BODIES[path] if path in OTHER_BODIES else BODIES[path]
    wrong = [{**body[0], "labl": 1}] if isinstance(body, list) else {**body, "labl": 1}
    answer = client.request(method, path.format(**PARTS), json=wrong)
    assert answer.status_code == 422
    assert "labl: Extra inputs are not permitted" in answer.json()["error"]


def test_no_part_of_a_request_takes_unknown_fields() -> None:
    """Neither do the objects within its lists."""
    schemas, seen = document()["components"]["schemas"], set[str]()

    def names(schema: Any) -> Iterator[str]:
        if isinstance(schema, dict):
            if reference := schema.get("$ref"):
                yield reference.rpartition("/")[2]
            for value in schema.values():
                yield from names(value)
        elif isinstance(schema, list):
            for value in schema:
                yield from names(value)

    waiting = [name for one in with_bodies() for name in names(operation(*one)["requestBody"])]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += names(schemas[name])
    objects = {name for name in seen if schemas[name]["type"] == "object"}
    assert {"ItemRequest", "Deployment", "SentOutcome"} <= objects
    assert {name for name in objects if schemas[name].get("additionalProperties") is not False} == set()
