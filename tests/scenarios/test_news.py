"""Only the models of which there is news are visited, and that leads to where visiting all of them leads."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lab import ADA, MODEL, TICK, Lab

from serinus.core.errors import NotFound, Refused, Unavailable
from serinus.core.release import Release
from serinus.core.rollout import ModelState, Phase, Rollout
from serinus.core.routing import WHOLE, Arm, Role, Routing
from serinus.delivery.world import split_token
from serinus.engine.news import RESYNC, News, Pace
from serinus.engine.reconcile import aliases

FLEET = [f"model-{number:02d}" for number in range(20)]
SECONDS = RESYNC.total_seconds()


def a_fleet(directory: Path) -> Lab:
    """fraud@6 by an ordinary deployment, and twenty models at rest that look like it."""
    lab = Lab(directory)
    lab.live("6")
    lab.register("7", errors=0.05)
    champion = lab.store.model(MODEL).champion
    assert champion is not None
    for name in FLEET:
        lab.store.save_model(
            ModelState(name, replace(champion, id=f"{name}-6-aaaaaa", model=name), aliases={"champion": "6"})
        )
        lab.registry.alias[name] = {"champion": "6"}
    lab.restart()
    quiet(lab, 60)
    assert sorted(lab.router.routings) == [MODEL, *FLEET]
    assert lab.engine.trouble == {}
    return lab


def quiet(lab: Lab, seconds: float) -> None:
    for _ in range(round(seconds / TICK)):
        lab.step()


def of_model(name: str, rollout: Rollout) -> Rollout:
    """The same, with an id and splits of its own."""
    own = f"{name}-r1"
    steps = tuple(replace(step, split=split_token(own, step.index)) for step in rollout.steps)
    return replace(rollout, id=own, model=name, steps=steps)


def nothing_is_in_flight(lab: Lab) -> bool:
    return not lab.store.in_flight()


@pytest.fixture
def fleet(directory: Path) -> Lab:
    return a_fleet(directory)


def visited(lab: Lab, ticks: int = 1) -> int:
    before = lab.engine.visits
    for _ in range(ticks):
        lab.step()
    return lab.engine.visits - before


def champion_of(lab: Lab, model: str) -> Release:
    champion = lab.store.model(model).champion
    assert champion is not None
    return champion


# --- at rest ----------------------------------------------------------------------------------------------


def test_at_rest_every_model_is_visited_once_within_the_resync_and_evenly(fleet: Lab) -> None:
    each = [visited(fleet) for _ in range(round(10 * SECONDS / TICK))]
    assert sum(each) == pytest.approx(10 * (len(FLEET) + 1), abs=len(FLEET))
    assert max(each) <= 4, "21 models, 4 s of 30"


def test_a_rollout_is_visited_at_every_tick_and_nobody_else_for_its_sake(fleet: Lab) -> None:
    fleet.per_second = 10
    fleet.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ADA)
    assert fleet.store.in_flight()
    assert visited(fleet, 5) <= 5 + 5 * 4


def test_canaries_are_judged_once_a_second_in_turn_and_at_once_where_there_is_news(fleet: Lab) -> None:
    canary = fleet.store.model(MODEL)
    fleet.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ADA)
    fleet.run(600, until=lambda: fleet.phase is Phase.CANARY)
    flying = fleet.rollout
    for name in FLEET[:7]:
        fleet.registry.alias[name]["challenger"] = "7"
        fleet.store.save_model(replace(fleet.store.model(name), aliases={"champion": "6", "challenger": "7"}))
        fleet.store.create(
            replace(
                of_model(name, flying),
                candidate=replace(flying.candidate or champion_of(fleet, name), id=f"{name}-7-aaaaaa", model=name),
            )
        )
    quiet(fleet, 40)
    assert canary.champion is not None
    looked: list[str] = []
    visit = fleet.engine._visit

    def seen(state: ModelState, rollout: Rollout | None) -> None:
        if rollout is not None:
            looked.append(state.model)
        visit(state, rollout)

    fleet.engine._visit = seen  # type: ignore[method-assign]
    each = []
    for _ in range(32):
        before = len(looked)
        fleet.clock.time += timedelta(seconds=0.25)
        fleet.engine.tick()
        each.append(len(looked) - before)
    assert max(each) <= 4, "8 canaries a second, at four ticks a second, and a few by the resync"
    assert sum(each) == pytest.approx(64, abs=8)
    assert set(looked) == {MODEL, *FLEET[:7]}
    fleet.desk.order(MODEL, "abort", actor=ADA)
    fleet.engine.tick()
    assert fleet.store.rollout(flying.id).status.phase is not Phase.CANARY


def noting(call: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
    """`call`, whose arguments are given to `note` first."""

    def both(*given: Any) -> Any:
        note(*given)
        return call(*given)

    return both


def test_the_world_is_read_in_one_call_for_all(fleet: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    reads = [
        (fleet.registry, "aliases"),
        (fleet.router, "all_in_force"),
        (fleet.router, "in_force"),
        (fleet.target, "observe"),
    ]
    for port, name in reads:
        original = getattr(port, name)
        monkeypatch.setattr(port, name, noting(original, lambda *_, n=name: asked.append(n)))
    quiet(fleet, 40)
    assert asked.count("in_force") == 0
    assert 0 < asked.count("all_in_force") <= 5
    assert 0 < asked.count("aliases") <= 10
    assert 0 < asked.count("observe") <= 10


def test_what_is_asked_and_stored_of_all_canaries_takes_one_call_a_tick(
    fleet: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ADA)
    fleet.run(600, until=lambda: fleet.phase is Phase.CANARY)
    for name in FLEET[:9]:
        fleet.store.create(of_model(name, fleet.rollout))
    quiet(fleet, 5)
    called: list[tuple[str, int]] = []
    calls = [
        (fleet.log, "counts_of_all"),
        (fleet.store, "orders_of"),
        (fleet.store, "orders"),
        (fleet.store, "save_in_flight"),
        (fleet.store, "save"),
    ]
    for port, name in calls:
        original = getattr(port, name)
        monkeypatch.setattr(port, name, noting(original, lambda one, *_, n=name: called.append((n, len(one)))))
    ticks = 40
    for _ in range(ticks):
        fleet.clock.time += timedelta(seconds=TICK)
        fleet.engine.tick()
    looks = 10 * ticks
    for name in ("counts_of_all", "orders_of", "save_in_flight"):
        sizes = [size for each, size in called if each == name]
        assert len(sizes) <= ticks, name
        assert sum(sizes) == looks, name
    assert not [each for each, _ in called if each in ("orders", "save")]


def test_a_canary_does_not_tell_the_log_at_every_tick_what_it_knows(
    fleet: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ADA)
    fleet.run(600, until=lambda: fleet.phase is Phase.CANARY)
    told: list[object] = []
    monkeypatch.setattr(fleet.log, "watch", noting(fleet.log.watch, told.append))
    quiet(fleet, 40)
    assert fleet.phase is Phase.CANARY
    assert 1 <= len(told) <= 5, "again only when the router is read back"


# --- what becomes news ------------------------------------------------------------------------------------


def other_routing(lab: Lab, model: str) -> None:
    routing = lab.router.routings[model]
    lab.router.routings[model] = replace(routing, arms=(replace(routing.arms[0], endpoint="/elsewhere"),))


CHANGES: dict[str, Callable[[Lab, str], Any]] = {
    "an alias is moved": lambda lab, m: lab.registry.alias[m].update(champion="5"),
    "an alias is dropped": lambda lab, m: lab.registry.alias[m].pop("champion"),
    "the router loses a model": lambda lab, m: lab.router.routings.pop(m),
    "the router has another routing": other_routing,
    "the target loses a release": lambda lab, m: lab.target.placed.pop(champion_of(lab, m).id),
    "something is pushed over what is live": lambda lab, m: lab.fleet.push(m, {"version": "5"}),
    "what is live is removed from Git": lambda lab, m: lab.fleet.push(m, None),
}


def is_right(lab: Lab, model: str) -> bool:
    release = champion_of(lab, model).id
    live = lab.fleet.published.get(model) or {}
    return (
        lab.router.routings.get(model) is not None
        and [(arm.release, arm.endpoint) for arm in lab.router.routings[model].arms]
        == [(release, f"/sockets/{release}")]
        and lab.registry.alias.get(model, {}).get("champion") == "6"
        and release in lab.target.placed
        and live.get("release") == release
    )


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_world_is_news_of_its_model_alone(fleet: Lab, change: str) -> None:
    model = FLEET[7]
    assert is_right(fleet, model)
    CHANGES[change](fleet, model)
    assert not is_right(fleet, model)
    before = fleet.engine.visits
    quiet(fleet, 12)
    assert is_right(fleet, model), change
    assert fleet.engine.visits - before <= 3 * 4 + 3 + (len(FLEET) + 1 if "Git" in change or "pushed" in change else 0)


def test_a_model_that_the_registry_loses_is_news_of_that_model(fleet: Lab) -> None:
    del fleet.registry.alias[FLEET[7]]
    before = fleet.engine.visits
    quiet(fleet, 12)
    assert fleet.store.model(FLEET[7]).lost == {"champion": "6"}
    assert fleet.engine.visits - before <= 3 * 4 + 3


def test_what_was_written_past_the_desk_is_found_by_the_resync(fleet: Lab) -> None:
    model = FLEET[3]
    other = replace(champion_of(fleet, model), id=f"{model}-6-bbbbbb")
    fleet.store.save_model(replace(fleet.store.model(model), champion=other))
    quiet(fleet, SECONDS + 2 * TICK)
    assert is_right(fleet, model)
    assert f"{model}-6-aaaaaa" not in fleet.target.placed


def test_a_model_that_is_not_as_it_should_be_is_tried_again_at_every_tick(fleet: Lab) -> None:
    model = FLEET[5]
    fleet.registry.set_alias(model, "champion", "5")
    refusals = 3

    def refused(*_: object) -> None:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise NotFound("not now")
        fleet.registry.alias[model]["champion"] = "6"

    fleet.registry.set_alias = refused  # type: ignore[method-assign, assignment]
    quiet(fleet, 6 * TICK)
    assert is_right(fleet, model)


@pytest.mark.parametrize("port", ["target", "router", "registry"])
def test_a_part_that_is_away_is_asked_once_a_tick_and_all_is_right_soon_after_it_is_back(fleet: Lab, port: str) -> None:
    getattr(fleet, port).away = True
    quiet(fleet, 20)
    model = FLEET[9]
    fleet.router.routings.pop(model)
    fleet.target.placed.pop(f"{model}-6-aaaaaa")
    getattr(fleet, port).away = False
    quiet(fleet, 16)
    assert is_right(fleet, model)
    assert fleet.engine.trouble == {}


def test_the_news_of_a_model_wake_the_engine_and_are_taken_once() -> None:
    news = News()
    news.tell("a")
    news.tell()
    news.wait(60)
    assert news.take() == {"a"}
    assert news.take() == frozenset()


def test_nobody_is_due_before_a_clock_that_stood_still_or_went_back_goes_on(fleet: Lab) -> None:
    pace, now = Pace(RESYNC), fleet.clock.now()
    assert pace.due(30, now) == 0
    assert pace.due(30, now + timedelta(seconds=1)) == 1
    assert pace.due(30, now - timedelta(hours=1)) == 0
    assert pace.due(30, now - timedelta(hours=1) + timedelta(seconds=2)) == 2
    assert pace.due(30, now + timedelta(days=1)) == 30, "never more than there are"


# --- the same end as of an engine that remembers nothing and visits everything ----------------------------------------


def act(lab: Lab, kind: str, model: str) -> None:
    """Something that may happen at any time. What is refused, is refused."""
    if kind in CHANGES:
        if is_right(lab, model):
            CHANGES[kind](lab, model)
    elif kind == "the registry loses it":
        lab.registry.alias.pop(model, None)
    elif kind.endswith(" away"):
        getattr(lab, kind.split()[0]).away = True
    elif kind == "all back":
        lab.target.away = lab.router.away = lab.registry.away = False
    elif kind == "routed by hand":
        arm = Arm(f"{model}-6-aaaaaa", WHOLE, Role.CHAMPION, "/by/hand")
        lab.router.routings[model] = Routing(model, (arm,), "by-hand", "")
    elif kind == "stored":
        other = replace(champion_of(lab, model), id=f"{model}-6-cccccc")
        lab.store.save_model(replace(lab.store.model(model), champion=other))
    else:
        try:
            if kind == "deploy":
                lab.desk.deploy(ref=f"{MODEL}@7", spec=None, actor=ADA, why="again")
            elif kind == "challenger":
                lab.registry.alias[MODEL]["challenger"] = "7"
            else:
                lab.desk.order(MODEL, "abort", actor=ADA)
        except (Refused, NotFound, Unavailable):
            return


KINDS = [
    *CHANGES,
    "the registry loses it",
    "target away",
    "router away",
    "registry away",
    "all back",
    "all back",
    "routed by hand",
    "stored",
    "deploy",
    "challenger",
    "abort",
]


def end_of(lab: Lab) -> dict[str, Any]:
    return {
        "routings": {m: [(a.release, a.weight, a.endpoint) for a in r.arms] for m, r in lab.router.routings.items()},
        "aliases": lab.registry.alias,
        "placed": sorted(lab.target.placed),
        "live": {model: dict(live) for model, live in lab.fleet.published.items()},
        "champions": {s.model: (s.champion.id if s.champion else None, s.aliases) for s in lab.store.models()},
        "rollouts": [(r.id, r.status.phase) for r in lab.store.rollouts(MODEL)],
        "in flight": lab.store.in_flight(),
        "trouble": lab.engine.trouble,
    }


@pytest.mark.long
@pytest.mark.parametrize("seed", range(8))
def test_any_sequence_of_changes_ends_as_if_all_were_visited_at_every_tick(
    directory: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One that remembers nothing reads aliases at every tick. What a person says by an alias depends on what is in
    # flight at that time, so that both have to hear it in the same tick.
    monkeypatch.setattr(aliases, "EVERY", timedelta(0))
    dice = random.Random(seed)
    script = [[(dice.choice(KINDS), dice.choice(FLEET)) for _ in range(dice.randint(1, 4))] for _ in range(25)]
    pauses = [dice.choice([3, 4, 9]) for _ in script]
    ends = []
    for remembers in (True, False):
        lab = a_fleet(directory / str(remembers))
        lab.per_second = 3000
        for acts, ticks in zip(script, pauses, strict=True):
            for kind, model in acts:
                act(lab, kind, model)
            for _ in range(ticks):
                if not remembers:
                    lab.restart()  # it knows nothing of the tick before, and visits all
                lab.step()
        act(lab, "all back", "")
        lab.run(4 * 3600, until=partial(nothing_is_in_flight, lab))
        # Whether a proposal came before its version was aborted, or after, is a matter of ticks; both withdraw it.
        lab.registry.drop_alias(MODEL, "challenger")
        quiet(lab, 2 * SECONDS + 20)
        ends.append(end_of(lab))
        lab.store.close()
    assert ends[0] == ends[1]
    assert ends[0]["trouble"] == {}
    assert all(model in ends[0]["routings"] for model in FLEET)
