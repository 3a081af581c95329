"""One Envoy takes the place of another one, while callers are served."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from envoy_harness import Proxy, routing
from waiting import wait_until

from serinus.backends.envoy import (
    EnvoyRouter,
    admin_socket,
    answers,
    command,
    dismissal,
    drain_command,
    hot_restart,
    mend,
    names,
    prepare,
)
from serinus.backends.envoy import successor as envoy_successor
from serinus.backends.envoy.outliving import plain
from serinus.core.home import Home

pytestmark = pytest.mark.skipif(not hot_restart.possible(), reason="Envoy cannot do a hot restart on this machine")

BODY = b'{"inputs": []}'


class Callers:
    """One that keeps its connection for as long as it may, and one that makes a new one each time."""

    def __init__(self, port: int) -> None:
        self.ended: Counter[str] = Counter()
        self._port, self._stop = port, threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(keep,)) for keep in (True, False)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self) -> None:
        count = self.ended.total()
        wait_until(lambda: self.ended.total() > count + 100)

    def _call(self, keep: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._stop.is_set():
            try:
                connection.request("POST", "/v2/models/fraud/infer", BODY, {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                self.ended[str(answer.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.ended[type(error).__name__] += 1
                connection.close()
            if not keep:
                connection.close()
            time.sleep(0.005)
        connection.close()


@pytest.fixture
def envoys() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that are ended with the test."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def start(served: Proxy, envoys: list[subprocess.Popen[bytes]]) -> Callable[[Sequence[str]], subprocess.Popen[bytes]]:
    """Starts another Envoy beside the one that is there, and waits until it answers."""

    def run(words: Sequence[str]) -> subprocess.Popen[bytes]:
        with (served.home.logs / "envoy.log").open("ab") as log:
            envoys.append(subprocess.Popen(words, stdout=log, stderr=log))
        wait_until(lambda: answers(served.home, envoys[-1].pid))
        return envoys[-1]

    return run


def running(pid: int) -> Sequence[str]:
    words = [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]
    return [f"/proc/{pid}/exe", *words[1:]]


def successor(proxy: Proxy, pid: int) -> list[str]:
    words = envoy_successor(proxy.home, None, running(pid))
    prepare(proxy.home, port=proxy.port)
    return words


@pytest.mark.long
def test_one_after_another_takes_over_without_a_failed_request(
    served: Proxy, start: Callable[[Sequence[str]], subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot_restart, "GOODBYE_SECONDS", 3)
    before = served.process
    with Callers(served.port) as callers:
        for epoch in ("1", "2"):
            callers.more()
            words = successor(served, before.pid)
            assert hot_restart.values(words)["--restart-epoch"] == epoch
            now = start(words)
            callers.more()
            assert before.wait(20) == 0, "it ends by itself"
            callers.more()
            before = now
    assert set(callers.ended) == {"200"}
    served.releases.start("fraud-2-bbbbbb")
    router = EnvoyRouter(served.home, admin_socket(served.home))
    router.apply(routing(served.arm("fraud-2-bbbbbb", 10_000), split="s2"))
    router.close()
    assert served.ask().json()["release"] == "fraud-2-bbbbbb"


def test_one_that_cannot_hand_its_sockets_over_is_dismissed(
    served: Proxy, start: Callable[[Sequence[str]], subprocess.Popen[bytes]]
) -> None:
    served.stop()
    words = command(served.home)
    before = start(plain(words[words.index("-c") - 1 :]))
    with Callers(served.port) as callers:
        callers.more()
        start(successor(served, before.pid))
        callers.more()
        subprocess.run(dismissal(served.home), check=True)
        callers.more()
        before.terminate()
        before.wait(10)
        callers.more()
    # The kernel resets connections in the queue of a socket that is closed (net.ipv4.tcp_migrate_req would hand them
    # on): at most the one that each caller is making.
    resets = callers.ended.pop("ConnectionResetError", 0)
    assert set(callers.ended) == {"200"}
    assert resets <= 2


def test_the_one_before_does_not_see_the_routes_of_the_next(
    served: Proxy, start: Callable[[Sequence[str]], subprocess.Popen[bytes]]
) -> None:
    kept = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    kept.request("GET", "/v2")
    kept.getresponse().read()
    start(successor(served, served.process.pid))
    router = EnvoyRouter(served.home, admin_socket(served.home))
    router.remove("fraud")
    router.close()
    assert served.ask().status_code == 404
    kept.request("POST", "/v2/models/fraud/infer", BODY)
    assert kept.getresponse().status == 200
    kept.close()


def test_it_outlives_the_process_that_has_started_it(served: Proxy, envoys: list[subprocess.Popen[bytes]]) -> None:
    served.stop()
    start_it = "import json, subprocess, sys, time; print(subprocess.Popen(json.loads(sys.argv[1])).pid, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{start_it}; time.sleep(60)", json.dumps(command(served.home))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        try:
            wait_until(lambda: answers(served.home, pid))
            parent.kill()
            parent.wait()
            end = time.monotonic() + 0.2  # the signal would come with the end of the parent
            while time.monotonic() < end:
                assert answers(served.home, pid)
                time.sleep(0.01)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_another_process_does_not_answer_in_its_place(served: Proxy) -> None:
    assert answers(served.home, served.process.pid)
    assert not answers(served.home, os.getpid())
    served.stop()
    assert not answers(served.home, served.process.pid)


def test_its_shared_memory_goes_with_it(served: Proxy) -> None:
    assert hot_restart.memory(served.home).exists()
    subprocess.run(drain_command(served.home), check=True)
    assert not hot_restart.memory(served.home).exists()


def test_an_end_in_the_middle_of_giving_way_loses_no_routes(tmp_path: Path) -> None:
    home = Home(tmp_path)
    new = names.xds_directory(home).with_name("xds-new")
    new.mkdir(parents=True)
    (new / "routes.json").write_text("{}")
    mend(home)
    assert names.routes_file(home).read_text() == "{}"
    assert not new.exists()


def test_its_sockets_have_names_that_are_short_enough() -> None:
    """For the deepest home whose sockets lie in it: sockaddr_un holds 108 bytes with the closing zero."""
    home = next(
        home
        for length in range(200, 0, -1)
        if (home := Home(Path("/" + "h" * length))).sockets.is_relative_to(home.path)
    )
    given = hot_restart.values(hot_restart.options(home))
    longest = f"{given['--socket-path']}_udp_parent_{10 * int(given['--base-id']) + 9}"
    assert len(longest) <= 107
