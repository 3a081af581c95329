from __future__ import annotations

import pytest

from serinus.lib.backoff import Backoff


def test_each_pause_is_twice_the_one_before_up_to_the_longest() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.pause() for _ in range(6)] == pytest.approx([0.5, 1.0, 2.0, 3.0, 3.0, 3.0])


def test_after_a_success_it_begins_anew() -> None:
    backoff = Backoff(0.5, 3.0)
    for _ in range(2000):
        backoff.pause()
    backoff.reset()
    assert [backoff.pause() for _ in range(2)] == [0.5, 1.0]


def test_the_first_try_may_come_at_once() -> None:
    backoff = Backoff(0.5, 3.0, at_once=True)
    assert [backoff.pause() for _ in range(4)] == pytest.approx([0.0, 0.5, 1.0, 2.0])
    backoff.reset()
    assert [backoff.pause() for _ in range(2)] == [0.0, 0.5]


def test_each_has_its_own_count() -> None:
    one, other = Backoff(0.5, 3.0), Backoff(0.5, 3.0)
    one.pause()
    assert (one.pause(), other.pause()) == (1.0, 0.5)
