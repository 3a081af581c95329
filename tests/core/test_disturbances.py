"""When the platform disturbed what models answer: what is written is read, whatever becomes of who wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest

from serinus import disturbances
from serinus.core.disturbance import LONGEST, WORDS, Cause, Disturbance
from serinus.disturbances import Disturbances, Journal


class Clock:
    time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Journal:
    return Journal(tmp_path, "host", clock)


def test_it_is_known_from_its_beginning_until_its_effects_are_over(tmp_path: Path, journal: Journal, clock) -> None:
    seen = Disturbances(tmp_path)
    assert seen.within(0, 5000) == []
    number = journal.begin(Cause.ACTIVATION, "fraud")
    assert seen.within(1000, 1001) == [Disturbance(Cause.ACTIVATION, 1000.0, None, "fraud")]
    clock.time = 1010
    journal.end(number, settled=3)
    assert seen.within(0, 5000) == [Disturbance(Cause.ACTIVATION, 1000.0, 1013.0, "fraud")]
    assert seen.within(1014, 1020) == []
    assert seen.within(900, 999) == []


def test_the_disturbances_of_all_writers_are_read(tmp_path: Path, journal: Journal, clock) -> None:
    journal.mark(Cause.SCALING, 2, "fraud")
    Journal(tmp_path, "supervisor", clock).mark(Cause.RESTART, 5, since=998)
    found = Disturbances(tmp_path).within(990, 1010)
    assert {(one.cause, one.since, one.until, one.model) for one in found} == {
        (Cause.SCALING, 1000, 1002, "fraud"),
        (Cause.RESTART, 998, 1005, ""),
    }
    assert [one.cause for one in found if one.concerns("churn")] == [Cause.RESTART]


def test_what_a_killed_writer_has_left_open_ends_when_the_next_one_begins(
    tmp_path: Path, journal: Journal, clock
) -> None:
    journal.begin(Cause.ACTIVATION, "fraud")
    clock.time = 1020
    after = Journal(tmp_path, "host", clock)
    number = after.begin(Cause.RESTART, "fraud")
    assert {(one.cause, one.until) for one in Disturbances(tmp_path).within(0, 5000)} == {
        (Cause.ACTIVATION, 1020.0),
        (Cause.RESTART, None),
    }
    after.end(number)
    assert all(one.until == 1020.0 for one in Disturbances(tmp_path).within(0, 5000))


def test_no_disturbance_is_believed_for_ever(tmp_path: Path, journal: Journal) -> None:
    journal.begin(Cause.ACTIVATION, "fraud")
    seen = Disturbances(tmp_path)
    assert seen.within(1000 + LONGEST, 1000 + LONGEST)
    assert seen.within(1000 + LONGEST + 1, 9000) == []


def test_lines_that_are_none_are_passed_over(tmp_path: Path, journal: Journal) -> None:
    journal.begin(Cause.ACTIVATION, "fraud")
    with (tmp_path / "host.jsonl").open("a") as file:
        file.write(
            '[]\n{"id": 5, "until": 3}\n{"id": 6, "cause": "of-tomorrow", "model": "", "since": 1}\n{"id": 1, "un'
        )
    assert [one.cause for one in Disturbances(tmp_path).within(0, 5000)] == [Cause.ACTIVATION]


def test_the_file_does_not_grow_for_ever_and_what_goes_on_is_kept(
    tmp_path: Path, journal: Journal, clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disturbances, "_LARGE", 20_000)
    seen = Disturbances(tmp_path)
    clock.time = 1_000_000
    open_one = journal.begin(Cause.STARVED, "fraud")
    for _ in range(2000):
        clock.time += 60
        journal.mark(Cause.ACTIVATION, 3, "fraud", since=clock.time)
        if clock.time % 600 == 0:
            journal.end(open_one)
            open_one = journal.begin(Cause.STARVED, "fraud")
    assert (tmp_path / "host.jsonl").stat().st_size < 400_000
    found = seen.within(clock.time - 3600, clock.time)
    assert sum(one.cause is Cause.ACTIVATION for one in found) >= 60
    assert [one.until for one in found if one.since == clock.time and one.cause is Cause.STARVED] in ([None], [])


def test_a_full_disk_stops_nobody(tmp_path: Path, clock, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file", "host", clock)
    journal.end(journal.begin(Cause.ACTIVATION))
    assert "could not be written down" in caplog.text


def test_each_cause_has_words() -> None:
    assert set(WORDS) == set(Cause)
