"""What several control planes share, and two of their processes with nothing else around them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from lease_server import serving_leases
from waiting import free_port, wait_until

from serinus.backends.sql import SqlStore
from serinus.core.errors import InvalidInput, Refused, Superseded
from serinus.core.home import Home
from serinus.core.keys import installation
from serinus.lib import authority
from serinus.targets.kubernetes.settings import ControlSection
from serinus.targets.local.supervisor import settings as supervisor_settings
from serinus.targets.local.supervisor.directories import make
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.cluster import place_on_a_cluster
from serinus.wiring.sharing import name_of, open_store


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return made(tmp_path / "home")


def made(path: Path) -> Home:
    home = Home(path)
    home.path.mkdir(mode=0o700)
    make(home)
    return home


def control(tmp_path: Path, url: str) -> ControlSection:
    (tmp_path / "url").write_text(f"{url}\n")
    return ControlSection(store=tmp_path / "url")


# --- the store --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "sqlite:////tmp/store.db", "no url of :anything", "mysql://a:hidden@b/c"])
def test_only_postgresql_can_be_shared_and_no_url_is_quoted(home: Home, tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidInput, match="does not hold the URL of a PostgreSQL database") as raised:
        open_store(home, control(tmp_path, url))
    assert "hidden" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(home: Home, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="gone: No such file"):
        open_store(home, ControlSection(store=tmp_path / "gone"))


def test_a_home_with_another_secret_is_refused(home: Home, tmp_path: Path, postgres_database: str) -> None:
    shared = control(tmp_path, postgres_database)
    for _ in range(2):
        open_store(home, shared).close()
    other = made(tmp_path / "other")
    with pytest.raises(Refused, match="is not the secret of the control planes that share this database"):
        open_store(other, shared)
    shutil.copy(home.secret, other.secret)
    store = open_store(other, shared)
    kept = json.dumps(dict(store.settings("")))
    assert installation(home.secret.read_text()) in kept
    assert home.secret.read_text() not in kept
    store.close()


def test_homes_on_one_machine_have_names_of_their_own(home: Home, tmp_path: Path) -> None:
    assert name_of(home) != name_of(Home(tmp_path / "other"))


# --- what may be done before the term --------------------------------------------------------------------


def cluster_file(directory: Path, kubeconfig: Path, url: str) -> Path:
    (directory / "url").write_text(url)
    identity = authority.issue("serinus-collector", datetime.now(UTC))
    files = {"chain": identity.certificate, "key": identity.key, "authority": identity.authority}
    for name, text in files.items():
        (directory / f"{name}.pem").write_bytes(text)
    document = {
        "kubeconfig": str(kubeconfig),
        "namespace": "fraud",
        "images": {"repository": "registry.example/serinus", "base": f"registry.example/base@sha256:{'0' * 64}"},
        "collectors": {
            "listen": "127.0.0.1:7443",
            "addresses": ["192.0.2.10:7443"],
            "certificate": {name: f"{name}.pem" for name in files},
        },
        "control": {"store": "url"},
    }
    (directory / "cluster.yaml").write_text(yaml.safe_dump(document))
    return directory / "cluster.yaml"


def test_before_its_term_a_control_plane_writes_nothing_to_the_cluster(
    home: Home, tmp_path: Path, postgres_database: str
) -> None:
    store = SqlStore(postgres_database)
    with serving_leases(tmp_path) as (kubeconfig, _):
        chosen = Settings({"api": 1}, cluster=str(cluster_file(tmp_path, kubeconfig, postgres_database)))
        place = place_on_a_cluster(home, chosen, store)
        try:
            assert place.leadership is not None
            for act in (place.announce, lambda: place.target.distrust("fraud-1-abcdef")):
                with pytest.raises(Superseded, match="no control plane decides yet"):
                    act()
        finally:
            place.close()
            store.close()


# --- two processes ----------------------------------------------------------------------------------------


class ControlPlane:
    """A home, and the control process of it."""

    def __init__(self, home: Home, cluster: Path) -> None:
        self.home, self.port = home, free_port()
        settings = Settings({"api": self.port}, cluster=str(cluster), mlflow_uri="http://127.0.0.1:1", confined=False)
        supervisor_settings.save(home, settings)
        self.log = home.path / "control.log"
        with self.log.open("wb") as log:
            command = [sys.executable, "-P", "-m", "serinus.wiring", "control", "--home", str(home.path)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.home.token.read_text()}"}
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=10).raise_for_status().json()

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return bool(self.get("/healthz")["ok"])
        except (httpx.HTTPError, OSError):
            return False

    def decides(self) -> bool:
        return "this control plane decides in term" in self.log.read_text()


@contextmanager
def control_plane(home: Home, cluster: Path) -> Iterator[ControlPlane]:
    one = ControlPlane(home, cluster)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait(30)


def test_two_control_processes_answer_and_one_of_them_decides(
    home: Home, tmp_path: Path, postgres_database: str
) -> None:
    other = made(tmp_path / "other")
    shutil.copy(home.secret, other.secret)
    with serving_leases(tmp_path) as (kubeconfig, leases), ExitStack() as stack:
        cluster = cluster_file(tmp_path, kubeconfig, postgres_database)
        first = stack.enter_context(control_plane(home, cluster))
        wait_until(lambda: first.answers() and first.decides(), what="the first one")
        second = stack.enter_context(control_plane(other, cluster))
        wait_until(second.answers, what="the second one")
        assert first.answers(), "its token holds"
        assert not second.decides()
        assert leases.there is not None
        assert leases.there["spec"]["holderIdentity"].startswith(name_of(home))
        first.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, first.process.pid, os.WSTOPPED)
        wait_until(second.decides, what="the term of the second one")
        first.process.send_signal(signal.SIGCONT)
        assert first.process.wait(60) == 1
        assert "this control plane stops deciding" in first.log.read_text()
        assert second.answers()
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(60) == 0, second.log.read_text()
        assert leases.there["spec"]["holderIdentity"] == ""
