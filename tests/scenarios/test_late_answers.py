"""The registry and the server of the fleet repository take long to answer: what callers get does not wait for them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
import yaml
from lab import ADA, MODEL, OTHER, SPEC, Lab, Late

from serinus.core.errors import Unavailable
from serinus.core.merged import Merged, MergedFile
from serinus.core.people import Access, Actor
from serinus.core.rollout import Kind, Phase
from serinus.engine.reconcile.jobs import Jobs
from serinus.engine.reconcile.outside import Outside, Pending, Unsettled

CARLA = Actor("Carla", Access.DEPLOY, "git", "carla@example.org")
NEVER = None
"""The delay of answers that do not come."""


@pytest.fixture
def serving(lab: Lab) -> Lab:
    """fraud@7 is live, and was fraud@6 before, with 500 requests a second."""
    lab.live("6")
    lab.per_second = 500
    lab.register("7")
    lab.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ADA)
    lab.run(3600, until=lambda: lab.phase.ended)
    assert lab.champion == "7"
    return lab


def answered_after(lab: Lab, delay: timedelta | None) -> Late:
    lab.executor = late = Late(lab.clock, delay)
    lab.restart()
    return late


def test_a_rollback_reaches_callers_while_nothing_answers(serving: Lab) -> None:
    late = answered_after(serving, NEVER)
    serving.run(5)
    serving.desk.rollback(MODEL, to=None, actor=ADA, why="chargebacks rise")
    serving.run(3, until=lambda: serving.routed_to("6"))
    assert serving.routed_to("6")
    serving.run(30)
    assert serving.phase is Phase.PROMOTING
    assert serving.engine.trouble == {}, "nothing has failed yet"
    assert serving.registry.alias[MODEL]["champion"] == "7"
    late.delay = timedelta()
    serving.run(10, until=lambda: serving.phase.ended)
    assert serving.phase is Phase.PROMOTED
    serving.run(10)
    serving.everything_agrees_on("6")


def test_a_call_for_one_model_does_not_delay_another_one(serving: Lab) -> None:
    """As the push of what is live, to a server that takes it and does not answer."""
    serving.desk.deploy(ref=f"{OTHER}@6", spec=None, actor=ADA)
    serving.run(20, until=lambda: serving.store.model(OTHER).champion is not None)
    late = answered_after(serving, NEVER)
    serving.fleet.published.pop(OTHER)
    serving.run(5)
    serving.desk.rollback(MODEL, to=None, actor=ADA, why="chargebacks rise")
    serving.run(3, until=lambda: serving.routed_to("6"))
    assert serving.routed_to("6")
    late.delay = timedelta()
    serving.run(10)
    serving.everything_agrees_on("6")


@pytest.mark.parametrize("seconds", [1, 10, 40])
def test_late_answers_change_nothing_but_time(serving: Lab, seconds: float) -> None:
    answered_after(serving, timedelta(seconds=seconds))
    serving.run(120)
    serving.register("8")
    serving.registry.alias[MODEL]["challenger"] = "8"
    serving.run(300, until=lambda: serving.rollout.version == "8")
    serving.run(3600, until=lambda: serving.phase.ended)
    assert serving.phase is Phase.PROMOTED
    serving.run(300)
    serving.everything_agrees_on("8")
    assert "challenger" not in serving.registry.alias[MODEL]
    serving.desk.rollback(MODEL, to=None, actor=ADA, why="chargebacks rise")
    serving.run(600, until=lambda: serving.phase.ended)
    serving.run(300)
    serving.everything_agrees_on("7")
    kinds = [event.kind for event in serving.store.events(model=MODEL, limit=10_000)]
    assert not {"champion-put-back", "challenger-waits", "not-in-registry"} & set(kinds)
    assert serving.engine.trouble == {}
    serving.registry.alias[MODEL]["champion"] = "6"
    serving.run(300)
    serving.everything_agrees_on("7")
    kinds = [event.kind for event in serving.store.events(model=MODEL, limit=10_000)]
    assert kinds.count("champion-put-back") == 1


def test_the_loop_itself_calls_neither_the_registry_nor_the_server_of_the_fleet(
    serving: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_job = False
    on_the_loop: list[str] = []
    called: set[str] = set()

    class Watched(Late):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            nonlocal in_a_job
            in_a_job = True
            try:
                return super().submit(fn, *args, **kwargs)
            finally:
                in_a_job = False

    def watch(port: object, name: str) -> None:
        asked = getattr(port, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            called.add(name)
            if not in_a_job:
                on_the_loop.append(name)
            return asked(*args, **kwargs)

        monkeypatch.setattr(port, name, call)

    serving.executor = Watched(serving.clock, timedelta(seconds=2))
    serving.restart()
    for name in ("find", "newest", "aliases", "who_set", "set_alias", "drop_alias", "fetch", "run_file"):
        watch(serving.registry, name)
    for name in ("publish", "write", "merged"):
        watch(serving.fleet, name)
    serving.register("8")
    serving.registry.alias[MODEL]["challenger"] = "8"
    serving.run(3600, until=lambda: serving.rollout.version == "8" and serving.phase.ended)
    serving.run(60)
    serving.everything_agrees_on("8")
    assert on_the_loop == []
    assert called >= {"find", "aliases", "set_alias", "drop_alias", "fetch", "publish", "write", "merged"}


def test_a_version_that_was_deleted_is_told_once_however_late_the_answer(serving: Lab) -> None:
    answered_after(serving, timedelta(seconds=3))
    serving.run(10)
    serving.registry.delete("7")
    serving.run(120)
    told = [event.kind for event in serving.store.events(model=MODEL, limit=10_000)]
    assert told.count("not-in-registry") == 1
    assert "champion-put-back" not in told
    assert serving.engine.trouble == {}


def test_what_was_merged_is_carried_out_beside_the_loop(serving: Lab) -> None:
    late = answered_after(serving, timedelta(seconds=3))
    serving.run(10)
    before = dict(serving.fleet.published[MODEL])
    quick = SPEC + "serving: {timeout: 80ms}\n"
    late.delay = NEVER
    serving.fleet.merge(
        Merged(MODEL, MergedFile.SPEC, f"models/{MODEL}/model.yaml", quick, commit="1", summary="Quick", author=CARLA)
    )
    serving.run(10)
    assert serving.fleet.published[MODEL] == before
    late.delay = timedelta(seconds=1)
    serving.run(3600, until=lambda: serving.rollout.why.startswith("Quick") and serving.phase.ended)
    assert (serving.rollout.kind, serving.phase) == (Kind.DEPLOY, Phase.PROMOTED)
    assert yaml.safe_load(serving.fleet.specs[MODEL])["serving"] == {"timeout": "80ms"}


# --- one call ---------------------------------------------------------------------------------------------


@pytest.fixture
def late(lab: Lab) -> Late:
    return Late(lab.clock, NEVER)


@pytest.fixture
def outside(late: Late) -> Outside:
    return Outside(Jobs(late))


def test_an_answer_to_an_earlier_request_is_dropped(outside: Outside, late: Late) -> None:
    asked: list[str] = []

    def ask(request: str) -> str:
        def call() -> str:
            asked.append(request)
            return request

        return outside.answer("key", request, call, "room")

    for _ in range(2):
        with pytest.raises(Pending):
            ask("first")
    with pytest.raises(Pending):
        ask("second")
    assert asked == ["first"], "one call at a time"
    late.delay = timedelta()
    late.answer()
    with pytest.raises(Pending):
        ask("second")
    late.answer()
    assert ask("second") == "second"
    assert asked == ["first", "second"]


def test_why_a_call_failed_is_said_until_one_succeeds(outside: Outside, late: Late) -> None:
    away = [True]

    def call() -> None:
        if away:
            raise Unavailable("it is away")

    def tried() -> list[str]:
        unsettled = Unsettled()
        with unsettled.part("aliases"):
            outside.answer("key", 1, call, "room")
        return [str(unsettled.pending), *unsettled.lines]

    late.delay = timedelta()
    assert tried() == ["True"]
    late.answer()
    assert tried() == ["False", "aliases: it is away"]
    assert tried() == ["True", "aliases: it is away"]
    away.clear()
    late.answer()
    assert tried() == ["False", "aliases: it is away"], "the call was made before"
    assert tried() == ["True", "aliases: it is away"]
    late.answer()
    assert tried() == ["False"]
    assert tried() == ["True"]


def test_a_dropped_call_is_made_again_and_its_failure_is_not_said_of_the_next_one(outside: Outside, late: Late) -> None:
    made: list[str] = []

    def ask(request: str) -> None:
        def call() -> None:
            made.append(request)
            raise Unavailable(f"{request} is away")

        outside.answer("key", request, call, "room")

    late.delay = timedelta()
    with pytest.raises(Pending):
        ask("first")
    late.answer()
    with pytest.raises(Unavailable, match="first is away"):
        ask("first")
    with pytest.raises(Pending, match="first is away"):
        ask("first")
    outside.drop("key")
    with pytest.raises(Pending) as pending:
        ask("second")
    assert str(pending.value) == ""
    assert made == ["first", "first", "second"]
