"""Releases on their way into the cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from waiting import wait_until

from serinus.core.errors import Unavailable, Unbuildable
from serinus.core.placement import PlacementState
from serinus.core.release import USUAL, Release, Scale, ServingSettings
from serinus.targets.kubernetes.placing import Placing, Wish

RELEASE = Release("fraud-1-abcdef", "fraud", "1", "a", "b", ServingSettings(), datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def placing() -> Iterator[Callable[[Callable[[Wish], None]], Placing]]:
    made: list[Placing] = []

    def make(bring: Callable[[Wish], None]) -> Placing:
        made.append(Placing(bring))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_what_is_brought_is_no_wish_any_more(placing: Callable[..., Placing]) -> None:
    brought: list[Wish] = []
    one = placing(brought.append)
    one.wish(RELEASE, USUAL)
    wait_until(lambda: not one.wishes())
    assert [(wish.release, wish.scale) for wish in brought] == [(RELEASE, USUAL)]


def test_what_is_refused_for_now_is_tried_again_and_says_why(placing: Callable[..., Placing]) -> None:
    allowed = threading.Event()

    def bring(_: Wish) -> None:
        if not allowed.is_set():
            raise Unavailable("The quota 'team' is used up.", delay=0.0)

    one = placing(bring)
    one.wish(RELEASE, USUAL)
    wait_until(lambda: one.wishes()[RELEASE.id].reason == "The quota 'team' is used up.")
    assert one.wishes()[RELEASE.id].state is PlacementState.STARTING
    allowed.set()
    wait_until(lambda: not one.wishes())


def test_what_can_never_be_brought_has_failed(placing: Callable[..., Placing]) -> None:
    def bring(_: Wish) -> None:
        raise Unbuildable("'torch' has no wheel for linux/arm64.")

    one = placing(bring)
    one.wish(RELEASE, USUAL)
    wait_until(lambda: one.wishes()[RELEASE.id].failed)
    assert one.wishes()[RELEASE.id].state is PlacementState.FAILED
    assert "no wheel" in one.wishes()[RELEASE.id].reason


def test_a_mistake_in_the_code_is_said_and_tried_again(placing: Callable[..., Placing]) -> None:
    times: list[int] = []

    def bring(_: Wish) -> None:
        times.append(1)
        if len(times) == 1:
            raise ZeroDivisionError

    one = placing(bring)
    one.wish(RELEASE, USUAL)
    wait_until(lambda: not one.wishes())
    assert len(times) == 2


def test_the_last_scale_holds(placing: Callable[..., Placing]) -> None:
    go, written = threading.Event(), []

    def bring(wish: Wish) -> None:
        go.wait(30)
        with wish.writing:
            if not wish.ended.is_set():
                written.append(wish.scale)

    one = placing(bring)
    for workers in (1, 2, 3):
        one.wish(RELEASE, Scale(max_workers=workers))
    go.set()
    wait_until(lambda: not one.wishes())
    assert written == [Scale(max_workers=3)]


def test_wishing_the_same_twice_is_wishing_it_once(placing: Callable[..., Placing]) -> None:
    go, calls = threading.Event(), []

    def bring(wish: Wish) -> None:
        calls.append(wish)
        go.wait(30)

    one = placing(bring)
    one.wish(RELEASE, USUAL)
    one.wish(replace(RELEASE), replace(USUAL))
    wait_until(lambda: bool(calls))
    go.set()
    wait_until(lambda: not one.wishes())
    assert len(calls) == 1


def test_nothing_is_written_for_what_was_forgotten(placing: Callable[..., Placing]) -> None:
    begun, go, written = threading.Event(), threading.Event(), []

    def bring(wish: Wish) -> None:
        begun.set()
        go.wait(30)
        with wish.writing:
            if not wish.ended.is_set():
                written.append(wish)

    one = placing(bring)
    one.wish(RELEASE, USUAL)
    begun.wait(30)
    assert one.forget(RELEASE.id) is not None
    go.set()
    assert one.wishes() == {}
    assert one.forget(RELEASE.id) is None
    placing(lambda _: None).close()
    assert written == []


def test_forgetting_waits_for_what_is_being_written(placing: Callable[..., Placing]) -> None:
    begun, go, written = threading.Event(), threading.Event(), []

    def bring(wish: Wish) -> None:
        with wish.writing:
            begun.set()
            go.wait(30)
            written.append(wish)

    one = placing(bring)
    one.wish(RELEASE, USUAL)
    begun.wait(30)
    threading.Timer(0.05, go.set).start()
    one.forget(RELEASE.id)
    assert len(written) == 1
