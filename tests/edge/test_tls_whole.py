"""A whole Serinus beyond loopback: TLS on both planes, renewed under load, kept over restarts."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from identities import Authority, Identity
from waiting import wait_until

from serinus.core.home import Home
from serinus.targets.local.supervisor import Addresses, Options, down, processes, up

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


class Whole:
    def __init__(self, directory: Path, authority: Authority) -> None:
        self.directory, self.home, self.authority = directory, Home(directory / "home"), authority
        self.trusting = ssl.create_default_context(cadata=authority.pem.decode())
        cert, key = authority.issue().written(directory)
        self.options = Options(listen="0.0.0.0", tls_cert=cert, tls_key=key, allowed_hosts=("127.0.0.1",))
        self.addresses: Addresses = up(self.home, self.options)

    def client(self, plane: str) -> httpx.Client:
        return httpx.Client(base_url=getattr(self.addresses, plane), verify=self.trusting, timeout=10, trust_env=False)

    def get(self, plane: str, path: str, **more: Any) -> httpx.Response:
        with self.client(plane) as client:
            return client.get(path, **more)

    def warnings(self) -> list[str]:
        token = {"Authorization": f"Bearer {self.home.token.read_text().strip()}"}
        found: list[str] = self.get("api", "/v1/status", headers=token).json()["warnings"]
        return found

    def serial(self, plane: str) -> int:
        from urllib.parse import urlsplit

        from cryptography import x509

        port = urlsplit(getattr(self.addresses, plane)).port
        shown = ssl.get_server_certificate(("127.0.0.1", int(port or 0)), timeout=10)
        return x509.load_pem_x509_certificate(shown.encode()).serial_number

    def renew(self, identity: Identity) -> None:
        identity.written(self.directory)
        for plane in ("api", "envoy"):
            wait_until(partial(self._shows, plane, identity), 30)

    def _shows(self, plane: str, identity: Identity) -> bool:
        return self.serial(plane) == identity.serial

    def kill(self, name: str) -> None:
        """And waits until another one runs."""
        pid = self._pid(name)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self._pid(name) not in (0, pid), 60)

    def _pid(self, name: str) -> int:
        return next((int(p["pid"]) for p in processes(self.home) if p["name"] == name and p["state"] == "running"), 0)


@pytest.fixture(scope="module")
def whole(authority: Authority) -> Iterator[Whole]:
    directory = Path(tempfile.mkdtemp(prefix="serinus-tls-", dir="/tmp"))
    home = Home(directory / "home")
    try:
        yield Whole(directory, authority)
    finally:
        down(home)
        shutil.rmtree(directory, ignore_errors=True)


def test_both_planes_speak_tls_alone_and_mlflow_stays_on_loopback(whole: Whole) -> None:
    for plane, path in (("api", "/healthz"), ("envoy", "/v2/health/live")):
        address = getattr(whole.addresses, plane)
        assert address.startswith("https://127.0.0.1:")
        assert whole.get(plane, path).status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(address.replace("https", "http") + path, trust_env=False)
    assert whole.addresses.login.startswith("https://")
    assert whole.addresses.mlflow.startswith("http://127.0.0.1:")
    assert not [line for line in (*whole.addresses.warnings, *whole.warnings()) if "TLS" in line]


def test_the_command_line_asks_without_naming_an_authority(whole: Whole) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("SERINUS_")}
    words = [str(Path(sys.executable).with_name("serinus")), "--home", str(whole.home.path)]
    done = subprocess.run([*words, "status", "--json"], capture_output=True, env=own, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    row = ["predict", "none", "--row", '{"a": 1}', "--json"]
    done = subprocess.run([*words, *row], capture_output=True, env=own, check=False, timeout=60)
    assert b"401" in done.stderr or b"404" in done.stderr  # an answer of Envoy's, over TLS


def test_certificates_are_renewed_under_load_on_both_planes_and_no_request_is_lost(
    whole: Whole, authority: Authority
) -> None:
    stop, failed = threading.Event(), list[str]()
    answered = dict.fromkeys(("api kept", "api new", "envoy kept", "envoy new"), 0)

    def call(plane: str, kind: str) -> None:
        path = "/healthz" if plane == "api" else "/v2/health/live"
        client = whole.client(plane)
        while not stop.is_set():
            try:
                answer = client.get(path)
                answered[f"{plane} {kind}"] += 1
                if answer.status_code != 200:
                    failed.append(str(answer.status_code))
            except httpx.HTTPError as error:
                failed.append(repr(error))
            if kind == "new":
                client.close()
                client = whole.client(plane)
        client.close()

    def went_on(before: dict[str, int]) -> bool:
        return all(answered[name] > before[name] + 5 for name in answered)

    callers = [threading.Thread(target=call, args=tuple(name.split())) for name in answered]
    for caller in callers:
        caller.start()
    try:
        for key in (rsa.generate_private_key(65537, 2048), None):
            before = dict(answered)
            whole.renew(authority.issue(key=key))
            wait_until(partial(went_on, before))
    finally:
        stop.set()
        for caller in callers:
            caller.join(20)
    assert failed == []


def test_a_wrong_renewal_is_told_in_the_status_and_survives_the_processes_that_serve(
    whole: Whole, authority: Authority
) -> None:
    before = whole.serial("envoy")
    key = Path(str(whole.options.tls_key))
    good = key.read_bytes()
    key.write_text("no key")
    wait_until(lambda: any("the TLS certificate is not renewed" in line for line in whole.warnings()), 30)
    for name, plane, path in (("envoy", "envoy", "/v2/health/live"), ("control", "api", "/healthz")):
        whole.kill(name)

        def answers(plane: str = plane, path: str = path) -> bool:
            try:
                return whole.get(plane, path).status_code == 200
            except httpx.HTTPError:
                return False

        wait_until(answers, 60)
        assert whole.serial(plane) == before
    key.write_bytes(good)
    wait_until(lambda: not any("not renewed" in line for line in whole.warnings()), 30)


def test_it_comes_up_again_as_it_was_chosen(whole: Whole) -> None:
    down(whole.home)
    again = up(whole.home)
    assert (again.api, again.envoy) == (whole.addresses.api, whole.addresses.envoy)
    assert whole.get("envoy", "/v2/health/live").status_code == 200
    down(whole.home)
    plain = up(whole.home, Options(insecure=True))
    assert plain.envoy.startswith("http://0.0.0.0:")
    assert any("is served without TLS" in line for line in plain.warnings)
    with httpx.Client(base_url=plain.api, trust_env=False) as client:
        token = {"Authorization": f"Bearer {whole.home.token.read_text().strip()}"}
        said = client.get("/v1/status", headers=token).json()["warnings"]
    assert any("is served without TLS" in line for line in said)
    kept = [path for path in whole.home.path.rglob("*") if path.is_file() and path.suffix in (".pem", ".json")]
    assert not [path for path in kept if b"PRIVATE KEY" in path.read_bytes()]
