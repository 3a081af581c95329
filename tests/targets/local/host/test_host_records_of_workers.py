"""Whose records reach the collector, and that none is lost, over the death of collector, host and holder: with a real
worker, a real collector, and the holder.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from serinus.core.keys import ROUTER_HEADER, router_key
from serinus.core.placement import PlacementState
from serinus.lib.processes import identity
from serinus.predictions import DeltaPredictionLog
from serinus.targets.local.host.unix_http import call

NAME = "fraud-1-aaaaaa"
MODEL = """
class Model:
    def predict(self, data, params=None):
        return [0.5] * len(data)

def _load_pyfunc(path):
    return Model()
"""


class Collecting:
    """A collector process of the home."""

    def __init__(self, hosted: Any, wait_until: Callable[..., Any]) -> None:
        self.home = hosted.home
        self._wait_until = wait_until
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "serinus.predictions", "--home", str(self.home.path)]
        with (self.home.logs / "collector.log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def ids(self) -> set[str]:
        found = DeltaPredictionLog(self.home).read("fraud").collect()
        assert set(found["release"]) <= {NAME}
        assert found["request_id"].n_unique() == found.height
        return set(found["request_id"])

    def until_all(self, wanted: set[str]) -> None:
        self._wait_until(lambda: wanted <= self.ids())


class Asking:
    """Asks the release again and again, as the router does; `answered`: the ids of what it has answered."""

    def __init__(self, hosted: Any, endpoint: str) -> None:
        self.endpoint = endpoint
        self.answered: set[str] = set()
        self._key = router_key(hosted.home.secret.read_text(), NAME)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def ask(self, identity: str) -> int:
        headers = {"x-serinus-split": "s1", "x-serinus-role": "champion", "x-request-id": identity}
        headers[ROUTER_HEADER] = self._key
        body = json.dumps({"dataframe_records": [{"a": 1.0}]}).encode()
        return call(Path(self.endpoint), "POST", "/invocations", body, headers, 30.0).status

    def more(self, wait_until: Callable[..., Any], count: int = 30) -> None:
        """Returns once that many more are answered."""
        wanted = len(self.answered) + count
        wait_until(lambda: len(self.answered) >= wanted)

    def _run(self) -> None:
        number = 0
        while not self._ending.is_set():
            number += 1
            with suppress(OSError, HTTPException):  # a worker that is replaced
                if self.ask(f"r-{number}") == 200:
                    self.answered.add(f"r-{number}")
            time.sleep(0.005)


@pytest.fixture
def collecting(hosted: Any, wait_until: Callable[..., Any]) -> Iterator[Collecting]:
    made = Collecting(hosted, wait_until)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def asking(hosted: Any, holder: Callable[[], int], collecting: Collecting) -> Iterator[Asking]:
    hosted.start(runtime=None)
    artifact = hosted.home.artifacts / NAME
    (artifact / "code").mkdir(parents=True)
    (artifact / "code" / "plain_model.py").write_text(MODEL)
    flavor = {"loader_module": "plain_model", "code": "code"}
    (artifact / "MLmodel").write_text(json.dumps({"flavors": {"python_function": flavor}}))
    release = replace(hosted.release(NAME), model="fraud")
    hosted.target.place(release)
    with Asking(hosted, hosted.until(NAME, PlacementState.READY).endpoint) as asking:
        yield asking


@pytest.mark.long
def test_no_record_is_lost_where_the_collector_is_killed_under_load(
    asking: Asking, collecting: Collecting, wait_until: Callable[..., Any]
) -> None:
    asking.more(wait_until)
    collecting.kill()
    asking.more(wait_until)
    collecting.start()
    asking.more(wait_until)
    collecting.until_all(set(asking.answered))


@pytest.mark.long
@pytest.mark.parametrize("first", ["collector", "host"])
def test_a_worker_of_an_earlier_host_is_given_its_connection_by_the_next_one(
    asking: Asking, collecting: Collecting, hosted: Any, wait_until: Callable[..., Any], first: str
) -> None:
    worker = hosted.target.observe()[NAME].pid
    asking.more(wait_until)
    for kill in (collecting.kill, hosted.kill) if first == "collector" else (hosted.kill, collecting.kill):
        kill()
        asking.more(wait_until)
    collecting.start()
    hosted.start(runtime=None)
    hosted.until(NAME, PlacementState.READY, but=worker)
    wait_until(lambda: identity(worker) is None)
    asking.more(wait_until)
    collecting.until_all(set(asking.answered))


@pytest.mark.long
def test_a_holder_that_died_keeps_no_worker_from_its_connection(
    asking: Asking, collecting: Collecting, hosted: Any, holder: Callable[[], int], wait_until: Callable[..., Any]
) -> None:
    worker = hosted.target.observe()[NAME].pid
    held = holder()
    wires = lambda: [one for one in Path(f"/proc/{held}/fd").iterdir() if "socket:" in str(one.readlink())]  # noqa: E731
    wait_until(lambda: len(wires()) >= 4)  # its own, the host's, the release's, and the worker's
    collecting.kill()
    hosted.kill()
    asking.more(wait_until)
    collecting.start()
    hosted.start(runtime=None)
    hosted.until(NAME, PlacementState.READY, but=worker)
    wait_until(lambda: identity(worker) is None)
    collecting.until_all(set(asking.answered))


def test_a_worker_that_floods_its_reports_while_it_loads_harms_itself_alone(
    hosted: Any, wait_until: Callable[..., Any]
) -> None:
    hosted.start()
    neighbour = hosted.placed()
    release = hosted.release("fraud-2-bbbbbb", load="flood")
    hosted.target.place(release)
    failed = hosted.until(release.id, PlacementState.FAILED)
    assert "it reported something that the runtime does not say" in failed.reason
    assert hosted.ask(neighbour).status == 200
    assert hosted.process.poll() is None
    hosted.process.send_signal(signal.SIGTERM)
    assert hosted.process.wait(20) == -signal.SIGTERM  # the server ends by the signal once all is stopped
