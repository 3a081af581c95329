"""Callers of models over TLS, by a real Envoy and real certificates."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from envoy_harness import Proxy, routing
from identities import Authority, Identity, shown_serial
from tritonclient import grpc as triton
from waiting import wait_until

from serinus.backends.envoy import Certificates, publish
from serinus.cli.app import run
from serinus.lib import processes
from serinus.targets.local.supervisor import settings as chosen
from serinus.targets.local.supervisor import state, tls

CHAMPION = "fraud-1-aaaaaa"


def certificates(identity: Identity, callers: Authority | None = None) -> Certificates:
    return Certificates(identity.pem.decode(), identity.key_pem().decode(), callers and callers.pem.decode())


class TlsProxy(Proxy):
    def __init__(self, directory: Path, authority: Authority, served: Certificates, **settings: object) -> None:
        super().__init__(directory, certificates=served, **settings)
        self.client.close()
        self.url = f"https://127.0.0.1:{self.port}"
        self.trusting = ssl.create_default_context(cadata=authority.pem.decode())
        self.client = httpx.Client(base_url=self.url, verify=self.trusting, timeout=10)

    def serial(self) -> int:
        """Of the certificate that a new connection is shown."""
        return shown_serial(self.port, self.trusting)

    def _answers(self) -> bool:
        try:
            self.serial()
        except OSError:
            return False
        return True


Make = Callable[..., TlsProxy]


@pytest.fixture
def make(tmp_path: Path, authority: Authority) -> Iterator[Make]:
    made: list[TlsProxy] = []

    def running(served: Certificates, **settings: object) -> TlsProxy:
        proxy = TlsProxy(tmp_path / "home", authority, served, **settings)
        made.append(proxy)
        proxy.releases.start(CHAMPION)
        proxy.start()
        proxy.router.apply(routing(proxy.arm(CHAMPION, 10_000)))
        return proxy

    yield running
    for each in made:
        each.close()


def test_both_versions_of_http_and_grpc_are_spoken_over_tls_and_nothing_without(
    make: Make, authority: Authority, tmp_path: Path
) -> None:
    proxy = make(certificates(authority.issue()))
    assert proxy.ask().json()["release"] == CHAMPION
    for version, offered in (("HTTP/1.1", ["http/1.1"]), ("HTTP/2", ["h2"])):
        context = ssl.create_default_context(cadata=authority.pem.decode())
        context.set_alpn_protocols(offered)
        with (
            socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection,
            context.wrap_socket(connection, server_hostname="localhost") as encrypted,
        ):
            assert (version, encrypted.selected_alpn_protocol()) == (version, offered[0])
            assert (encrypted.version() or "") >= "TLSv1.2"
    root = authority.written(tmp_path / "ca.pem")
    with triton.InferenceServerClient(f"localhost:{proxy.port}", ssl=True, root_certificates=root) as client:
        assert client.is_server_live()
        assert client.is_model_ready("fraud")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{proxy.port}/v2/health/live")


@pytest.mark.long
def test_a_connection_that_never_shakes_hands_is_closed(make: Make, authority: Authority) -> None:
    proxy = make(certificates(authority.issue()))
    said = ssl.MemoryBIO()
    half = proxy.trusting.wrap_bio(ssl.MemoryBIO(), said, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    with (
        socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as silent,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as begun,
    ):
        begun.sendall(said.read())
        while begun.recv(65536):  # what the server says in its turn, and no more
            pass
        assert silent.recv(1) == b""


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_of_tls_are_refused(make: Make, authority: Authority) -> None:
    proxy = make(certificates(authority.issue()))
    old = ssl.create_default_context(cadata=authority.pem.decode())
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection,
        pytest.raises(ssl.SSLError),
    ):
        old.wrap_socket(connection, server_hostname="localhost")


def test_the_key_is_in_files_of_the_owner_alone_and_not_told_by_envoy(make: Make, authority: Authority) -> None:
    served = certificates(authority.issue())
    proxy = make(served)
    secret = proxy.home.envoy / "xds" / "server.json"
    assert secret.stat().st_mode & 0o777 == 0o600
    transport = httpx.HTTPTransport(uds=str(proxy.home.sockets / "envoy.sock"))
    with httpx.Client(transport=transport, base_url="http://envoy") as admin:
        dump = admin.get("/config_dump").text
    assert "tls_certificate_sds_secret_configs" in dump
    assert served.key.splitlines()[1] not in dump
    assert served.key.splitlines()[1] not in (proxy.home.envoy / "bootstrap.json").read_text()
    publish(proxy.home, None)
    assert not secret.exists()


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_a_renewed_certificate_is_shown_to_new_callers_and_no_request_is_lost(
    make: Make, authority: Authority, kind: str
) -> None:
    proxy = make(certificates(authority.issue()))
    stop, answered, failed = threading.Event(), [0, 0], []

    def call(number: int) -> None:
        """One keeps its connection; the other makes a new one for each request."""
        while not stop.is_set():
            client = proxy.client if number == 0 else httpx.Client(base_url=proxy.url, verify=proxy.trusting)
            try:
                status = client.post("/v2/models/fraud/infer", json={"inputs": []}).status_code
                answered[number] += 1
                if status != 200:
                    failed.append(str(status))
            except httpx.HTTPError as error:
                failed.append(repr(error))
            finally:
                if client is not proxy.client:
                    client.close()

    def shown(renewed: Identity) -> bool:
        return proxy.serial() == renewed.serial

    def went_on(before: list[int]) -> bool:
        return all(now > then + 5 for now, then in zip(answered, before, strict=True))

    callers = [threading.Thread(target=call, args=(number,)) for number in (0, 1)]
    for caller in callers:
        caller.start()
    try:
        for turn in range(3):
            key = rsa.generate_private_key(65537, 2048) if kind == "rsa" and turn % 2 == 0 else None
            renewed, before = authority.issue(key=key), list(answered)
            publish(proxy.home, certificates(renewed))
            wait_until(partial(shown, renewed))
            wait_until(partial(went_on, before))
    finally:
        stop.set()
        for caller in callers:
            caller.join(20)
    assert failed == []


def test_where_callers_need_a_certificate_only_those_of_the_authority_are_served(
    make: Make, authority: Authority, tmp_path: Path
) -> None:
    proxy = make(certificates(authority.issue(), authority))
    with pytest.raises(httpx.TransportError):
        proxy.ask()
    proxy.trusting.load_cert_chain(*Authority("test authority").issue("mallory").written(tmp_path, "mallory"))
    with (
        httpx.Client(base_url=proxy.url, verify=proxy.trusting) as client,
        pytest.raises(httpx.TransportError),
    ):
        client.get("/v2/health/live")
    proxy.trusting.load_cert_chain(*authority.issue("payments").written(tmp_path, "payments"))
    with httpx.Client(base_url=proxy.url, verify=proxy.trusting) as client:
        sent = {"x-serinus-caller": "somebody-else"}
        told = client.post("/v2/models/fraud/infer", json={"inputs": []}, headers=sent).json()["headers"]
        assert told["x-serinus-caller"] == "CN=payments"


def test_an_authority_that_is_replaced_lets_in_those_of_the_new_one_alone(
    make: Make, authority: Authority, tmp_path: Path
) -> None:
    served, another = authority.issue(), Authority("another")
    proxy = make(certificates(served, authority))

    def is_served(identity: Identity) -> bool:
        context = ssl.create_default_context(cadata=authority.pem.decode())
        context.load_cert_chain(*identity.written(tmp_path, "caller"))
        try:
            return httpx.get(f"{proxy.url}/v2/health/live", verify=context).status_code == 200
        except httpx.TransportError:
            return False

    old, new = authority.issue("old"), another.issue("new")
    assert (is_served(old), is_served(new)) == (True, False)
    publish(proxy.home, certificates(served, another))
    wait_until(lambda: is_served(new))
    assert not is_served(old)


def test_who_shows_an_api_key_is_still_asked_for_it(make: Make, authority: Authority, tmp_path: Path) -> None:
    proxy = make(certificates(authority.issue(), authority), api_keys="required")
    proxy.trusting.load_cert_chain(*authority.issue("payments").written(tmp_path, "payments"))
    with httpx.Client(base_url=proxy.url, verify=proxy.trusting) as client:
        assert client.post("/v2/models/fraud/infer", json={"inputs": []}).status_code == 401
        proxy.router.admit("batch", "k1")
        answer = client.post("/v2/models/fraud/infer", json={"inputs": []}, headers={"x-api-key": "k1"})
        assert answer.status_code == 200
        assert "k1" not in json.dumps(answer.json())
        assert answer.json()["headers"]["x-serinus-caller"] == "batch"


# --- the command line --------------------------------------------------------------------------------------


@pytest.fixture
def local(make: Make, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TlsProxy]:
    """The proxy as the one of a home that `serinus` finds."""
    for name in ("SERINUS_SERVER", "SERINUS_API_KEY", "SERINUS_CA", "SERINUS_CLIENT_CERT", "SERINUS_CLIENT_KEY"):
        monkeypatch.delenv(name, raising=False)

    def running(*, callers: bool = False) -> TlsProxy:
        identity = authority.issue("elsewhere.test")
        proxy = make(certificates(identity, authority if callers else None))
        cert, key = identity.written(tmp_path)
        ports = {"api": 1, "envoy": proxy.port, "mlflow": 2}
        chosen.save(proxy.home, chosen.Settings(ports, listen="127.0.0.1", tls_cert=cert, tls_key=key))
        tls.keep(proxy.home, tls.Material(identity.pem.decode(), identity.key_pem().decode(), None))
        me = processes.look(os.getpid())
        assert me is not None
        state.write(proxy.home, state.ProcessRecord("envoy", state.RUNNING, me.pid, me.identity))
        monkeypatch.setenv("SERINUS_HOME", str(proxy.home.path))
        return proxy

    return running


PREDICT = ("predict", "fraud", "--row", '{"amount": 1.0}', "--json")


def test_predict_and_replay_trust_the_homes_own_certificate(
    local: Callable[..., TlsProxy], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    local()
    assert run(PREDICT) == 0
    assert json.loads(capfd.readouterr().out)["release"] == CHAMPION
    (tmp_path / "rows.csv").write_text("amount\n1.0\n2.0\n")
    assert run(["replay", str(tmp_path / "rows.csv"), "--model", "fraud", "--rate", "100", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["answered"] == 2


def test_predict_sends_nothing_to_who_shows_another_certificate(
    local: Callable[..., TlsProxy], authority: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    proxy = local()
    another = authority.issue("elsewhere.test")
    tls.keep(proxy.home, tls.Material(another.pem.decode(), another.key_pem().decode(), None))
    assert run(PREDICT) == 1
    assert "its certificate is not trusted" in json.loads(capfd.readouterr().err)["error"]
    assert proxy.releases.served == {}


def test_predict_shows_the_certificate_that_the_environment_names(
    local: Callable[..., TlsProxy],
    authority: Authority,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    local(callers=True)
    assert run(PREDICT) == 1
    said = json.loads(capfd.readouterr().err)
    assert "it requires a certificate of its callers" in said["error"]
    assert "SERINUS_CLIENT_CERT" in said["hint"]
    cert, key = authority.issue("anna").written(tmp_path, "anna")
    monkeypatch.setenv("SERINUS_CLIENT_CERT", cert)
    monkeypatch.setenv("SERINUS_CLIENT_KEY", str(tmp_path / "gone.pem"))
    assert run(PREDICT) == 2
    assert "SERINUS_CLIENT_CERT and SERINUS_CLIENT_KEY" in json.loads(capfd.readouterr().err)["error"]
    monkeypatch.setenv("SERINUS_CLIENT_KEY", key)
    assert run(PREDICT) == 0
    assert json.loads(capfd.readouterr().out)["headers"]["x-serinus-caller"] == "CN=anna"
