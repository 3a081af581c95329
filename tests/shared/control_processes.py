"""Two control processes, each with a home of its own, that share a database and a Lease."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import yaml
from waiting import free_port, wait_until

from serinus.core.home import Home
from serinus.lib import authority
from serinus.lib.plain_http import NO_TLS
from serinus.targets.local.supervisor import settings as supervisor_settings
from serinus.targets.local.supervisor.directories import make
from serinus.targets.local.supervisor.settings import Settings
from serinus.wiring.sharing import name_of


def made(path: Path) -> Home:
    home = Home(path)
    home.path.mkdir(mode=0o700)
    make(home)
    return home


def cluster_file(directory: Path, kubeconfig: Path, url: str, namespace: str = "fraud") -> Path:
    (directory / "url").write_text(url)
    identity = authority.issue("serinus-collector", datetime.now(UTC))
    files = {"chain": identity.certificate, "key": identity.key, "authority": identity.authority}
    for name, text in files.items():
        (directory / f"{name}.pem").write_bytes(text)
    document = {
        "kubeconfig": str(kubeconfig),
        "namespace": namespace,
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
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.get(url, headers=headers, timeout=10, verify=NO_TLS).raise_for_status().json()

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


def one_of_two_decides(
    directory: Path, kubeconfig: Path, namespace: str, url: str, terms: Callable[[], tuple[str, int]]
) -> None:
    """`terms`: the holder of the Lease, and the term in which the routing is published."""
    home, other = made(directory / "home"), made(directory / "other")
    shutil.copy(home.secret, other.secret)
    cluster = cluster_file(directory, kubeconfig, url, namespace)
    with ExitStack() as stack:
        first = stack.enter_context(control_plane(home, cluster))
        wait_until(lambda: first.answers() and first.decides(), what="the first one")
        wait_until(lambda: terms()[1] == 1, what="the routing of the first term")
        second = stack.enter_context(control_plane(other, cluster))
        wait_until(second.answers, what="the second one")
        assert first.answers(), "its token holds"
        assert not second.decides()
        assert any("--predictions-database" in line for line in second.get("/v1/status")["warnings"])
        first.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, first.process.pid, os.WSTOPPED)
        wait_until(second.decides, what="the term of the second one")
        wait_until(lambda: terms()[1] == 2, what="the routing of the second term")
        first.process.send_signal(signal.SIGCONT)
        assert first.process.wait(60) == 1
        assert "this control plane stops deciding" in first.log.read_text()
        assert second.answers()
        assert terms()[0].startswith(name_of(other))
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(60) == 0, second.log.read_text()
        assert terms() == ("", 2)
