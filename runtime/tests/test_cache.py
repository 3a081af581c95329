"""The response cache, compared with a dictionary that holds the right answers."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from serinus_runtime.cache.storage import Cache, ConsistencyCheck, Sketch, weigh

KIB = 1024


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def key_of(number: int) -> bytes:
    return b"k%d" % number


class TheCache(RuleBasedStateMachine):
    """`truth`: what was put last and when it expires. The cache may have forgotten it, never something else."""

    MOST = 64 * KIB
    TTL = 10.0

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cache = Cache(self.MOST, self.TTL, self.clock)
        self.truth: dict[bytes, tuple[Any, float]] = {}

    @rule(number=st.integers(0, 40), value=st.integers(), size=st.integers(0, 5_000))
    def ask_and_keep(self, number: int, value: int, size: int) -> None:
        key = key_of(number)
        self.check(key)
        entry = self.cache.put(key, (value, b"x" * size))
        if entry is not None:
            assert entry.expires == self.clock.now + self.TTL
            self.truth[key] = ((value, b"x" * size), entry.expires)

    @rule(number=st.integers(0, 40))
    def ask(self, number: int) -> None:
        self.check(key_of(number))

    @rule(number=st.integers(0, 40), other=st.integers(41, 60))
    def keep_what_is_made_of_another_entry(self, number: int, other: int) -> None:
        source = self.cache.get(key_of(number))
        if source is not None:
            self.check(key_of(other))
            if self.cache.put(key_of(other), source.value, expires=source.expires) is not None:
                self.truth[key_of(other)] = (source.value, source.expires)

    @rule(seconds=st.floats(0, 15))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def forget(self) -> None:
        self.cache.clear()
        self.truth.clear()

    def check(self, key: bytes) -> None:
        entry = self.cache.get(key)
        if entry is not None:
            value, expires = self.truth[key]
            assert entry.value == value
            assert self.clock.now < expires

    @invariant()
    def it_is_never_larger_than_allowed(self) -> None:
        assert 0 <= self.cache.bytes <= self.MOST
        assert (self.cache.bytes == 0) == (len(self.cache) == 0)


TestTheCache = TheCache.TestCase
TestTheCache.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_what_was_asked_for_once_is_not_kept_and_what_was_asked_for_twice_is() -> None:
    cache = Cache(64 * KIB, 60)
    assert cache.get(b"row") is None
    assert cache.put(b"row", 1.0) is None
    assert cache.get(b"row") is None
    assert cache.put(b"row", 1.0) is not None
    found = cache.get(b"row")
    assert found is not None
    assert found.value == 1.0


def test_an_entry_is_given_until_its_time_is_up_and_not_at_that_moment() -> None:
    clock = Clock()
    cache = kept(Cache(64 * KIB, 10, clock), b"row")
    clock.now += 9.999
    assert cache.get(b"row") is not None
    clock.now += 0.001
    assert cache.get(b"row") is None
    assert cache.bytes == 0


def test_being_asked_for_does_not_make_an_entry_younger() -> None:
    clock = Clock()
    cache = kept(Cache(64 * KIB, 10, clock), b"row")
    for _ in range(9):
        clock.now += 1
        assert cache.get(b"row") is not None
    clock.now += 1
    assert cache.get(b"row") is None


def kept(cache: Cache, *keys: bytes, value: Any = 1.0, times: int = 2) -> Cache:
    for key in keys:
        for _ in range(times):
            cache.get(key)
        cache.put(key, value)
    return cache


def test_rows_that_come_twice_do_not_push_out_those_that_come_often() -> None:
    cache = Cache(64 * KIB, 60)
    often = [b"often-%d" % n for n in range(20)]
    kept(cache, *often, value=b"x" * 2000, times=5)
    kept(cache, *(b"seldom-%d" % n for n in range(60)), value=b"x" * 2000)
    left = sum(cache.get(key) is not None for key in often)
    assert left >= 18, "the sketch takes one key in thousands for another, and hashes differ from run to run"


def test_of_keys_that_are_asked_for_less_the_least_recently_used_go_first() -> None:
    cache = kept(Cache(64 * KIB, 60), *(key_of(n) for n in range(8)), value=b"x" * 7_500)
    cache.get(key_of(0))
    kept(cache, b"new", value=b"x" * 7_500, times=4)
    assert cache.get(b"new") is not None
    assert cache.get(key_of(0)) is not None
    assert cache.get(key_of(1)) is None


def test_what_has_expired_makes_room_however_often_it_was_asked_for() -> None:
    clock = Clock()
    cache = kept(Cache(64 * KIB, 10, clock), *(key_of(n) for n in range(8)), value=b"x" * 7_500, times=9)
    kept(cache, b"new", value=b"x" * 7_500)
    assert cache.get(b"new") is None
    clock.now += 10
    kept(cache, b"new", value=b"x" * 7_500)
    assert cache.get(b"new") is not None


def test_one_answer_does_not_take_most_of_the_cache() -> None:
    assert len(kept(Cache(64 * KIB, 60), b"large", value=b"x" * 9_000)) == 0


def test_a_value_whose_memory_is_not_known_is_refused() -> None:
    cache = Cache(64 * KIB, 60)
    for _ in range(2):
        cache.get(b"row")
    with pytest.raises(TypeError, match="a set is not weighed"):
        cache.put(b"row", {1.0})


FILLING = """
import random
import tracemalloc
from serinus_runtime.cache.storage import Cache

cache, rng = Cache(4 << 20, 60), random.Random(1)
tracemalloc.start()
before = tracemalloc.get_traced_memory()[0]
for n in range(6_000):
    key, value = rng.randbytes(300), ([rng.random() for _ in range(34)], {"a": str(n)}, rng.randbytes(100))
    cache.get(key)
    cache.get(key)
    cache.put(key, value)
    del key, value
print(cache.bytes, tracemalloc.get_traced_memory()[0] - before)
"""


def test_the_memory_of_a_full_cache_is_what_it_says() -> None:
    """In a process of its own: what is measured includes other threads."""
    told = subprocess.run([sys.executable, "-c", FILLING], capture_output=True, text=True, timeout=60, check=True)
    said, used = map(int, told.stdout.split())
    assert said > 3.9 * KIB * KIB
    assert 0.8 * said < used < 1.05 * said


def test_plain_values_are_weighed_with_all_that_they_hold() -> None:
    assert weigh([1.0, "é", None]) >= sum(map(weigh, (1.0, "é", None))) + weigh([]) + 3 * 8
    assert weigh({"a": [1.0]}) > weigh({}) + weigh("a") + weigh([1.0])


@given(st.lists(st.integers(0, 30), max_size=250))
def test_a_sketch_never_counts_too_few(seen: list[int]) -> None:
    sketch = Sketch(1024)
    for number in seen:
        sketch.count(hash(key_of(number)))
    for number in set(seen):
        assert sketch.estimate(hash(key_of(number))) >= seen.count(number)


def test_a_sketch_counts_few_too_many_and_forgets() -> None:
    sketch = Sketch(8192)
    for number in range(500):
        for _ in range(3):
            sketch.count(hash(key_of(number)))
    assert sum(sketch.estimate(hash(key_of(number))) > 3 for number in range(500)) < 25
    for number in range(5_000):
        sketch.count(hash(key_of(number % 7)))
    assert sum(sketch.estimate(hash(key_of(number))) > 0 for number in range(7, 500)) < 25


def test_of_rows_that_come_once_few_are_taken_for_known_however_many_there_are() -> None:
    cache = Cache(KIB * KIB, 60)
    kept(cache, *(key_of(n) for n in range(20_000)), times=1)
    assert len(cache) < 2_000


def test_a_model_that_contradicts_itself_is_noticed() -> None:
    consistency = ConsistencyCheck()
    assert not consistency.contradicts(b"a", [0.25, None])
    assert not consistency.contradicts(b"b", [0.75])
    assert not consistency.contradicts(b"a", [0.25, None])
    assert not consistency.contradicts(b"a", [0.25 + 1e-9, None])
    assert consistency.contradicts(b"a", [0.26, None])
    assert consistency.contradicts(b"b", [None])


def test_a_million_random_operations_give_no_wrong_answer() -> None:
    """Zipf-like requests, time passing, entries of all sizes; the truth changes whenever an entry has expired."""
    rng, clock = random.Random(20), Clock()
    cache = Cache(256 * KIB, 5.0, clock)
    truth: dict[bytes, tuple[float, float]] = {}
    hits = 0
    for n in range(1_000_000):
        key = key_of(int(rng.paretovariate(0.8)))
        clock.now += rng.random() / 500
        entry = cache.get(key)
        if entry is not None:
            value, expires = truth[key]
            assert entry.value[0] == value
            assert clock.now < expires
            hits += 1
            continue
        entry = cache.put(key, (float(n), b"x" * rng.randrange(200)))
        if entry is not None:
            truth[key] = (float(n), entry.expires)
        assert cache.bytes <= 256 * KIB
    assert hits > 400_000
