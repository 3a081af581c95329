"""The race that scaling to zero must not lose: a request on a kept connection against a worker that leaves."""

from __future__ import annotations

import http.client
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace

import kept
import pytest

from serinus.core.keys import ROUTER_HEADER, router_key
from serinus.core.placement import PlacementState

pytestmark = pytest.mark.long

MLMODEL = '{"flavors": {"python_function": {"loader_module": "still", "code": "code"}}}'
MODEL = """
class Model:
    def predict(self, data, params=None):
        return [0.0] * len(data)

def _load_pyfunc(path):
    return Model()
"""
PAUSE = threading.Event()
"""Never set: its waits are pauses of the callers, which are what the test is about."""
RESTLESS = ("--idle", "0.05", "--young", "0", "--busiest", "0", "--survey", "0.02")


class Kept(http.client.HTTPConnection):
    """A connection as a proxy keeps it: closed by itself when it was not used for a while, or told to by an answer."""

    def __init__(self, endpoint):
        super().__init__("release", timeout=20)
        self.path, self.key = endpoint
        self.used = time.monotonic()

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def ask(self):
        self.used = time.monotonic()
        self.request("GET", "/v2/health/ready", headers={ROUTER_HEADER: self.key})
        answer = self.getresponse()
        answer.read()
        return answer.status

    def rest(self, seconds, idle):
        """A pause, in which it is closed once it was idle for so long."""
        PAUSE.wait(min(seconds, idle))
        if seconds >= idle:
            self.close()


def wander(endpoint, until, outcomes, seed):
    """Requests at random moments, most of them about when the release is scaled to zero."""
    chance = random.Random(seed)
    connection = Kept(endpoint)
    while time.monotonic() < until:
        try:
            outcomes.append(connection.ask())
        except (OSError, http.client.HTTPException) as error:
            outcomes.append(repr(error))
            connection.close()
        connection.rest(chance.choice((0.0, 0.03, 0.06, 0.09, 0.12, 0.3)) * chance.random() * 2, idle=0.15)
    connection.close()


def still(hosted, name, environment=kept.HERE):
    """A release of a model that needs no library: where it answers, and the key that it wants to see."""
    artifact = hosted.home.artifacts / name
    (artifact / "code").mkdir(parents=True)
    (artifact / "code" / "still.py").write_text(MODEL)
    (artifact / "MLmodel").write_text(MLMODEL)
    release = replace(hosted.release(name), environment_digest=environment)
    hosted.target.place(release)
    return hosted.come_up(name).endpoint, router_key(hosted.home.secret.read_text(), name)


def environment(home, path):
    """Its digest."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(path)], check=True)
    return kept.environment(home, path, path.name)


def run(endpoints, seconds, callers, seed=0):
    """What became of every request of `callers` on each endpoint."""
    until = time.monotonic() + seconds
    outcomes: list[int | str] = []
    threads = [
        threading.Thread(target=wander, args=(endpoint, until, outcomes, seed + i * 100 + j))
        for i, endpoint in enumerate(endpoints)
        for j in range(callers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.parametrize("seconds", [6, pytest.param(120, marks=pytest.mark.slow)])
def test_no_request_fails_while_releases_are_scaled_to_zero_and_activated_all_the_time(hosted, tmp_path, seconds):
    hosted.start(*RESTLESS, runtime=None)
    python = environment(hosted.home, tmp_path / "e")
    endpoints = [still(hosted, f"still-{i}-aaaaaa", python) for i in range(3)]
    outcomes = run(endpoints, seconds, callers=2)
    log = (hosted.home.logs / "host.log").read_text()
    assert set(outcomes) == {200}, {one: outcomes.count(one) for one in set(outcomes)}
    assert len(re.findall("is scaled to zero", log)) > 2 * seconds
    assert "while serving" not in log


@pytest.mark.slow
def test_forty_releases_of_four_environments_go_come_and_die_without_a_failed_request(hosted, tmp_path):
    """A kill takes the requests that its worker is answering: no others may fail."""
    hosted.start("--idle", "2", "--young", "0", "--busiest", "5", "--survey", "0.5", runtime=None)
    pythons = [environment(hosted.home, tmp_path / f"e{i}") for i in range(4)]
    endpoints = [still(hosted, f"still-{i}-aaaaaa", pythons[i % 4]) for i in range(40)]
    kills = 0
    stop = threading.Event()

    def kill():
        nonlocal kills
        chance = random.Random(1)
        while not stop.wait(0.7):
            pids = [one.pid for one in hosted.target.observe().values() if one.pid]
            with suppress(ProcessLookupError, IndexError):
                os.kill(chance.choice(pids), signal.SIGKILL)
                kills += 1

    killer = threading.Thread(target=kill)
    killer.start()
    outcomes = run(endpoints, 60, callers=1)
    stop.set()
    killer.join()
    failed = [one for one in outcomes if one != 200]
    assert kills > 20
    assert len(failed) <= kills, failed
    assert outcomes.count(200) > 100 * len(failed)
    up = [one for one in hosted.target.observe().values() if one.state is PlacementState.READY]
    assert len(up) < 40
