from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import answers
import pytest

with warnings.catch_warnings():  # it would rather use a successor of httpx that is not needed otherwise
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient


from small_fleet import Installation, make_home

from serinus.core.people import Access

HOST = "serinus.test"


@pytest.fixture(autouse=True)
def _described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer that a test gets is one that the OpenAPI document describes."""
    send = TestClient.send

    def checked(client: TestClient, request: Any, **how: Any) -> Any:
        answer = send(client, request, **how)
        answer.read()
        answers.check(answer)
        return answer

    monkeypatch.setattr(TestClient, "send", checked)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(make_home(tmp_path / "home"))
    yield made
    made.close()


@pytest.fixture
def anonymous(installation: Installation) -> Iterator[TestClient]:
    with TestClient(installation.app(HOST), base_url=f"http://{HOST}") as client:
        yield client


@pytest.fixture
def as_role(installation: Installation) -> Iterator[Callable[[Access], TestClient]]:
    """A client whose token has that role; its name is the role's."""
    clients: list[TestClient] = []

    def client(access: Access) -> TestClient:
        headers = {"Authorization": f"Bearer {installation.token(access.value, access)}"}
        clients.append(TestClient(installation.app(HOST), base_url=f"http://{HOST}", headers=headers))
        return clients[-1]

    yield client
    for one in clients:
        one.close()


@pytest.fixture
def client(as_role: Callable[[Access], TestClient]) -> TestClient:
    """An admin's."""
    return as_role(Access.ADMIN)
