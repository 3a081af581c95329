"""The command line and the API of the same home find each other by a socket that nobody else can stand in for."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from cli_harness import Proxy, Serinus
from servers import ServerThread
from small_fleet import Installation, make_home, serving

from serinus.cli.local import LocalTransport, connected
from serinus.core.people import Access
from serinus.lib.servers import may_connect
from serinus.targets.local.supervisor import settings as chosen

NOBODY = 65534


@contextmanager
def somebody_else(address: str | Path) -> Iterator[list[str]]:
    """A server at a port or a path, and the lines that it was sent."""
    sent: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent.extend([self.requestline, *map(str, self.headers.items())])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def address_string(self) -> str:
            return "somebody"

        def log_message(self, *_: object) -> None:
            """Nothing: a test's output is its own."""

    class Server(http.server.HTTPServer):
        address_family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET

        def server_bind(self) -> None:
            self.socket.bind(self.server_address)

    where = str(address) if isinstance(address, Path) else ("127.0.0.1", int(address))
    with ServerThread(Server(where, Handler)):  # type: ignore[arg-type]  # a path, for a Unix socket
        yield sent


@pytest.mark.parametrize("by_environment", [False, True])
def test_who_holds_the_port_of_a_stopped_home_is_sent_nothing(
    tmp_path: Path, serinus: Serinus, monkeypatch: pytest.MonkeyPatch, by_environment: bool
) -> None:
    made = Installation(make_home(tmp_path / ".serinus"))
    made.home.token.write_text(made.token("admin"))
    if by_environment:
        monkeypatch.setenv("SERINUS_TOKEN", made.home.token.read_text())
    with serving(made) as address:
        port = address.rpartition(":")[2]
        chosen.save(made.home, chosen.Settings(ports={"api": int(port), "envoy": 1, "mlflow": 2}))
        assert serinus("status").code == 0
    with somebody_else(port) as sent:
        said = serinus("status", "--json")
    made.close()
    assert sent == []
    assert said.code == 1
    assert "Serinus is not running in" in json.loads(said.err)["error"]


def test_rows_and_keys_are_not_sent_to_a_port_that_no_envoy_of_the_home_holds(
    installation: Installation, serinus: Serinus, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERINUS_API_KEY", "k")
    words = ("predict", "card-fraud", "--row", '{"amount": 1.0}')
    assert serinus(*words).code == 0
    assert len(proxy.asked) == 1
    (installation.home.run / "envoy.json").unlink()
    said = serinus(*words)
    assert said.code == 1
    assert "Serinus is not running" in said.err
    assert len(proxy.asked) == 1


def test_a_socket_of_another_user_is_sent_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the directory of sockets was made by somebody else after a reboot."""
    path = tmp_path / "api.sock"
    with somebody_else(path) as sent:
        transport = LocalTransport(path)
        request = httpx.Request("GET", "http://serinus/v1/status", headers={"Authorization": "Bearer x"})
        assert transport.handle_request(request).status_code == 200
        assert any("Bearer x" in line for line in sent)
        sent.clear()
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)  # this process as another user sees it
        with pytest.raises(httpx.ConnectError, match="a process of user"):
            transport.handle_request(request)
    assert sent == []


def test_the_api_is_asked_over_the_socket_by_the_homes_token(installation: Installation, serinus: Serinus) -> None:
    assert installation.home.api_socket.stat().st_mode & 0o777 == 0o600
    assert serinus("token", "create", "bob", "--access", "view").code == 0
    entry = next(entry for entry in installation.store.audit_trail() if entry.what == "issue-token")
    assert (entry.who, entry.origin) == ("admin", "local socket")


def test_the_socket_alone_lets_nobody_in(installation: Installation, serinus: Serinus) -> None:
    """What a model's code connects to without the token, which it cannot read, tells it nothing."""
    installation.home.token.unlink()
    said = serinus("status")
    assert said.code == 1
    assert "this request needs a valid token" in said.err


def test_a_token_of_the_environment_counts_on_the_socket_too(
    installation: Installation, serinus: Serinus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERINUS_TOKEN", installation.token("bob", Access.VIEW))
    said = serinus("token", "list")
    assert said.code == 1
    assert "the token bob has the role view" in said.err


def test_connections_of_other_users_are_refused_by_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket() as tcp:
        assert may_connect(ours)
        assert may_connect(tcp), "there the token decides"
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
        assert may_connect(ours) == (os.getuid() == 0), "root may"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
@pytest.mark.parametrize("user", [0, NOBODY])
def test_a_process_of_another_user_is_not_answered_even_where_the_mode_lets_it(
    installation: Installation, user: int
) -> None:
    installation.home.api_socket.chmod(0o666)
    installation.home.sockets.chmod(0o711)
    host = installation.addresses["api"].removeprefix("http://")
    code = f"""
import os, socket
os.setgroups([]); os.setgid({user}); os.setuid({user})
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
s.connect("api.sock")
try:
    s.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n")
    print(s.recv(100)[:15])
except OSError:
    print(b"")
"""
    words = [sys.executable, "-P", "-c", code]
    where = installation.home.sockets  # from within: the directories above are closed to it
    done = subprocess.run(words, cwd=where, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert ("HTTP/1.1 200" in done.stdout) == (user == 0)


def test_a_socket_that_nobody_listens_on_any_more_is_told_and_then_taken_over(tmp_path: Path) -> None:
    made = Installation(make_home(tmp_path / ".serinus"))
    made.home.sockets.mkdir()
    with socket.socket(socket.AF_UNIX) as left:  # by a process that was killed
        left.bind(str(made.home.api_socket))
    with pytest.raises(ConnectionRefusedError):
        connected(made.home.api_socket)
    with serving(made):
        connected(made.home.api_socket).close()
    made.close()
    assert not made.home.api_socket.exists()
