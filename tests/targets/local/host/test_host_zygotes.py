"""Workers that are forked from a zygote: the real runtime, in environments with a library of the tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import kept
import pytest

from serinus.core.keys import ROUTER_HEADER, router_key
from serinus.core.placement import PlacementState
from serinus.core.release import Scale
from serinus.lib.processes import identity
from serinus.targets.local.host.state_files import StateFiles
from serinus.targets.local.host.unix_http import call
from serinus.targets.local.host.zygotes import key

LIBRARY = "import random, time\ntime.sleep(0.8)\nDRAWN = random.random()\n"
THREADED = LIBRARY + "import threading\nthreading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
MODEL = """
import json, os, random, tempfile
import slowlib

def attempt(action):
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"

TOLD = {
    "drawn": [slowlib.DRAWN, random.random()], "cwd": os.getcwd(), "temporary": tempfile.gettempdir(),
    "reads": [attempt(lambda: open(path).read()) for path in FORBIDDEN],
    "lists": attempt(lambda: os.listdir(f"/proc/{os.getppid()}")),
    "signals": attempt(lambda: os.kill(ZYGOTE, 0)) if ZYGOTE else None,
}
open("told.json", "w").write(json.dumps(TOLD))

class Model:
    def predict(self, data, params=None):
        return [0.0] * len(data)

def _load_pyfunc(path):
    return Model()
"""


@pytest.fixture
def environment(hosted, tmp_path):
    """`environment("name", library)`: its digest."""

    def make(name, library=LIBRARY):
        root = tmp_path / name
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
        packages = next(root.glob("lib/python*/site-packages"))
        (packages / "slowlib.py").write_text(library)
        return kept.environment(hosted.home, root, name)

    return make


class Zygotic:
    """A host with the real runtime, and models of one environment."""

    def __init__(self, hosted, environment):
        self.hosted = hosted
        self.environment = environment
        self.python = hosted.home.interpreter(environment)

    def place(self, name, forbidden=(), zygote=0, **scale):
        artifact = self.hosted.home.artifacts / name
        (artifact / "code").mkdir(parents=True)
        constants = f"FORBIDDEN, ZYGOTE = {[str(path) for path in forbidden]!r}, {zygote}\n"
        (artifact / "code" / f"model_{name.replace('-', '_')}.py").write_text(constants + MODEL)
        flavor = {"loader_module": f"model_{name.replace('-', '_')}", "code": "code"}
        (artifact / "MLmodel").write_text(json.dumps({"flavors": {"python_function": flavor}}))
        release = self.hosted.release(name)
        release = replace(release, environment_digest=self.environment)
        self.hosted.target.place(release, Scale(**scale))
        return self.hosted.until(name, PlacementState.READY)

    def scratch(self, placement):
        """In its zygote's, or of its own."""
        forked = self.hosted.home.scratch / key(self.python) / placement.release
        return forked if forked.exists() else self.hosted.home.scratch / "own" / placement.release

    def told(self, placement):
        """What the model has found out while it was loaded."""
        return json.loads((self.scratch(placement) / "told.json").read_text())

    def answers(self, placement):
        return call(Path(placement.endpoint), "GET", "/v2/health/ready", None, self.key(placement), 10.0).status == 200

    def key(self, placement):
        """As the router shows it."""
        return {ROUTER_HEADER: router_key(self.hosted.home.secret.read_text(), placement.release)}

    def begin(self, connected, placement):
        """Asks on a connection that stays."""
        lines = ["GET /v2/health/ready HTTP/1.1", "host: x", *(f"{k}: {v}" for k, v in self.key(placement).items())]
        connected.sendall("\r\n".join([*lines, "", ""]).encode())

    def zygotes(self):
        """Pids of the zygotes of the host, or of a host that has died. By their command lines, which also an ordinary
        user may read of processes that are not dumpable; the workers that they have forked have the same."""
        serving = {worker.pid for worker in StateFiles(self.hosted.home).workers()}
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            is_one = words[0] == str(self.python).encode() and any(
                b"serinus_runtime.process.zygote" in word for word in words
            )
            if is_one and int(process.name) not in serving:
                found.append(int(process.name))
        return found

    def log(self):
        return (self.hosted.home.logs / "host.log").read_text()


@pytest.fixture
def zygotic(hosted, environment):
    hosted.start("--survey", "0.2", runtime=None)
    return Zygotic(hosted, environment("one"))


def with_zygote(zygotic, wait_until, name="first-1-aaaaaa", **settings):
    """After the first worker, from which the host learns what to import."""
    first = zygotic.place(name, **settings)
    file = zygotic.hosted.home.host / "zygotes" / f"{key(zygotic.python)}.json"
    assert "slowlib" in wait_until(lambda: file.exists() and json.loads(file.read_text()))
    return first


def test_later_workers_have_the_libraries_already_and_share_nothing_else(zygotic, wait_until):
    first = with_zygote(zygotic, wait_until)
    second, third = zygotic.place("second-1-aaaaaa"), zygotic.place("third-1-aaaaaa")
    assert first.load_seconds > 0.8 > 0.5 > max(second.load_seconds, third.load_seconds)
    told = [zygotic.told(one) for one in (second, third)]
    assert told[0]["drawn"][0] == told[1]["drawn"][0]
    assert told[0]["drawn"][1] != told[1]["drawn"][1]
    for one, placement in zip(told, (second, third), strict=True):
        assert [one["cwd"], one["temporary"]] == [str(zygotic.scratch(placement))] * 2
        assert os.getsid(placement.pid) == placement.pid
        assert zygotic.answers(placement)


def test_a_killed_worker_is_replaced_from_the_zygote_and_its_end_is_told_in_words(zygotic, wait_until):
    with_zygote(zygotic, wait_until)
    second = zygotic.place("second-1-aaaaaa")
    os.kill(second.pid, signal.SIGSEGV)
    again = zygotic.hosted.until(second.release, PlacementState.READY, but=second.pid)
    assert (again.restarts, again.load_seconds < 0.5) == (1, True)
    assert "second-1-aaaaaa killed by SIGSEGV while serving" in zygotic.log()
    assert not Path(f"/proc/{second.pid}").exists()


def test_a_dead_zygote_takes_nobody_along_and_is_started_again(zygotic, wait_until):
    with_zygote(zygotic, wait_until)
    second = zygotic.place("second-1-aaaaaa")
    (zygote,) = zygotic.zygotes()
    os.kill(zygote, signal.SIGKILL)
    assert zygotic.answers(second)
    assert zygotic.place("third-1-aaaaaa").state is PlacementState.READY
    wait_until(lambda: [pid for pid in zygotic.zygotes() if pid != zygote])
    assert zygotic.hosted.target.observe()[second.release].pid == second.pid


def test_a_forked_worker_reads_nothing_of_the_others_of_its_environment(zygotic, wait_until):
    first = with_zygote(zygotic, wait_until)
    home = zygotic.hosted.home
    (zygote,) = wait_until(zygotic.zygotes)
    theirs = (home.artifacts / first.release / "MLmodel", zygotic.scratch(first) / "told.json")
    second = zygotic.place("second-1-aaaaaa", (*theirs, home.secret, f"/proc/{zygote}/cmdline"), zygote)
    told = zygotic.told(second)
    assert told["reads"] == ["PermissionError"] * 4
    assert (told["lists"], told["signals"]) == ("PermissionError", "PermissionError")
    assert Path(f"/proc/{second.pid}/status").read_text().count("Seccomp_filters:\t2\n") == 1


def test_forked_workers_outlive_the_host_and_the_zygote_does_not(zygotic, wait_until):
    with_zygote(zygotic, wait_until)
    second = zygotic.place("second-1-aaaaaa")
    zygotes = zygotic.zygotes()
    assert zygotes
    zygotic.hosted.kill()
    assert zygotic.answers(second)
    wait_until(lambda: all(identity(pid) is None for pid in zygotes))
    zygotic.hosted.start(runtime=None)
    again = zygotic.hosted.until(second.release, PlacementState.READY, but=second.pid)
    wait_until(lambda: identity(second.pid) is None)
    assert again.load_seconds < 0.5


def test_libraries_that_start_threads_are_not_forked_and_the_placement_says_so(hosted, environment, wait_until):
    hosted.start("--survey", "0.2", runtime=None)
    zygotic = Zygotic(hosted, environment("threads", THREADED))
    zygotic.place("first-1-aaaaaa")
    wait_until(lambda: "start threads when they are imported" in zygotic.log())
    second = zygotic.place("second-1-aaaaaa")
    assert "starts slowly: its libraries start threads" in second.reason
    assert second.load_seconds > 0.8
    assert zygotic.answers(second)


def test_the_zygote_of_an_environment_goes_with_its_last_release(zygotic, wait_until):
    with_zygote(zygotic, wait_until)
    wait_until(zygotic.zygotes)
    zygotic.hosted.target.remove("first-1-aaaaaa")
    wait_until(lambda: not zygotic.zygotes())


def test_the_first_worker_of_an_environment_makes_room_for_one_that_shares_its_libraries(
    hosted, environment, wait_until
):
    hosted.start("--survey", "0.2", "--settled", "0.5", runtime=None)
    zygotic = Zygotic(hosted, environment("one"))
    first = with_zygote(zygotic, wait_until)
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(first.endpoint)
        again = hosted.until(first.release, PlacementState.READY, but=first.pid)
        assert (again.restarts, again.load_seconds < 0.5) == (0, True)
        assert zygotic.answers(again)
        # Who was connected is answered by the one that goes, and only then is it gone.
        zygotic.begin(connected, first)
        assert connected.recv(15) == b"HTTP/1.1 200 OK"
    wait_until(lambda: identity(first.pid) is None)
    assert zygotic.log().count("gets a worker that shares its libraries") == 1


@pytest.mark.long
def test_after_a_restart_an_environment_gets_its_zygote_with_the_turn_of_its_workers_or_when_somebody_asks(
    hosted, holder, environment, wait_until
):
    """The old workers have its libraries: to import them again takes memory for as long as those are there."""
    options = ("--survey", "0.1", "--idle", "0.3", "--young", "0", "--busiest", "0", "--succeeding", "1")
    hosted.start(*options, runtime=None)
    one, two, three = (Zygotic(hosted, environment(name)) for name in ("one", "two", "three"))
    kept = [
        with_zygote(zygotic, wait_until, f"kept-{number}-aaaaaa", keep_warm=True)
        for number, zygotic in enumerate((one, two, three))
    ]
    sleeper = with_zygote(two, wait_until, "sleeper-1-aaaaaa")
    hosted.until(sleeper.release, PlacementState.SCALED_TO_ZERO)
    demand = hosted.home.host / "rest" / "demand.json"
    wait_until(lambda: demand.exists() and json.loads(demand.read_text()).get(sleeper.release, [0, False])[1])
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(kept[0].endpoint)
        one.begin(connected, kept[0])
        assert connected.recv(15) == b"HTTP/1.1 200 OK"
        hosted.kill()
        hosted.start(*options, runtime=None)
        hosted.until(kept[0].release, PlacementState.READY, but=kept[0].pid)
        assert one.zygotes()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:  # in which the others would come up
            assert (two.zygotes(), three.zygotes()) == ([], [])
            time.sleep(0.05)
        assert two.answers(sleeper)
        assert two.zygotes()
        assert identity(kept[0].pid) is not None
        assert [hosted.target.observe()[placed.release].pid for placed in kept[1:]] == [one.pid for one in kept[1:]]
    for zygotic, placed in zip((two, three), kept[1:], strict=True):
        hosted.until(placed.release, PlacementState.READY, but=placed.pid)
        assert zygotic.zygotes()
