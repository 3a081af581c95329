"""Whether what was started answers, asked of small servers in the place of the real ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from servers import ServerThread

from serinus.core.errors import Unavailable
from serinus.core.home import Home
from serinus.targets.local.supervisor.checks import Check, Silent, local_checks, silent_models
from serinus.targets.local.supervisor.settings import Settings


class Answers:
    """By path, one server for all."""

    def __init__(self) -> None:
        self.by_path: dict[str, Any] = {}
        handler = type("Handler", (_Handler,), {"answers": self})
        self._server = ServerThread(ThreadingHTTPServer(("127.0.0.1", 0), handler))

    @property
    def settings(self) -> Settings:
        return Settings(dict.fromkeys(("api", "envoy", "mlflow"), self._server.port))

    def close(self) -> None:
        self._server.close()


class _Handler(BaseHTTPRequestHandler):
    answers: Answers

    def do_GET(self) -> None:
        found = self.answers.by_path.get(self.path)
        body = json.dumps(found).encode()
        self.send_response(503 if found is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def answers() -> Iterator[Answers]:
    made = Answers()
    yield made
    made.close()


def mlflow(home: Home, settings: Settings) -> Check:
    return next(check for check in local_checks(home, settings) if check.process == "mlflow")


def test_mlflow_answers_once_the_engine_has_read_it_so_that_the_first_status_does_not_warn(
    home: Home, answers: Answers
) -> None:
    check = mlflow(home, answers.settings)
    steps: list[dict[str, Any]] = [
        {},
        {"/health": "OK"},
        {"/healthz": {"ok": True, "registry": False}},
        {"/healthz": {"ok": True, "registry": True}},
        {"/health": None},
    ]
    seen = []
    for step in steps:
        answers.by_path.update(step)
        seen.append(check.answers())
    assert seen == [False, False, False, True, False]


@pytest.mark.parametrize("strange", [{}, [], "registry", {"registry": 1}])
def test_an_api_that_does_not_say_whether_the_registry_can_be_read_has_not_read_it(
    home: Home, answers: Answers, strange: Any
) -> None:
    answers.by_path.update({"/health": "OK", "/healthz": strange})
    assert not mlflow(home, answers.settings).answers()


def test_a_model_whose_champion_does_not_answer_is_told_and_whether_it_is_still_coming(
    home: Home, answers: Answers
) -> None:
    home.path.mkdir(parents=True, exist_ok=True)
    home.token.write_text("secret\n")

    def model(name: str, placement: str, remarks: str = "") -> dict[str, Any]:
        return {"model": name, "placement": placement, "remarks": remarks}

    states = [("c", "starting"), ("d", "not placed"), ("e", "failed", "ImportError")]
    answers.by_path["/v1/silent-models"] = [model(*state) for state in states]
    assert silent_models(home, answers.settings) == [
        Silent("c", "starting", coming=True),
        Silent("d", "not placed", coming=True),
        Silent("e", "failed: ImportError", coming=False),
    ]
    answers.by_path["/v1/silent-models"] = None
    with pytest.raises(Unavailable):
        silent_models(home, answers.settings)
    home.token.unlink()  # by a person
    with pytest.raises(Unavailable):
        silent_models(home, answers.settings)
