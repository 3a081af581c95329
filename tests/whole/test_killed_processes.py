"""`kill -9` of each process in turn under constant load: which requests failed, for how long, and what was lost.

With SERINUS_WRITE_DOCS=1 what was measured goes into docs/failures.md.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from kill_tables import failures, lost, write_rows
from whole_load import Load, wait_until
from whole_serinus import Serinus

from serinus.core.placement import PlacementState
from serinus.targets.local.supervisor import processes, state, up
from serinus.targets.local.supervisor.checks import local_checks
from serinus.targets.local.supervisor.settings import load as load_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MODEL = "steady"
MOST_SECONDS_OF_FAILURES = 30.0
MOST_SECONDS_LOST = 1.0
MOST_FAILED_OF_WHO_CAN_WAIT = 3
DOCUMENT = Path(__file__).parents[2] / "docs" / "failures.md"


@dataclass(frozen=True)
class Measured:
    """One kill."""

    process: str
    requests: int
    rate: float
    """Answers a second over all of it, the outage included."""
    failed: str
    """How many and how; empty: none."""
    failing: float
    """Seconds from the first failed request's due time to the last one's end."""
    back: float
    """Seconds from the kill until it ran and answered again."""
    lost: int
    """Answered requests without a record."""

    @property
    def row(self) -> str:
        failing = f"{self.failing:.2f} s" if self.failed else "-"
        return (
            f"| {self.process} | {self.requests:,} | {self.rate:.0f} | {self.failed or '0'} | {failing} "
            f"| {self.back:.1f} s | {self.lost or '0'} |"
        )


@pytest.fixture(scope="module")
def champion(serinus: Serinus, register: Callable[..., str]) -> str:
    """The id of the release that serves the model."""
    ended = serinus.deployed(f"{MODEL}@{register(MODEL, 1.0)}")
    assert ended["status"]["phase"] == "promoted", ended["status"]
    return str(ended["candidate"]["id"])


@pytest.fixture(scope="module")
def table() -> Iterator[list[Measured]]:
    measured: list[Measured] = []
    yield measured
    write_rows(DOCUMENT, "| killed |", (one.row for one in measured))


Kill = Callable[..., tuple[Load, pl.DataFrame, Measured]]


@pytest.fixture
def kill(serinus: Serinus, champion: str, rate: float, table: list[Measured]) -> Kill:
    """kill(name, pid, back): under load, with what was seen of it. `back`: whether all is as before."""

    def killed(
        name: str, pid: int, back: Callable[[], bool], shown: str = "", model: str = MODEL
    ) -> tuple[Load, pl.DataFrame, Measured]:
        with serinus.load(model, rate) as load:
            wait_until(lambda: len(load.seen) > rate, 30, "steady load")
            at = time.time()
            os.kill(pid, signal.SIGKILL)
            try:
                wait_until(back, 90, f"the return of {name}")
            except AssertionError as error:
                error.add_note(f"{list(processes(serinus.home))}")
                log = serinus.home.logs / f"{name}.log"
                error.add_note(log.read_text()[-2000:] if log.exists() else "no log")
                raise
            seconds = time.time() - at
            wait_until(lambda: load.seen[-1].good and load.seen[-1].at > at + seconds + 1, 30, "a second of answers")
        # Of half a second: two workers hand their records in at different times.
        last = [seen.id for seen in load.seen if seen.good][-int(rate / 2) :]
        records = wait_until(lambda: containing(serinus.records(load), last), 60, "records of the last answers")
        measured = measure(shown or name, load, seconds, records)
        print(f"\n{measured.row}")
        table.append(measured)
        return load, records, measured

    return killed


def containing(records: pl.DataFrame, ids: list[str]) -> pl.DataFrame | None:
    return records if set(ids) <= set(records["request_id"]) else None


def measure(name: str, load: Load, back: float, records: pl.DataFrame) -> Measured:
    failed = load.failed
    failing = max(seen.ended for seen in failed) - min(seen.at for seen in failed) if failed else 0.0
    return Measured(name, len(load.seen), load.reached(), failures(load), failing, back, len(lost(load, records)))


def restarted(serinus: Serinus, name: str) -> Callable[[], bool]:
    """Whether `name` was started again since, answers, and the status says so."""
    before = serinus.process(name)
    settings = load_settings(serinus.home)
    assert settings is not None
    check = next(check for check in local_checks(serinus.home, settings) if check.process == name)

    def look() -> bool:
        now = serinus.process(name)
        again = now["state"] == state.RUNNING and now["restarts"] > before["restarts"]
        # On a machine without time to spare the first new one may not live either; then the last end is told.
        said = "SIGKILL" in now["reason"] or now["restarts"] > before["restarts"] + 1
        return again and now["pid"] != before["pid"] and said and check.answers()

    return look


@pytest.mark.parametrize("name", ["collector", "holder", "control", "mlflow"])
def test_no_request_fails_and_no_record_is_lost_when_a_process_beside_the_request_path_is_killed(
    serinus: Serinus, kill: Kill, name: str
) -> None:
    load, records, _ = kill(name, serinus.process(name)["pid"], restarted(serinus, name))
    assert load.in_words() == {}
    assert lost(load, records) == set()
    assert records["request_id"].is_unique().all()
    assert serinus.model(MODEL)["state"] == "serving"


def test_no_request_fails_when_the_host_is_killed_and_the_next_one_takes_its_workers_over(
    serinus: Serinus, kill: Kill, champion: str
) -> None:
    worker = serinus.placement(champion).pid
    again = restarted(serinus, "host")

    def back() -> bool:
        return again() and serinus.placement(champion).pid != worker and ready(serinus, champion)

    load, records, _ = kill("host", serinus.process("host")["pid"], back)
    assert load.in_words() == {}
    assert lost(load, records) == set()


def ready(serinus: Serinus, release: str) -> bool:
    return serinus.placement(release).state is PlacementState.READY


def test_requests_fail_for_seconds_only_when_envoy_is_killed(serinus: Serinus, kill: Kill) -> None:
    load, records, measured = kill("envoy", serinus.process("envoy")["pid"], restarted(serinus, "envoy"))
    assert 0 < measured.failing <= MOST_SECONDS_OF_FAILURES
    assert lost(load, records) == set()
    assert serinus.model(MODEL)["state"] == "serving"


@pytest.mark.parametrize(("model", "timeout"), [("prompt", "250ms"), ("patient", "3s")])
def test_hardly_a_request_fails_when_the_champions_worker_is_killed_and_a_second_of_records_is_lost_at_most(
    serinus: Serinus, kill: Kill, register: Callable[..., str], model: str, timeout: str
) -> None:
    ended = serinus.deployed(f"{model}@{register(model, 1.0)}", timeout=timeout)
    assert ended["status"]["phase"] == "promoted", ended["status"]
    champion = ended["candidate"]["id"]
    before = serinus.placement(champion)
    assert before.pid is not None
    killed_at = time.time()

    def back() -> bool:
        nonlocal killed_at
        now = serinus.placement(champion)
        if now.pid == before.pid:
            killed_at = time.time()
        return now.pid not in (None, before.pid) and ready(serinus, champion) and now.restarts == before.restarts + 1

    shown = f"the champion's worker, `timeout: {timeout}`"
    load, records, measured = kill("its worker", before.pid, back, shown, model)
    assert measured.failing <= MOST_SECONDS_OF_FAILURES
    # What was in flight is asked once more: only where that is cut off as well, it fails.
    assert timeout != "3s" or len(load.failed) <= MOST_FAILED_OF_WHO_CAN_WAIT, load.in_words()
    gone = lost(load, records)
    assert all(seen.ended >= killed_at - MOST_SECONDS_LOST for seen in load.seen if seen.id in gone)
    assert serinus.model(model)["champion"]["restarts"] == before.restarts + 1


def test_a_rollout_goes_on_where_it_was_when_control_is_killed_in_the_middle_of_a_canary(
    serinus: Serinus, kill: Kill, register: Callable[..., str], rate: float
) -> None:
    rollout = serinus.deploy(f"{MODEL}@{register(MODEL, 0.1)}", seconds=12)
    with serinus.load(MODEL, rate) as background:
        wait_until(lambda: serinus.rollout(rollout)["status"]["phase"] == "canary", 90, "the canary")
        before = serinus.rollout(rollout)["steps"][0]
        load, records, _ = kill(
            "control", serinus.process("control")["pid"], restarted(serinus, "control"), "control, in a canary"
        )
        after = serinus.rollout(rollout)
        ended = serinus.ended(rollout)
    assert load.in_words() == {}
    assert background.in_words() == {}
    assert lost(load, records) == set()
    assert after["status"]["phase"] == "canary"
    assert ended["status"]["phase"] == "promoted", ended["status"]
    assert len(ended["steps"]) == 2
    assert [ended["steps"][0][key] for key in ("split", "started_at")] == [before["split"], before["started_at"]]
    assert serinus.model(MODEL)["champion"]["release"] == ended["candidate"]["id"]


def test_everything_goes_on_without_the_supervisor_and_the_next_up_takes_it_over(
    serinus: Serinus, kill: Kill, champion: str
) -> None:
    before = {p["name"]: p["pid"] for p in state.processes(serinus.home)}
    shown: set[str] = set()

    def back() -> bool:
        now = serinus.process("supervisor")
        shown.add(now["state"])
        if now["state"] == state.GONE:
            up(serinus.home)
        return bool(now["state"] == state.RUNNING and now["pid"] != before["supervisor"])

    load, records, _ = kill("supervisor", before["supervisor"], back, "supervisor, then `up`")
    assert state.GONE in shown
    assert load.in_words() == {}
    assert lost(load, records) == set()
    after = {p["name"]: p["pid"] for p in state.processes(serinus.home)}
    assert after.pop("supervisor") != before.pop("supervisor")
    assert after == before
