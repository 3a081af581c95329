"""TLS of callers by a mounted Secret, and what the kubelet and Prometheus ask: with a real Envoy."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from envoy_harness import routing
from gateway_harness import Gateway, Gateways, MemoryBoard
from identities import Authority, Identity, shown_serial
from waiting import wait_until

from serinus.backends.envoy import admin_socket, drain
from serinus.core.errors import InvalidInput, Unavailable
from serinus.targets.kubernetes.gateway import certificates
from serinus.targets.kubernetes.gateway.certificates import Renewal
from serinus.targets.kubernetes.gateway.health import Health

CHAMPION = "fraud-1-aaaaaa"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def mount(directory: Path, identity: Identity, authority: Authority | None = None) -> Path:
    """As the kubelet does: a directory of a link, which is replaced."""
    files = {"tls.crt": identity.pem, "tls.key": identity.key_pem()}
    if authority is not None:
        files["ca.crt"] = authority.pem
    data = directory / f"..{identity.serial}"
    data.mkdir(parents=True)
    for name, content in files.items():
        (data / name).write_bytes(content)
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")
    new = directory / "..new"
    new.symlink_to(data.name)
    new.replace(directory / "..data")
    return directory


@pytest.mark.parametrize("callers", [False, True])
def test_a_mounted_secret_is_served_and_one_that_is_renewed_after_it(
    tmp_path: Path, authority: Authority, callers: bool
) -> None:
    first, second = authority.issue(), authority.issue()
    directory = mount(tmp_path / "tls", first, authority if callers else None)
    served = certificates.read(directory, callers=callers)
    gateway = Gateway(tmp_path / "g", "gateway-0", MemoryBoard().of_gateway, certificates=served)
    renewal = Renewal(gateway.home, directory, callers=callers)
    trusting = ssl.create_default_context(cadata=authority.pem.decode())
    if callers:
        trusting.load_cert_chain(*authority.issue("caller").written(tmp_path, "caller"))
    try:
        gateway.start()
        wait_until(lambda: serial(gateway.port, trusting) == first.serial, 20)
        renewal.look()
        mount(directory, second, authority if callers else None)
        renewal.look()
        wait_until(lambda: serial(gateway.port, trusting) == second.serial, 20)
        assert renewal.trouble == ""
    finally:
        gateway.close()


def serial(port: int, trusting: ssl.SSLContext) -> int:
    try:
        return shown_serial(port, trusting)
    except OSError:
        return 0


def test_callers_without_a_certificate_are_refused_where_one_is_needed(tmp_path: Path, authority: Authority) -> None:
    directory = mount(tmp_path / "tls", authority.issue(), authority)
    served = certificates.read(directory, callers=True)
    gateway = Gateway(tmp_path / "g", "gateway-0", MemoryBoard().of_gateway, certificates=served)
    stranger = ssl.create_default_context(cadata=authority.pem.decode())
    known = ssl.create_default_context(cadata=authority.pem.decode())
    known.load_cert_chain(*authority.issue("caller").written(tmp_path, "caller"))
    try:
        gateway.start()
        url = f"https://127.0.0.1:{gateway.port}/v2/health/live"
        wait_until(lambda: serial(gateway.port, known), 20)
        assert httpx.get(url, verify=known).status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(url, verify=stranger)
    finally:
        gateway.close()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tls.crt", None, "There is no tls.crt"),
        ("tls.key", None, "There is no tls.key"),
        ("ca.crt", None, "There is no ca.crt"),
        ("tls.crt", b"no PEM", "no certificate with its key"),
        ("tls.key", b"\xff", "is no PEM"),
        ("ca.crt", b"no PEM", "ca.crt contains no certificate"),
    ],
)
def test_files_that_are_no_certificate_are_named_and_what_is_served_stays(
    tmp_path: Path, authority: Authority, name: str, content: bytes | None, words: str
) -> None:
    gateway = Gateways(tmp_path / "g", number=1)
    try:
        directory = mount(tmp_path / "tls", authority.issue(), authority)
        renewal = Renewal(gateway.all[0].home, directory, callers=True)
        renewal.look()
        before = renewal.served
        (directory / name).unlink()
        if content is not None:
            (directory / name).write_bytes(content)
        with pytest.raises(InvalidInput, match=words):
            certificates.read(directory, callers=True)
        renewal.look()
        assert words in renewal.trouble
        assert before is not None
        assert renewal.served == before
        assert "PRIVATE" not in renewal.trouble
    finally:
        gateway.close()


def test_a_key_of_another_certificate_is_not_served(tmp_path: Path, authority: Authority) -> None:
    directory = mount(tmp_path / "tls", authority.issue())
    (directory / "..data" / "tls.key").write_bytes(authority.issue().key_pem())
    with pytest.raises(InvalidInput, match="no certificate with its key"):
        certificates.read(directory, callers=False)


# --- health -------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(gateways: Gateways) -> Iterator[httpx.Client]:
    """The pages of the first gateway."""
    agent = gateways.all[0].agent
    health = Health("127.0.0.1", 0, ready=agent.ready, live=lambda: "", metrics=agent.metrics)
    health.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{health.port}", timeout=10) as client:
        yield client
    health.close()


def test_a_gateway_is_ready_as_long_as_its_envoy_routes(gateways: Gateways, asked: httpx.Client) -> None:
    assert asked.get("/ready").status_code == 200
    assert asked.get("/live").status_code == 200
    gateways.all[0].kill()
    answer = asked.get("/ready")
    assert (answer.status_code, answer.text) == (503, "Envoy does not answer\n")
    assert asked.get("/live").status_code == 200


def test_prometheus_finds_what_envoy_counts(gateways: Gateways, asked: httpx.Client) -> None:
    gateways.releases.start(CHAMPION)
    gateways.router.apply(routing(gateways.arm(CHAMPION, 10_000)))
    for _ in range(4):
        assert gateways.ask().status_code == 200
    text = asked.get("/metrics").text
    assert f'envoy_cluster_upstream_rq_total{{envoy_cluster_name="{CHAMPION}"}} 2' in text
    gateways.all[0].kill()
    assert asked.get("/metrics").status_code == 503
    assert asked.get("/other").status_code == 404


def test_a_loop_of_the_agent_that_has_ended_is_told(tmp_path: Path) -> None:
    health = Health("::1", 0, ready=lambda: "", live=lambda: "the loop apply has ended", metrics=str)
    health.start()
    try:
        answer = httpx.get(f"http://[::1]:{health.port}/live")
        assert (answer.status_code, answer.text) == (503, "the loop apply has ended\n")
    finally:
        health.close()


# --- leaving ------------------------------------------------------------------------------------------------


def test_a_gateway_that_goes_answers_who_still_comes_and_keeps_nobody(gateways: Gateways) -> None:
    gateways.releases.start(CHAMPION)
    gateways.router.apply(routing(gateways.arm(CHAMPION, 10_000)))
    [going, _] = gateways.all
    leaving = threading.Thread(target=drain, args=(admin_socket(going.home), 1.0))
    leaving.start()
    wait_until(lambda: going.client.post("/v2/models/fraud/infer", json={}).headers.get("connection") == "close", 10)
    assert httpx.post(f"http://127.0.0.1:{going.port}/v2/models/fraud/infer", json={}).status_code == 200
    leaving.join(20)
    assert not leaving.is_alive()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{going.port}/v2/health/live")


def test_what_is_not_there_cannot_be_drained(tmp_path: Path) -> None:
    with pytest.raises((httpx.HTTPError, Unavailable)):
        drain(str(tmp_path / "none.sock"))
