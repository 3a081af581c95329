"""Who speaks plain HTTP on this machine has no certificate authorities read, and trusts none."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from identities import Authority
from servers import ServerThread

from serinus.backends.envoy.admin import Admin
from serinus.backends.envoy.draining import drain
from serinus.backends.mlflow.people import People
from serinus.cli.client import Client
from serinus.core.errors import SerinusError
from serinus.core.home import Home
from serinus.lib.plain_http import NO_TLS
from serinus.targets.local.supervisor.checks import local_checks, silent_models
from serinus.targets.local.supervisor.settings import Settings

SETTINGS = Settings(dict.fromkeys(("api", "envoy", "mlflow"), 1))


def home(path: Path) -> Home:
    made = Home(path)
    made.token.write_text("t")
    return made


CLIENTS: dict[str, Callable[[Path], object]] = {
    "Envoy's admin interface": lambda path: Admin(str(path / "none")),
    "who drains Envoy": lambda path: drain(str(path / "none")),
    "the registry's door": lambda path: People("password", path / "none"),
    "the command line": lambda path: Client("http://serinus.example:1", "t"),
    "the checks of processes": lambda path: [one.answers() for one in local_checks(home(path), SETTINGS)],
    "who asks for silent models": lambda path: silent_models(home(path), SETTINGS),
}


@pytest.mark.parametrize("client", sorted(CLIENTS))
def test_no_certificate_authorities_are_read(client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *given, **named: read.append(given))
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *given: read.append(given))
    try:
        CLIENTS[client](tmp_path)
    except (httpx.HTTPError, SerinusError):
        """Nobody listens."""
    assert read == []


def test_nobody_is_trusted(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(*Authority().issue().written(tmp_path))
    server.socket = served.wrap_socket(server.socket, server_side=True)
    with ServerThread(server), pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"https://127.0.0.1:{server.server_port}/", verify=NO_TLS, trust_env=False)
