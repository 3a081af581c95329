"""The race that scaling to zero must not lose: a request on a kept connection against a worker that leaves."""

from __future__ import annotations

import http.client
import os
import random
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

pytestmark = [pytest.mark.long, pytest.mark.timeout(500)]

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
TIMES_AT_ZERO = 100
KILLS = 40
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


def wander(endpoint, over, outcomes, seed):
    """Requests at random moments, most of them about when the release is scaled to zero."""
    chance = random.Random(seed)
    connection = Kept(endpoint)
    while not over.is_set():
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


def run_until(enough, endpoints, callers):
    """What became of every request of `callers` on each endpoint, who go on until `enough` returns."""
    over = threading.Event()
    outcomes: list[int | str] = []
    threads = [
        threading.Thread(target=wander, args=(endpoint, over, outcomes, i * 100 + j))
        for i, endpoint in enumerate(endpoints)
        for j in range(callers)
    ]
    for thread in threads:
        thread.start()
    try:
        enough()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    return outcomes


def test_no_request_fails_while_releases_are_scaled_to_zero_and_activated_all_the_time(hosted, tmp_path, wait_until):
    hosted.start(*RESTLESS, runtime=None)
    python = environment(hosted.home, tmp_path / "e")
    endpoints = [still(hosted, f"still-{i}-aaaaaa", python) for i in range(3)]
    log = hosted.home.logs / "host.log"
    outcomes = run_until(
        lambda: wait_until(lambda: log.read_text().count("is scaled to zero") > TIMES_AT_ZERO, 300),
        endpoints,
        callers=2,
    )
    assert set(outcomes) == {200}, {one: outcomes.count(one) for one in set(outcomes)}
    assert "while serving" not in log.read_text()


def test_forty_releases_of_four_environments_go_come_and_die_without_a_failed_request(hosted, tmp_path, wait_until):
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
    try:
        outcomes = run_until(lambda: wait_until(lambda: kills > KILLS, 300), endpoints, callers=1)
    finally:
        stop.set()
        killer.join()
    failed = [one for one in outcomes if one != 200]
    assert len(failed) <= kills, failed
    assert outcomes.count(200) > 100 * len(failed)
    up = [one for one in hosted.target.observe().values() if one.state is PlacementState.READY]
    assert len(up) < 40
