"""Who asks, and who is asked: neither is believed for the port or the place that it has."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hostile_serinus import Attacked, fresh, shared
from servers import ServerThread

from serinus.core.home import FORMAT, Home

NOT_LET_IN = [
    pytest.param({}, id="nothing"),
    pytest.param({"authorization": "Bearer guess"}, id="a wrong token"),
    pytest.param({"authorization": "Basic c2VyaW51czpndWVzcw=="}, id="a wrong password"),
    pytest.param({"authorization": "Basic !!!"}, id="no base64"),
    pytest.param({"authorization": "Bearer"}, id="an empty token"),
    pytest.param({"x-forwarded-user": "admin", "x-forwarded-for": "127.0.0.1"}, id="claims"),
]


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("headers", NOT_LET_IN)
def test_without_credentials_nobody_reads_or_registers_in_mlflow(serinus: Attacked, headers: dict[str, str]) -> None:
    before = _models(serinus)
    with httpx.Client(base_url=serinus.addresses.mlflow, headers=headers, timeout=20, trust_env=False) as client:
        name = fresh("nobody")
        asked = [
            client.get("/api/2.0/mlflow/registered-models/search"),
            client.get("/ajax-api/2.0/mlflow/registered-models/search"),
            client.post("/api/2.0/mlflow/registered-models/create", json={"name": name}),
            client.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}),
            client.get("/api/2.0/mlflow-artifacts/artifacts"),
            client.put("/api/2.0/mlflow-artifacts/artifacts/x/y", content=b"x"),
            client.post("/graphql", json={"query": "{__typename}"}),
            client.get("/get-artifact?path=x&run_uuid=y"),
            client.post("/api/2.0/mlflow/registered-models/alias", json={"name": "x", "alias": "champion"}),
            client.post("//api/2.0/mlflow/registered-models/create", json={"name": name}),
            client.get("/health/../api/2.0/mlflow/registered-models/search"),
        ]
    assert [answer.status_code for answer in asked] == [401] * len(asked)
    assert _models(serinus) == before


def _models(serinus: Attacked) -> set[str]:
    return {model.name for model in serinus.mlflow.search_registered_models()}


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("headers", NOT_LET_IN)
def test_without_a_token_nobody_deploys_by_the_api(serinus: Attacked, headers: dict[str, str]) -> None:
    with httpx.Client(base_url=serinus.addresses.api, headers=headers, timeout=20, trust_env=False) as client:
        asked = [
            client.get("/v1/status"),
            client.get("/v1/events"),
            client.get("/v1/logs?process=control"),
            client.post("/v1/deployments", json={"ref": "x@1", "why": "x"}),
            client.post("/v1/tokens", json={"name": "x", "access": "admin"}),
            client.get("/metrics"),
        ]
    assert [answer.status_code for answer in asked] == [401] * len(asked)


class _Listens(http.server.BaseHTTPRequestHandler):
    """Stands where a stopped Serinus was."""

    def _answer(self) -> None:
        self.server.seen.append(str(self.headers))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listening() -> Iterator[Any]:
    with ServerThread(http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Listens)) as server:
        server.seen = []  # type: ignore[attr-defined]
        yield server


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["deploy", "card@1"],
        ["token", "create", "x", "--access", "admin"],
        ["events"],
        ["rollback", "card", "--yes"],
        ["predict", "card", "rows.json"],
    ],
)
def test_whoever_holds_the_ports_of_a_stopped_home_is_sent_nothing(
    tmp_path: Path, listening: Any, words: list[str]
) -> None:
    home = Home(tmp_path / "home")
    for directory in home.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = listening.server_port
    ports = {"api": port, "envoy": port, "mlflow": port}
    home.settings.write_text(json.dumps({"format": FORMAT, "listen": "127.0.0.1", "ports": ports}))
    home.token.write_text("srn_secret")
    (tmp_path / "rows.json").write_text('{"inputs": []}')
    own = {name: value for name, value in os.environ.items() if name != "SERINUS_TOKEN"}
    program = Path(sys.executable).with_name("serinus")
    done = subprocess.run(
        [program, *words, "--home", home.path], capture_output=True, env=own, cwd=tmp_path, timeout=60, check=False
    )
    assert done.returncode != 0
    assert b"srn_secret" not in done.stdout + done.stderr
    assert listening.seen == []


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_champion_set_in_mlflow_by_hand_does_not_change_what_runs(serinus: Attacked) -> None:
    model = fresh("alias")
    first = serinus.promoted(serinus.register(model, {}, shared()))
    version = serinus.register(model, {"data": "other"}, shared()).partition("@")[2]
    policy = serinus.api.put(f"/v1/models/{model}/policy", json={"approval": "required", "why": "x"})
    policy.raise_for_status()
    for alias in ("champion", "challenger"):
        serinus.mlflow.set_registered_model_alias(model, alias, version)
    until = time.monotonic() + 15
    while time.monotonic() < until:
        assert serinus.champion(model) == first
        rollouts = serinus.api.get("/v1/rollouts", params={"model": model, "limit": 1}).json()
        if rollouts and rollouts[0]["status"]["phase"] == "approval":
            break
        time.sleep(0.5)
    assert rollouts[0]["status"]["phase"] == "approval", rollouts[0]["status"]
    assert serinus.champion(model) == first
