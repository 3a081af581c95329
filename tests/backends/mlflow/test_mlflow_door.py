"""The door of the bundled MLflow server: who is let in, and to what."""

from __future__ import annotations

import base64
import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_fleet import Installation, serving

from serinus.backends.mlflow import MlflowRegistry, server
from serinus.backends.mlflow import client as mlflow_client
from serinus.core.home import Home
from serinus.core.people import Access

READ = "/api/2.0/mlflow/registered-models/search"
BASIC = "Basic " + base64.b64encode(b"serinus:of-the-tests").decode()


def status(
    uri: str, path: str, authorization: str | None = None, method: str = "GET", body: bytes | None = None, **more: str
) -> int:
    headers = {"Content-Type": "application/json", **more} | ({"Authorization": authorization} if authorization else {})
    request = urllib.request.Request(f"{uri}{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", READ),
        ("GET", "/ajax-api/2.0/mlflow/registered-models/search"),
        ("GET", "/api/2.0/mlflow/experiments/search?max_results=1"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts?path="),
        ("GET", "/get-artifact?path=x&run_uuid=x"),
        ("GET", "/version"),
        ("GET", "/"),
        ("GET", "/health/../api/2.0/mlflow/registered-models/search"),
        ("GET", "//health"),
        ("GET", "/health/"),
        ("GET", "/%68ealth/x"),
        ("GET", "/docs"),
        ("OPTIONS", READ),
        ("POST", "/api/2.0/mlflow/registered-models/create"),
        ("POST", "/api/2.0/mlflow/registered-models/alias"),
        ("POST", "/graphql"),
        ("POST", "/v1/traces"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/strange.txt"),
        ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/0"),
    ],
)
def test_without_credentials_every_path_of_the_server_is_refused(mlflow_server: Any, method: str, path: str) -> None:
    body = b'{"name": "strange"}' if method in ("POST", "PUT") else None
    assert status(mlflow_server.uri, path, None, method, body) == 401
    assert status(mlflow_server.uri, path, "Bearer of-the-test", method, body) == 401
    assert not (mlflow_server.directory / "artifacts" / "0" / "strange.txt").exists()


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (BASIC, 200),
        ("bearer of-the-tests", 200),
        ("Bearer ", 401),
        ("Bearer", 401),
        ("Basic of-the-tests", 401),
        ("Basic " + base64.b64encode(b"admin:of-the-tests").decode(), 401),
        ("Basic " + base64.b64encode(b"serinus:").decode(), 401),
        ("Bearer of-the-tests of-the-tests", 401),
        ("Digest of-the-tests", 401),
    ],
)
def test_only_the_password_of_the_server_is_let_in(mlflow_server: Any, authorization: str, expected: int) -> None:
    assert status(mlflow_server.uri, READ, authorization) == expected


def test_two_headers_with_credentials_are_refused(mlflow_server: Any) -> None:
    lines = [f"GET {READ} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: {BASIC}", "Authorization: Bearer x", "", ""]
    with socket.create_connection(("127.0.0.1", mlflow_server.port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        assert b" 401 " in connection.recv(4096).partition(b"\r\n")[0]


def test_the_body_of_a_stranger_is_not_waited_for(mlflow_server: Any) -> None:
    lines = ["PUT /api/2.0/mlflow-artifacts/artifacts/0/a HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 9999", "", ""]
    with socket.create_connection(("127.0.0.1", mlflow_server.port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        assert b" 401 " in connection.recv(4096).partition(b"\r\n")[0]


def test_mlflows_client_says_what_is_missing_and_is_let_in_by_a_token(
    mlflow_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    monkeypatch.setenv("HOME", str(tmp_path))  # without credentials of whoever runs this
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    client = mlflow_client.connect(mlflow_server.uri)
    with pytest.raises(MlflowException, match=r"mlflow\.env"):
        client.create_registered_model("strange")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "of-the-tests")
    registry = MlflowRegistry(mlflow_server.uri, tmp_path / "artifacts")
    assert "strange" not in registry.aliases()
    assert (tmp_path / "artifacts" / registry.fetch(registry.find("card-fraud", "1")).digest).is_dir(), (
        "artifacts as well"
    )


def test_credentials_of_a_teams_server_come_from_mlflows_own_file(
    mlflow_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    (tmp_path / ".mlflow").mkdir()
    lines = ["[mlflow]", "mlflow_tracking_username = serinus", "mlflow_tracking_password = of-the-tests"]
    (tmp_path / ".mlflow" / "credentials").write_text("\n".join(lines))
    assert "card-fraud" in MlflowRegistry(mlflow_server.uri, tmp_path / "artifacts").aliases()


def test_a_server_without_a_password_does_not_start(tmp_path: Path) -> None:
    Home(tmp_path).mlflow_password.write_text("\n")
    command = server.command(Home(tmp_path), 1)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "no password" in ended.stderr


# --- Serinus tokens ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installation(mlflow_server: Any) -> Iterator[Installation]:
    """The API of the same home, on its socket, with the real store of tokens."""
    made = Installation(mlflow_server.home)
    with serving(made):
        yield made
    made.close()


CREATE = "/api/2.0/mlflow/registered-models/create"


def as_password(token: str) -> str:
    """As a browser sends it, whatever user name was typed."""
    return "Basic " + base64.b64encode(f"anybody:{token}".encode()).decode()


def test_a_serinus_token_opens_what_its_role_allows(mlflow_server: Any, installation: Installation) -> None:
    reads, writes = installation.token("reader", Access.VIEW), installation.token("writer", Access.DEPLOY)
    search = b'{"experiment_ids": ["0"], "max_results": 1}'
    for authorization in (f"Bearer {reads}", as_password(reads), f"Bearer {writes}"):
        assert status(mlflow_server.uri, READ, authorization) == 200
        assert status(mlflow_server.uri, "/api/2.0/mlflow/runs/search", authorization, "POST", search) == 200
    refused = [
        ("POST", CREATE, b'{"name": "by-a-reader"}'),
        ("POST", "/api/2.0/mlflow/registered-models/alias", b'{"name":"constant","alias":"challenger","version":"1"}'),
        ("DELETE", "/api/2.0/mlflow/registered-models/delete", b'{"name": "constant"}'),
        ("PATCH", "/api/2.0/mlflow/registered-models/update", b'{"name": "constant", "description": "x"}'),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/by-a-reader.txt", b"x"),
        ("POST", "/api/2.0/mlflow/runs/searching", b"{}"),
        ("POST", "/api/2.0/mlflow/experiments/create/search", b"{}"),
    ]
    for method, path, body in refused:
        assert status(mlflow_server.uri, path, f"Bearer {reads}", method, body) == 403, path
    assert status(mlflow_server.uri, CREATE, f"Bearer {writes}", "POST", b'{"name": "by-a-writer"}') == 200
    names = set(MlflowRegistry(mlflow_server.uri, Path("unused")).aliases())
    assert "by-a-writer" in names
    assert "by-a-reader" not in names


def test_a_revoked_token_opens_nothing_within_seconds(mlflow_server: Any, installation: Installation) -> None:
    authorization = f"Bearer {installation.token('leaver', Access.DEPLOY)}"
    assert status(mlflow_server.uri, READ, authorization) == 200
    installation.store.revoke_token("leaver", installation.clock.now())
    end = time.monotonic() + 10
    while status(mlflow_server.uri, READ, authorization) != 401:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_key_of_a_caller_of_models_is_no_token(mlflow_server: Any, installation: Installation) -> None:
    key = installation.store.issue_token("shop", Access.VIEW, installation.clock.now(), plane="data")
    assert status(mlflow_server.uri, READ, f"Bearer {key}") == 401
    assert status(mlflow_server.uri, READ, "Bearer srn_unknown") == 401


def test_mlflows_client_works_with_a_serinus_token(
    mlflow_server: Any, installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", installation.token("viewer", Access.VIEW))
    registry = MlflowRegistry(mlflow_server.uri, tmp_path / "artifacts")
    ref = registry.find("card-fraud", "1")
    assert (tmp_path / "artifacts" / registry.fetch(ref).digest).is_dir()
    assert registry.run_file(ref, "evaluation.csv") is not None
    with pytest.raises(MlflowException, match="the role view"):
        mlflow_client.connect(mlflow_server.uri).create_registered_model("by-a-viewer")


def test_a_token_that_nobody_can_check_is_refused_for_now(tmp_path: Path) -> None:
    """No API listens on that socket."""
    import asyncio

    from serinus.backends.mlflow.people import People
    from serinus.core.errors import Unavailable

    people = People("secret", tmp_path / "none.sock")
    assert asyncio.run(people.who([b"Bearer secret"])) is not None
    with pytest.raises(Unavailable, match="whose token"):
        asyncio.run(people.who([b"Bearer srn_x"]))


# --- pages in a browser, and what the server does not do ---------------------------------------------------


@pytest.mark.parametrize("origin", ["http://127.0.0.1:9", "http://localhost:3000", "http://evil.example", "null"])
@pytest.mark.parametrize("path", [READ, CREATE, "/", "/get-artifact?path=x&run_uuid=x"])
def test_a_page_of_another_origin_cannot_use_what_a_browser_remembers(
    mlflow_server: Any, origin: str, path: str
) -> None:
    method, body = ("POST", b'{"name": "by-a-page"}') if path == CREATE else ("GET", None)
    assert status(mlflow_server.uri, path, BASIC, method, body, Origin=origin) == 403


def test_the_servers_own_page_works(mlflow_server: Any) -> None:
    assert status(mlflow_server.uri, "/", BASIC) == 200
    body = b'{"experiment_ids": ["0"], "max_results": 1}'
    search = "/ajax-api/2.0/mlflow/runs/search"
    assert status(mlflow_server.uri, search, BASIC, "POST", body, Origin=mlflow_server.uri) == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/ajax-api/3.0/mlflow/assistant/message"),
        ("GET", "/ajax-api/3.0/mlflow/assistant/config"),
        ("POST", "/api/2.0/mlflow/webhooks"),
        ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid=x&path=y"),
        ("GET", "/ajax-api/2.0/mlflow/gateway-proxy"),
        ("POST", "/gateway/x/mlflow/invocations"),
        ("POST", "/api/3.0/mlflow/gateway/secrets/create"),
        ("POST", "/ajax-api/3.0/mlflow/jobs/"),
        ("POST", "/ajax-api/3.0/mlflow/genai/evaluate/invoke"),
        ("GET", "//api/2.0/mlflow/registered-models/search"),
    ],
)
def test_what_serinus_does_not_need_of_mlflow_is_closed_to_everybody(
    mlflow_server: Any, method: str, path: str
) -> None:
    assert status(mlflow_server.uri, path, BASIC, method, b"{}" if method == "POST" else None) == 404


def test_artifacts_at_a_place_that_a_client_chose_are_neither_read_nor_written(mlflow_server: Any) -> None:
    """An experiment's place is the client's choice; the server would open it as the user that Serinus runs as."""
    client, secret = mlflow_client.connect(mlflow_server.uri), mlflow_server.home.mlflow_password
    for number, place in enumerate((f"file://{secret.parent}", str(secret.parent), f"{secret.parent}/mlflow")):
        experiment = client.create_experiment(f"elsewhere-{number}", artifact_location=place)
        run = client.create_run(experiment).info.run_id
        for _ in range(2):
            name = secret.name if number < 2 else "mlflow.db"
            assert status(mlflow_server.uri, f"/get-artifact?path={name}&run_uuid={run}", BASIC) in (400, 500)
        listed = f"/api/2.0/mlflow/artifacts/list?run_id={run}"
        assert status(mlflow_server.uri, listed, BASIC) == 400


CONFINED = """
import socket, sys
from pathlib import Path
from serinus.backends.mlflow.own_files import confine_to

own, other, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
confine_to(own)
def tried(what):
    try:
        what()
    except PermissionError:
        return "no"
    return "yes"
print(tried(lambda: (own / "a").write_text("a")), tried((own / "a").read_text), tried(other.read_text),
      tried(lambda: other.write_text("b")), tried(lambda: socket.create_connection(("127.0.0.1", port))),
      tried(lambda: __import__("csv")))
"""


def test_the_server_reads_and_writes_its_own_directory_and_connects_to_nobody(
    mlflow_server: Any, tmp_path: Path
) -> None:
    assert "NoNewPrivs:\t1" in Path(f"/proc/{mlflow_server.process.pid}/status").read_text(), "it is confined"
    (tmp_path / "own").mkdir()
    (tmp_path / "token").write_text("a")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        words = [str(tmp_path / "own"), str(tmp_path / "token"), str(listener.getsockname()[1])]
        done = subprocess.run([sys.executable, "-c", CONFINED, *words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["yes", "yes", "no", "no", "no", "yes"]
    assert (tmp_path / "token").read_text() == "a"


@pytest.mark.parametrize(
    "said", [b"", b"GET / HTTP/1.1\r\n", b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"]
)
def test_a_connection_that_asks_nothing_is_closed_within_seconds(mlflow_server: Any, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", mlflow_server.port), timeout=20) as connection:
        connection.sendall(said)
        answered = b""
        with contextlib.suppress(ConnectionResetError):
            while more := connection.recv(4096):  # raises TimeoutError where it stays open
                answered += more
    assert not answered.startswith(b"HTTP/1.1 2")
