"""The API on its port over TLS, beside the home's own socket, and the command line that asks it from elsewhere."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from identities import Authority, Identity, shown_serial
from small_fleet import Installation, make_home

from serinus.api.local import listening
from serinus.api.server import Server
from serinus.cli.app import run
from serinus.lib.servers import checking_peers, handshakes
from serinus.targets.local.supervisor import certificates, tls
from serinus.wiring.renewal import Renewal

Serinus = Callable[..., tuple[int, str, str]]


class Served:
    """An installation whose API has a certificate, and the operator's files of it."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        self.authority, self.directory = authority, directory
        self.installation = Installation(make_home(directory / "h"))
        home = self.installation.home
        home.sockets.mkdir(mode=0o700, exist_ok=True)
        self.installation.home.token.write_text(self.installation.token("admin"))
        cert, key = authority.issue().written(directory)
        self.files = tls.Files(Path(cert), Path(key))
        tls.keep(home, certificates.read(self.files, datetime.now(UTC)))
        self._context = tls.ServerContext(home)
        self.renewal = Renewal(home, self.files, self._context)
        self.trusting = ssl.create_default_context(cadata=authority.pem.decode())

    def start(self) -> None:
        home = self.installation.home
        self._port = socket.socket()
        self._port.bind(("127.0.0.1", 0))
        self._port.listen(64)
        self.port = self._port.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        app = self.installation.app(f"127.0.0.1:{self.port}")
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        self._local = listening(home.api_socket)
        self.server = Server(checking_peers(config), self._port, self._local.__enter__(), self._context.context)
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        while not self.server.started:
            assert self._thread.is_alive()
            self._thread.join(0.01)

    def renew(self, identity: Identity) -> None:
        identity.written(self.directory)
        self.renewal.look()

    def serial(self) -> int:
        """Of the certificate that a new connection is shown."""
        return shown_serial(self.port, self.trusting)

    def close(self) -> None:
        self.server.should_exit = True
        self._thread.join(10)
        self._local.__exit__(None, None, None)
        self._port.close()
        self.installation.close()


@pytest.fixture
def served(tmp_path: Path, authority: Authority) -> Iterator[Served]:
    made = Served(tmp_path, authority)
    (made.installation.home.envoy / "xds").mkdir(mode=0o700, parents=True)
    made.start()
    yield made
    made.close()


@pytest.fixture
def serinus(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Serinus:
    for name in ("SERINUS_HOME", "SERINUS_SERVER", "SERINUS_TOKEN", "SERINUS_CA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        return code, *capfd.readouterr()

    return call


def test_the_port_speaks_tls_alone_and_the_homes_own_socket_does_not(served: Served) -> None:
    assert httpx.get(f"{served.url}/healthz", verify=served.trusting).status_code == 200
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{served.port}/healthz")
    transport = httpx.HTTPTransport(uds=str(served.installation.home.api_socket))
    with httpx.Client(transport=transport) as local:
        assert local.get(f"http://127.0.0.1:{served.port}/healthz").status_code == 200


def test_a_session_opened_over_tls_is_never_sent_without(served: Served) -> None:
    sent = {"token": served.installation.home.token.read_text()}
    answer = httpx.post(f"{served.url}/v1/session", json=sent, verify=served.trusting)
    assert "secure" in answer.headers["set-cookie"].lower()


def test_a_connection_that_never_shakes_hands_is_closed(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert handshakes.SECONDS <= 10
    monkeypatch.setattr(handshakes, "SECONDS", 0.2)
    served = Served(tmp_path, authority)
    served.start()
    try:
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as silent:
            assert silent.recv(1) == b""
    finally:
        served.close()


def test_a_source_that_begins_many_handshakes_loses_its_own_and_others_are_answered(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "SECONDS", 60.0)
    monkeypatch.setattr(handshakes.Handshakes.__init__, "__defaults__", (8,))
    served = Served(tmp_path, authority)
    served.start()
    try:
        with ExitStack() as stack:
            where = ("127.0.0.1", served.port)
            other = stack.enter_context(socket.create_connection(where, timeout=5, source_address=("127.0.0.2", 0)))
            silent = [stack.enter_context(socket.create_connection(where, timeout=5)) for _ in range(30)]
            assert httpx.get(f"{served.url}/healthz", verify=served.trusting).status_code == 200
            assert silent[0].recv(1) == b""
            with served.trusting.wrap_socket(other, server_hostname="localhost") as late:
                late.sendall(f"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:{served.port}\r\n\r\n".encode())
                assert late.recv(12) == b"HTTP/1.1 200"
    finally:
        served.close()


def test_connections_that_have_shaken_hands_or_ended_take_no_place(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes.Handshakes.__init__, "__defaults__", (4,))
    served = Served(tmp_path, authority)
    served.start()
    try:
        with ExitStack() as stack:
            clients = [
                stack.enter_context(httpx.Client(base_url=served.url, verify=served.trusting)) for _ in range(12)
            ]
            for _ in range(2):
                assert {client.get("/healthz").status_code for client in clients} == {200}
            for _ in range(12):
                socket.create_connection(("127.0.0.1", served.port), timeout=5).close()
            assert {client.get("/healthz").status_code for client in clients} == {200}
    finally:
        served.close()


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_a_renewed_certificate_is_shown_to_new_connections_and_open_ones_go_on(
    served: Served, authority: Authority, kind: str
) -> None:
    with httpx.Client(base_url=served.url, verify=served.trusting) as kept:
        assert kept.get("/healthz").status_code == 200
        for turn in range(3):
            key = rsa.generate_private_key(65537, 2048) if kind == "rsa" and turn % 2 == 0 else None
            renewed = authority.issue(key=key)
            served.renew(renewed)
            assert served.serial() == renewed.serial
            assert kept.get("/healthz").status_code == 200
    # Envoy is given the same.
    secret = (served.installation.home.envoy / "xds" / "server.json").read_text()
    assert renewed.key_pem().decode() in json.loads(secret)["resources"][0]["tls_certificate"]["private_key"].values()
    assert served.renewal.warnings() == []


def test_a_renewal_that_is_wrong_changes_nothing_is_told_and_is_tried_again(
    served: Served, authority: Authority
) -> None:
    before, renewed = served.serial(), authority.issue()
    served.files.cert.write_bytes(renewed.pem)  # and not yet its key
    served.renewal.look()
    assert served.serial() == before
    [said] = served.renewal.warnings()
    assert said.startswith("the TLS certificate is not renewed: --tls-key")
    served.files.key.write_bytes(renewed.key_pem())
    served.renewal.look()
    assert served.serial() == renewed.serial
    assert served.renewal.warnings() == []
    served.files.key.unlink()
    served.renewal.look()
    assert "cannot be read" in served.renewal.warnings()[0]
    assert served.serial() == renewed.serial


def test_a_control_process_that_starts_over_wrong_files_serves_what_it_kept(served: Served) -> None:
    served.files.key.write_text("no key")
    home = served.installation.home
    again = Renewal(home, served.files, tls.ServerContext(home))
    again.look()
    assert "not renewed" in again.warnings()[0]


# --- the command line --------------------------------------------------------------------------------------


def test_another_server_is_trusted_by_its_authority_alone(
    served: Served, authority: Authority, serinus: Serinus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SERINUS_TOKEN", served.installation.home.token.read_text())
    code, _, said = serinus("--server", served.url, "status", "--json")
    assert code == 1
    assert "its certificate is not trusted" in json.loads(said)["error"]
    assert "--ca FILE" in json.loads(said)["hint"]
    good, bad = authority.written(tmp_path / "ca.pem"), Authority("other").written(tmp_path / "other.pem")
    for words in (("--ca", good, "status"), ("status", "--ca", good)):
        assert serinus("--server", served.url, *words)[0] == 0
    assert "is not trusted" in serinus("--server", served.url, "--ca", bad, "status")[2]
    monkeypatch.setenv("SERINUS_CA", good)
    assert serinus("--server", served.url, "status")[0] == 0


def test_a_file_of_authorities_that_is_none_is_refused(serinus: Serinus, tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("none")
    for path, why in ((tmp_path / "none.pem", "no certificate in PEM"), (tmp_path / "gone.pem", "No such file")):
        code, _, said = serinus("--server", "https://127.0.0.1:1", "--ca", str(path), "status")
        assert code == 2
        assert why in said
