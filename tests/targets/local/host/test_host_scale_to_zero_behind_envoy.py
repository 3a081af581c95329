"""The race that scaling to zero must not lose, behind the real proxy: callers keep their connections to Envoy, Envoy
its own to the workers, and the releases are scaled to zero between any two requests."""

from __future__ import annotations

import http.client
import random
import shutil
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import httpx
import kept
import pytest

from serinus.backends.envoy import EnvoyRouter, admin_socket, command, prepare, starting, xds
from serinus.backends.envoy.hot_restart import memory
from serinus.core.routing import Arm, Role, Routing
from serinus.lib.plain_http import NO_TLS
from serinus.targets.local.supervisor import ports
from serinus.targets.local.supervisor.settings import Settings

MLMODEL = '{"flavors": {"python_function": {"loader_module": "still", "code": "code"}}}'
MODEL = """
class Model:
    def predict(self, data, params=None):
        return [0.5] * len(data)

def _load_pyfunc(path):
    return Model()
"""
IDLE = 0.05
RESTLESS = (f"--idle={IDLE}", "--young=0", "--busiest=0", "--survey=0.02")
HIDDEN = ("upstream_rq_retry", "upstream_cx_destroy_remote_with_active_rq")
"""What Envoy counts of a lost race, also where it asks a second time and the caller notices nothing."""


class Envoy:
    """On the home of `hosted`, with a route to each release."""

    def __init__(self, home):
        self.home = home
        self.port = ports.assigned(Settings(), {}).ports["envoy"]
        prepare(home, port=self.port)
        self.router = EnvoyRouter(home, admin_socket(home))
        with (home.logs / "envoy.log").open("ab") as log:
            self.process = subprocess.Popen(command(home), stdout=log, stderr=log)

    def answers(self):
        assert self.process.poll() is None, (self.home.logs / "envoy.log").read_text()
        try:
            url = f"http://127.0.0.1:{self.port}/v2/health/live"
            return httpx.get(url, trust_env=False, verify=NO_TLS).status_code == 200
        except httpx.TransportError:
            return False

    def route(self, release, endpoint):
        arm = Arm(release.id, 10_000, Role.CHAMPION, endpoint)
        self.router.apply(Routing(release.model, (arm,), split="s", salt="r", timeout_ms=20_000))

    def hidden(self):
        """What it has counted, over all releases."""
        transport = httpx.HTTPTransport(uds=str(admin_socket(self.home)), verify=NO_TLS)
        with httpx.Client(transport=transport, base_url="http://envoy") as admin:
            text = admin.get("/stats", params={"filter": rf"^cluster\.still.*\.({'|'.join(HIDDEN)})$"}).text
        counts = [line.rpartition(" ") for line in text.splitlines()]
        found = {name: [int(count) for full, _, count in counts if f".{name}:" in full] for name in HIDDEN}
        assert all(found.values()), f"Envoy does not count all of {HIDDEN}"
        return {name: sum(values) for name, values in found.items()}

    def close(self):
        self.router.close()
        self.process.terminate()
        self.process.wait(20)
        memory(self.home).unlink(missing_ok=True)


@pytest.fixture(params=[None, "0.08s"])
def envoy(hosted, wait_until, monkeypatch, request):
    """With the idle time of its connections to releases as it is, so that a leaving worker is asked once more by each;
    and so short that it closes them itself at the time at which they would be asked."""
    if request.param:
        monkeypatch.setattr(xds, "_UPSTREAM_IDLE", request.param)
    counted = [*starting._STATISTICS, *({"suffix": f".{name}"} for name in HIDDEN)]
    monkeypatch.setattr(starting, "_STATISTICS", counted)
    proxy = Envoy(hosted.home)
    try:
        wait_until(proxy.answers)
        yield proxy
    finally:
        proxy.close()


def environment(home, path, *accelerators):
    """Digest of an environment that has nothing but these: connections of uvloop end otherwise than asyncio's."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(path)], check=True)
    for name in accelerators:
        shutil.copytree(Path(import_module(name).__file__).parent, path / "accelerators" / name)
    return kept.environment(home, path, path.name)


def still(hosted, model, environment):
    """A release of a model that needs no library, and its endpoint."""
    release = replace(hosted.release(f"{model}-1-aaaaaa"), model=model, environment_digest=environment)
    artifact = hosted.home.artifact(release.artifact_digest)
    (artifact / "code").mkdir()
    (artifact / "code" / "still.py").write_text(MODEL)
    (artifact / "MLmodel").write_text(MLMODEL)
    hosted.target.place(release)
    return release, hosted.come_up(release.id).endpoint


class Caller(threading.Thread):
    """Asks on one kept connection, mostly about when the release is scaled to zero; it never closes it."""

    def __init__(self, port, model, over, seed):
        super().__init__()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._path = f"/v2/models/{model}/ready"
        self._over = over
        self._chance = random.Random(seed)
        self.outcomes = []

    def run(self):
        while not self._over.wait(self._chance.choice((0.0, 1.0, 2.0, 3.0, 4.0, 12.0)) * IDLE * self._chance.random()):
            self.outcomes.append(self._outcome())
        self._connection.close()

    def _outcome(self):
        try:
            self._connection.request("GET", self._path)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return repr(error)
        return answer.status


def outcomes_until(enough, port, models):
    """What became of every request of two callers of each model, who go on until `enough` returns."""
    over = threading.Event()
    callers = [Caller(port, model, over, seed) for seed, model in enumerate(models * 2)]
    for caller in callers:
        caller.start()
    try:
        enough()
    finally:
        over.set()
        for caller in callers:
            caller.join()
    return Counter(outcome for caller in callers for outcome in caller.outcomes)


TIMES_AT_ZERO = 120


@pytest.mark.long
@pytest.mark.timeout(700)
def test_no_request_fails_on_kept_connections_through_envoy_while_releases_go_and_come(
    hosted, envoy, tmp_path, wait_until
):
    hosted.start(*RESTLESS, runtime=None)
    quick = environment(hosted.home, tmp_path / "quick", "uvloop")
    plain = environment(hosted.home, tmp_path / "plain")
    pythons = {"still-0": quick, "still-1": quick, "still-2": plain}
    for model, python in pythons.items():
        envoy.route(*still(hosted, model, python))

    def times_at_zero():
        return (hosted.home.logs / "host.log").read_text().count("is scaled to zero")

    before = times_at_zero()
    outcomes = outcomes_until(
        lambda: wait_until(lambda: times_at_zero() - before >= TIMES_AT_ZERO, 600), envoy.port, [*pythons]
    )
    assert set(outcomes) == {200}, outcomes
    assert envoy.hidden() == dict.fromkeys(HIDDEN, 0)
    assert "while serving" not in (hosted.home.logs / "host.log").read_text()
