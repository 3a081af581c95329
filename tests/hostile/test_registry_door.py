"""The bundled MLflow for somebody without credentials, or with a role; and connections that ask nothing."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hostile_serinus import Attacked, Shell, fresh

pytestmark = pytest.mark.long

API = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


def ask(serinus: Attacked, method: str, path: str, token: str | None = None, **request: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=serinus.addresses.mlflow, timeout=20, trust_env=False) as client:
        return client.request(method, path, headers=headers, **request)


def test_without_credentials_nothing_is_read_registered_or_deployed(serinus: Attacked) -> None:
    ref = serinus.register(fresh("victim"))
    name, _, version = ref.partition("@")
    alias = {"name": name, "alias": "challenger", "version": version}
    for method, path, request in (
        ("GET", f"{API}/registered-models/search", {}),
        ("GET", f"{FILES}?path=", {}),
        ("POST", f"{API}/registered-models/create", {"json": {"name": fresh("strange")}}),
        ("POST", f"{API}/registered-models/alias", {"json": alias}),
        ("PUT", f"{FILES}/0/strange", {"content": b"x"}),
    ):
        answer = ask(serinus, method, path, **request)
        assert answer.status_code == 401, path
        assert "mlflow.env" in answer.json()["message"]
    assert not serinus.mlflow.get_registered_model(name).aliases
    assert serinus.api.get("/v1/rollouts", params={"model": name}).json() == []


def test_the_role_view_changes_nothing_and_a_revoked_token_opens_nothing(serinus: Attacked) -> None:
    name, token = serinus.token("view")
    ref = serinus.register(fresh("victim"))
    alias = {"name": ref.partition("@")[0], "alias": "challenger", "version": "1"}
    assert ask(serinus, "GET", f"{API}/registered-models/search", token).status_code == 200
    assert ask(serinus, "POST", f"{API}/registered-models/alias", token, json=alias).status_code == 403
    assert serinus.api.delete(f"/v1/tokens/{name}").is_success
    end = time.monotonic() + 10
    while ask(serinus, "GET", f"{API}/registered-models/search", token).status_code != 401:
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.parametrize("scheme", ["file://", ""])
def test_the_role_deploy_gets_no_file_of_the_home(serinus: Attacked, scheme: str) -> None:
    """By an experiment whose artifacts lie in the home: over MLflow, and as a model that is deployed."""
    _, token = serinus.token("deploy")
    name, place = fresh("home"), f"{scheme}{serinus.home.path}"
    experiment = {"name": name, "artifact_location": place}
    made = ask(serinus, "POST", f"{API}/experiments/create", token, json=experiment).json()["experiment_id"]
    run = ask(serinus, "POST", f"{API}/runs/create", token, json={"experiment_id": made}).json()["run"]["info"]
    there = Path(urlsplit(run["artifact_uri"]).path)
    path = "/".join([".."] * len(there.relative_to(serinus.home.path).parts)) + "/token"
    secret = serinus.home.token.read_text().strip()
    for asked in (path, "token"):
        answer = ask(serinus, "GET", "/get-artifact", token, params={"path": asked, "run_uuid": run["run_id"]})
        assert not answer.is_success
        assert secret not in answer.text
    ask(serinus, "POST", f"{API}/registered-models/create", token, json={"name": name})
    version = {"name": name, "source": f"{run['artifact_uri']}/x", "run_id": run["run_id"]}
    assert ask(serinus, "POST", f"{API}/model-versions/create", token, json=version).is_success
    there.mkdir(parents=True)
    (there / "x").symlink_to(serinus.home.path)
    ended = serinus.attempt(f"{name}@1", token=token)
    assert ended["status"]["phase"] == "aborted"
    assert "not in the MLflow server of Serinus" in ended["status"]["reason"]


def test_a_model_has_no_credentials_for_mlflow(serinus: Attacked, shell: Shell) -> None:
    printed = shell.run(
        "import os\nprint(dict(os.environ))\n"
        "try:\n    print(open('/proc/self/environ').read())\n"
        "except PermissionError:\n    pass  # it is root's, as the process is not dumpable\n"
    )
    assert serinus.home.mlflow_password.read_text().strip() not in printed
    assert "MLFLOW_TRACKING_PASSWORD" not in printed


def test_the_password_is_in_no_log_and_no_argument_or_variable_of_a_process(serinus: Attacked) -> None:
    password = serinus.home.mlflow_password.read_text().strip()
    for log in serinus.home.logs.rglob("*"):
        assert not log.is_file() or password.encode() not in log.read_bytes(), log
    running = {path.stem: json.loads(path.read_text()).get("pid") for path in serinus.home.run.glob("*.json")}
    assert {"control", "mlflow", "host"} <= running.keys()
    for name, pid in running.items():
        if pid:
            assert password.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes(), name
            assert password.encode() not in Path(f"/proc/{pid}/environ").read_bytes(), name


def test_what_up_and_env_print_is_what_a_shell_runs(serinus: Attacked) -> None:
    lines = serinus.said("up").decode().splitlines()
    [source] = [line.strip() for line in lines if line.strip().startswith(". ")]
    assert shlex.split(source) == [".", str(serinus.addresses.mlflow_env)]
    exports = serinus.said("env").decode()
    wanted = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    for script in (source, f"eval {shlex.quote(exports)}"):
        show = " ".join(f'"${name}"' for name in wanted)
        done = subprocess.run(
            ["env", "-i", "bash", "-c", f"{script}\nprintf '%s\\n' {show}"], capture_output=True, text=True, check=True
        )
        password = serinus.home.mlflow_password.read_text().strip()
        assert done.stdout.split() == [serinus.addresses.mlflow, "serinus", password]


@pytest.mark.parametrize("door", ["api", "envoy", "mlflow"])
def test_connections_that_ask_nothing_are_closed_while_others_are_answered(serinus: Attacked, door: str) -> None:
    """Silent ones, half a head, and half a body."""
    address = urlsplit(getattr(serinus.addresses, door))
    health = {"api": "/healthz", "envoy": "/v2/health/live", "mlflow": "/health"}[door]
    said = (b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
    with ExitStack() as held:
        silent = []
        for _ in range(40):
            for words in said:
                connection = socket.create_connection((address.hostname, address.port), timeout=30)
                silent.append(held.enter_context(connection))
                connection.sendall(words)
        assert httpx.get(f"{address.geturl()}{health}", timeout=10, trust_env=False).status_code == 200
        for connection in silent:
            try:
                while connection.recv(4096):
                    pass
            except ConnectionResetError:
                pass
