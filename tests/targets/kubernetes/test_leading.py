"""Who holds the Lease decides, in a term that is higher than all before."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from leases import MemoryLeases

from serinus.backends.sql import SqlStore
from serinus.core.errors import Superseded, Unavailable
from serinus.targets.kubernetes.leading import LeaseLeadership, Timing


@dataclass
class Clock:
    """Of one machine."""

    seconds: float

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def leases() -> MemoryLeases:
    return MemoryLeases()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with closing(SqlStore(f"sqlite:///{tmp_path / 'store.db'}")) as made:
        yield made


class Candidate:
    """A control plane on a machine of its own."""

    def __init__(self, leases: MemoryLeases, store: SqlStore, name: str, seconds: float) -> None:
        self.clock = Clock(seconds)
        self.leadership = LeaseLeadership(leases, "serinus", name, store, clock=self.clock)

    def attempt(self) -> int | None:
        """The term, if it decides after another attempt."""
        self.leadership.attempt()
        return self.term

    @property
    def term(self) -> int | None:
        try:
            return self.leadership.term()
        except Superseded:
            return None


@pytest.fixture
def a(leases: MemoryLeases, store: SqlStore) -> Candidate:
    return Candidate(leases, store, "a", 1_000.0)


@pytest.fixture
def b(leases: MemoryLeases, store: SqlStore) -> Candidate:
    return Candidate(leases, store, "b", 5.0)


def pass_by(seconds: float, *candidates: Candidate) -> None:
    for one in candidates:
        one.clock.seconds += seconds


def test_the_first_one_decides_and_the_other_waits(a: Candidate, b: Candidate, store: SqlStore) -> None:
    assert (a.attempt(), b.attempt()) == (1, None)
    assert store.last_term() == (1, "a")
    with pytest.raises(Superseded, match="a does"):
        b.leadership.term()


def test_it_goes_on_for_as_long_as_the_lease_is_renewed(a: Candidate, b: Candidate) -> None:
    a.attempt()
    for _ in range(30):
        pass_by(9.0, a, b)
        assert (a.attempt(), b.attempt()) == (1, None)


def test_it_stops_by_itself_before_another_one_may_begin(a: Candidate, b: Candidate) -> None:
    a.attempt()
    b.attempt()
    for _ in range(20):
        pass_by(1.0, a, b)
        assert b.attempt() is None or a.term is None
    assert (a.term, b.term) == (None, 2)


def test_a_renewal_counts_from_its_beginning(a: Candidate, leases: MemoryLeases) -> None:
    a.attempt()
    pass_by(8.0, a)
    leases.before_write = lambda: pass_by(8.0, a)  # so long takes the answer
    a.leadership.attempt()
    pass_by(1.0, a)
    assert a.term == 1
    pass_by(1.5, a)
    assert a.term is None


def test_clocks_and_times_in_the_lease_decide_nothing(a: Candidate, b: Candidate, leases: MemoryLeases) -> None:
    a.attempt()
    assert leases.there is not None
    leases.there["spec"]["renewTime"] = "1970-01-01T00:00:00.000000Z"
    assert b.attempt() is None
    pass_by(14.0, b)
    assert b.attempt() is None
    pass_by(1.5, b)
    assert b.attempt() == 2


def test_a_lease_that_says_a_longer_time_is_left_to_its_holder_for_so_long(
    leases: MemoryLeases, store: SqlStore, b: Candidate
) -> None:
    patient = LeaseLeadership(leases, "serinus", "a", store, timing=Timing(duration=60, deadline=40.0))
    patient.attempt()
    b.attempt()
    pass_by(59.0, b)
    assert b.attempt() is None
    pass_by(2.0, b)
    assert b.attempt() == 2


def test_who_wakes_after_another_one_has_begun_stores_nothing_and_stops(
    a: Candidate, b: Candidate, store: SqlStore
) -> None:
    """Its clock may have stood still with it, as that of a virtual machine."""
    a.attempt()
    b.attempt()
    pass_by(16.0, b)
    assert b.attempt() == 2
    assert a.term == 1, "it cannot know"
    with pytest.raises(Superseded, match="b decides in term 2"):
        store.deciding(a.leadership).set_setting("decided", "by a")
    assert a.term is None
    assert a.leadership.ended.is_set()
    assert store.setting("decided") is None


def test_who_takes_the_lease_and_sleeps_before_its_term_begins_does_not_decide(
    a: Candidate, b: Candidate, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = store.begin_term

    def asleep(term: int, holder: str) -> None:
        monkeypatch.undo()
        b.attempt()
        pass_by(16.0, b)
        assert b.attempt() == 2
        begin(term, holder)

    monkeypatch.setattr(store, "begin_term", asleep)
    with pytest.raises(Superseded, match="b decides in term 2"):
        a.leadership.attempt()
    assert (a.term, b.term) == (None, 2)
    assert b.attempt() == 2, "its Lease is as it was"


def test_of_two_that_take_it_at_once_one_decides(a: Candidate, b: Candidate, leases: MemoryLeases) -> None:
    def first() -> None:
        leases.before_write = lambda: None
        assert b.attempt() == 1

    leases.before_write = first
    assert a.attempt() is None
    assert b.attempt() == 1


def test_what_is_given_back_is_taken_at_once(a: Candidate, b: Candidate) -> None:
    a.attempt()
    a.leadership.release()
    assert a.term is None
    assert b.attempt() == 2
    a.leadership.release()
    assert b.attempt() == 2


def test_a_deleted_lease_ends_the_term_and_the_next_is_higher(a: Candidate, b: Candidate, leases: MemoryLeases) -> None:
    a.attempt()
    leases.there = None
    a.leadership.attempt()
    assert a.leadership.ended.is_set()
    assert b.attempt() == 2


def test_what_a_person_writes_to_the_lease_ends_nothing(a: Candidate, leases: MemoryLeases) -> None:
    a.attempt()
    leases.edit(team="fraud")
    for _ in range(2):
        pass_by(6.0, a)
        assert a.attempt() == 1
    assert leases.there is not None
    assert leases.there["metadata"]["labels"] == {"team": "fraud"}


def test_an_answer_that_is_lost_ends_nothing(a: Candidate, leases: MemoryLeases) -> None:
    leases.lost = True
    with pytest.raises(Unavailable):
        a.leadership.attempt()
    assert a.attempt() == 2, "the term of the answer that is lost has not begun"
    leases.lost = True
    with pytest.raises(Unavailable):
        a.leadership.attempt()
    for _ in range(3):
        pass_by(4.0, a)
        assert a.attempt() == 2


def test_while_the_api_server_is_away_it_decides_until_its_time_is_over(a: Candidate, leases: MemoryLeases) -> None:
    a.attempt()
    leases.away = True
    pass_by(9.0, a)
    with pytest.raises(Unavailable):
        a.leadership.attempt()
    assert a.term == 1
    pass_by(2.0, a)
    with pytest.raises(Superseded, match="was not renewed for 10 s"):
        a.leadership.term()
    leases.away = False
    with pytest.raises(Superseded):
        a.leadership.attempt()


def test_without_the_store_no_term_begins_and_the_lease_is_left_to_others(
    a: Candidate, b: Candidate, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise Unavailable("the store does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(store, "begin_term", away)
        with pytest.raises(Unavailable):
            a.leadership.attempt()
    assert a.term is None
    assert b.attempt() == 2


def test_the_loop_takes_renews_and_ends(leases: MemoryLeases, store: SqlStore) -> None:
    timing = Timing(duration=1, deadline=0.5, retry=0.02)
    leadership = LeaseLeadership(leases, "serinus", "a", store, timing=timing)
    stop = threading.Event()
    thread = threading.Thread(target=leadership.run, args=(stop,))
    leases.away = True
    thread.start()
    assert not leadership.decides.wait(0.1)
    leases.away = False
    assert leadership.decides.wait(10)
    assert leadership.term() == 1
    leases.away = True
    thread.join(10)
    assert not thread.is_alive(), "it ends with the term"
    assert leadership.ended.is_set()
    stop.set()
