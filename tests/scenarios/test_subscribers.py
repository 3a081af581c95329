"""Who is told of events: at least once, in order, over restarts, whatever another one does."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from lab import ADA, MODEL, Killed, Lab
from waiting import wait_until

from serinus.core.errors import InvalidInput, Unavailable
from serinus.core.events import Event
from serinus.core.rollout import Phase
from serinus.engine import Delivery, RegistryTags, Report, World
from serinus.engine.subscribers import delivery as delivering
from serinus.engine.subscribers.delivery import EVENTS_A_LOOK, LONGEST_RETRY, MOST_FAILURES, TOLD_FOR, TRIED_FOR
from serinus.engine.subscribers.registry_tags import LONGEST

PAGE = "https://serinus.example.org"


@dataclass
class Listener:
    """`trouble`: text of an event -> what is raised when it is told."""

    name: str = "listener"
    heard: list[str] = field(default_factory=list)
    tries: list[str] = field(default_factory=list)
    trouble: dict[str, BaseException] = field(default_factory=dict)

    def told(self, event: Event) -> None:
        self.tries.append(event.text)
        if event.text in self.trouble:
            raise self.trouble[event.text]
        self.heard.append(event.text)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def happened(lab: Lab, *texts: str, model: str = MODEL) -> None:
    lab.store.emit([Event(lab.clock.now(), model, None, "noted", text) for text in texts])


def killing(world: World, method: str) -> World:
    """Its store is killed in that method."""

    class Store:
        def __getattr__(self, name: str) -> Any:
            def call(*_: Any, **__: Any) -> Any:
                raise Killed

            return call if name == method else getattr(world.store, name)

    return dataclasses.replace(world, store=Store())  # type: ignore[arg-type]


def test_events_are_told_in_order_and_once_and_never_those_of_before(lab: Lab) -> None:
    happened(lab, "of before")
    listener = Listener()
    delivery = Delivery(lab.world, listener)
    assert delivery.deliver() == 0
    happened(lab, "one", "two")
    happened(lab, "three", model="other")
    assert delivery.deliver() == 3
    assert delivery.deliver() == 0
    assert listener.tries == ["one", "two", "three"]
    assert delivery.warnings() == []


def test_the_first_event_of_a_new_home_is_told(lab: Lab) -> None:
    listener = Listener()
    delivery = Delivery(lab.world, listener)
    happened(lab, "one")
    delivery.deliver()
    assert listener.heard == ["one"]


def test_more_events_than_one_look_reads_are_all_told(lab: Lab) -> None:
    listener = Listener()
    delivery = Delivery(lab.world, listener)
    texts = [str(number) for number in range(2 * EVENTS_A_LOOK + 7)]
    happened(lab, *texts)
    while delivery.deliver():
        pass
    assert listener.heard == texts


def test_what_was_stored_before_a_kill_and_not_told_is_told_by_the_next_process(lab: Lab) -> None:
    Delivery(lab.world, Listener())
    happened(lab, "one", "two")
    listener = Listener()
    Delivery(lab.world, listener).deliver()
    assert listener.heard == ["one", "two"]


def test_what_was_being_told_at_a_kill_is_told_again(lab: Lab) -> None:
    dying = Listener(trouble={"two": Killed()})
    delivery = Delivery(lab.world, dying)
    happened(lab, "one", "two", "three")
    with pytest.raises(Killed):
        delivery.deliver()
    listener = Listener()
    Delivery(lab.world, listener).deliver()
    assert listener.heard[-2:] == ["two", "three"]
    assert dying.heard + listener.heard in (["one", "two", "three"], ["one", "one", "two", "three"])


def test_what_was_told_before_a_kill_that_came_before_the_position_was_stored_is_told_again(lab: Lab) -> None:
    Delivery(lab.world, Listener())
    happened(lab, "one", "two")
    dying, listener = Listener(), Listener()
    with pytest.raises(Killed):
        Delivery(killing(lab.world, "set_setting"), dying).deliver()
    Delivery(lab.world, listener).deliver()
    assert dying.heard == listener.heard == ["one", "two"]


def test_what_fails_for_now_is_tried_again_ever_later_and_holds_the_order(lab: Lab) -> None:
    listener = Listener(trouble={"two": Unavailable("the mail server does not answer")})
    delivery = Delivery(lab.world, listener)
    happened(lab, "one", "two", "three")
    begin, tried = lab.clock.time, list[float]()
    while lab.clock.time - begin < timedelta(minutes=10):
        before = len(listener.tries)
        delivery.deliver()
        tried += [(lab.clock.time - begin).total_seconds()] * (len(listener.tries) - before)
        lab.clock.time += timedelta(seconds=1)
    assert tried[1:9] == [0, 1, 3, 7, 15, 31, 63, 123]
    assert {later - now for now, later in pairwise(tried[7:])} == {LONGEST_RETRY.total_seconds()}
    assert listener.heard == ["one"]
    (line,) = delivery.warnings()
    assert line.startswith("the subscriber listener has been behind with fraud since 2026-03-01 12:00 UTC, and ")
    assert line.endswith(": the mail server does not answer")
    listener.trouble.clear()
    lab.clock.time += LONGEST_RETRY
    delivery.deliver()
    assert listener.heard == ["one", "two", "three"]
    assert delivery.warnings() == []


@pytest.mark.parametrize(
    ("error", "words"),
    [(InvalidInput("it is no address"), "it is no address"), (KeyError("secret"), "it failed (KeyError)")],
)
def test_what_fails_for_good_is_left_out_and_told_for_a_day(lab: Lab, error: Exception, words: str) -> None:
    listener = Listener(trouble={"two": error})
    delivery = Delivery(lab.world, listener)
    happened(lab, "one", "two", "three")
    delivery.deliver()
    assert listener.heard == ["one", "three"]
    for told in (delivery, Delivery(lab.world, listener)):  # also after a restart
        (line,) = told.warnings()
        assert line.startswith("the subscriber listener was not told of 1 event. The reason of the last one: ")
        assert words in line
        assert "secret" not in line
    lab.clock.time += TOLD_FOR
    assert delivery.warnings() == []


def test_what_fails_for_a_day_is_left_out(lab: Lab) -> None:
    listener = Listener(trouble={"one": Unavailable("the mail server does not answer.")})
    delivery = Delivery(lab.world, listener)
    happened(lab, "one", "two")
    end = lab.clock.time + TRIED_FOR
    while lab.clock.time < end - LONGEST_RETRY:
        delivery.deliver()
        lab.clock.time += LONGEST_RETRY
    assert listener.heard == []
    for _ in range(3):
        delivery.deliver()
        lab.clock.time += LONGEST_RETRY
    assert listener.heard == ["two"]
    (line,) = delivery.warnings()
    assert "the mail server does not answer" in line


def test_what_fails_for_one_model_holds_up_its_own_later_events_alone(lab: Lab) -> None:
    listener = Listener(trouble={"bad": Unavailable("no such page")})
    delivery = Delivery(lab.world, listener)
    happened(lab, "first")
    happened(lab, "a", model="other")
    happened(lab, "bad", "later")
    happened(lab, "b", model="other")
    delivery.deliver()
    happened(lab, "latest")
    happened(lab, "c", model="another")
    delivery.deliver()
    assert listener.heard == ["first", "a", "b", "c"]
    assert "behind with fraud since" in delivery.warnings()[0]
    listener.trouble.clear()
    lab.clock.time += LONGEST_RETRY
    delivery.deliver()
    assert listener.heard == ["first", "a", "b", "c", "bad", "later", "latest"]
    assert delivery.warnings() == []
    happened(lab, "d")
    delivery.deliver()
    assert listener.heard[-1] == "d"
    assert len(listener.heard) == len(set(listener.heard))


def test_each_model_is_tried_again_by_itself(lab: Lab) -> None:
    trouble: dict[str, BaseException] = {"bad": Unavailable("x"), "worse": Unavailable("y")}
    listener = Listener(trouble=trouble)
    delivery = Delivery(lab.world, listener)
    happened(lab, "bad")
    delivery.deliver()
    for _ in range(100):
        lab.clock.time += timedelta(seconds=1)
        delivery.deliver()
    happened(lab, "worse", model="other")
    begin, tried = lab.clock.time, list[int]()
    for second in range(8):
        before = listener.tries.count("worse")
        delivery.deliver()
        tried += [second] * (listener.tries.count("worse") - before)
        lab.clock.time += timedelta(seconds=1)
    assert tried == [0, 1, 3, 7]
    assert "behind with 2 models since" in delivery.warnings()[0]
    assert begin < lab.clock.time


def test_what_is_behind_is_told_by_the_next_process_in_order_and_the_bound_goes_on(lab: Lab) -> None:
    failing = Listener(trouble={"bad": Unavailable("no such page")})
    delivery = Delivery(lab.world, failing)
    happened(lab, "bad", "later")
    happened(lab, "a", model="other")
    delivery.deliver()
    for _ in range(24):  # another process every hour
        lab.clock.time += timedelta(hours=1)
        delivery = Delivery(lab.world, failing)
        delivery.deliver()
    assert failing.heard == ["a", "later"]
    assert "was not told of 1 event" in delivery.warnings()[0]

    listener = Listener(trouble={"worse": Unavailable("no such page")})
    happened(lab, "worse", "after")
    Delivery(lab.world, listener).deliver()
    listener.trouble.clear()
    Delivery(lab.world, listener).deliver()
    assert listener.heard[-2:] == ["worse", "after"]


def test_an_event_that_is_left_out_is_told_as_an_event_once_and_to_others_alone(lab: Lab) -> None:
    listener, other = Listener(trouble={"bad": InvalidInput("it is no address")}), Listener("other")
    deliveries = [Delivery(lab.world, listener), Delivery(lab.world, other)]
    happened(lab, "bad", "later")
    for _ in range(3):
        for delivery in deliveries:
            delivery.deliver()
    (said,) = [event for event in lab.store.events() if event.kind == "left-out"]
    assert said.text == f"the subscriber listener was not told of event {said.number - 2}, noted: it is no address"
    assert (said.model, said.details["subscriber"]) == (MODEL, "listener")
    assert listener.tries == ["bad", "later"]
    assert other.heard == ["bad", "later", said.text]


def test_where_the_other_side_is_away_a_look_ends_after_few_tries_and_nothing_is_lost(lab: Lab) -> None:
    """Each try may take as long as a connection that is not answered."""
    models = [f"model-{number}" for number in range(50)]
    listener = Listener(trouble={f"{word} {model}": Unavailable("away") for model in models for word in ("one", "two")})
    delivery = Delivery(lab.world, listener)
    for word in ("one", "two"):
        for model in models:
            happened(lab, f"{word} {model}", model=model)
    for _ in range(40):
        before = len(listener.tries)
        delivery.deliver()
        assert len(listener.tries) - before <= MOST_FAILURES
        lab.clock.time += timedelta(seconds=1)
    assert not [text for text in listener.tries if text.startswith("two")]
    listener.trouble.clear()
    for _ in range(70):
        delivery.deliver()
        lab.clock.time += timedelta(seconds=1)
    assert sorted(listener.heard) == sorted(f"{word} {model}" for model in models for word in ("one", "two"))
    assert all(listener.heard.index(f"one {model}") < listener.heard.index(f"two {model}") for model in models)
    assert delivery.warnings() == []


def test_more_that_was_missed_than_one_look_reads_is_told_all_the_same(lab: Lab) -> None:
    listener = Listener(trouble={"0": Unavailable("away")})
    delivery = Delivery(lab.world, listener)
    texts = [str(number) for number in range(2 * EVENTS_A_LOOK + 7)]
    happened(lab, *texts)
    while delivery.deliver():
        pass
    listener.trouble.clear()
    lab.clock.time += LONGEST_RETRY
    while delivery.deliver():
        pass
    assert listener.heard == texts


def test_a_position_of_an_earlier_version_is_read(lab: Lab) -> None:
    happened(lab, "one", "two")
    number = lab.store.events()[-2].number
    lab.store.set_setting(
        "subscriber.listener", f'{{"number": {number}, "left_out": 0, "left_out_at": null, "reason": ""}}'
    )
    listener = Listener()
    Delivery(lab.world, listener).deliver()
    assert listener.heard == ["two"]


@pytest.mark.parametrize("away", [False, True])
def test_at_rest_a_look_reads_nothing_but_whether_something_has_happened(lab: Lab, away: bool) -> None:
    """However many models there are, and wait to be tried again."""
    listener = Listener()
    listener.told = lambda event: (_ for _ in ()).throw(Unavailable("away"))  # type: ignore[method-assign]
    delivery = Delivery(lab.world, listener if away else Listener())
    for number in range(30):
        happened(lab, "one", model=f"model-{number}")
    for _ in range(30):
        delivery.deliver()
    asked: list[str] = []

    class Store:
        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(lab.store, name)

    delivery._world = dataclasses.replace(lab.world, store=Store())  # type: ignore[arg-type]
    assert delivery.deliver() == 0
    assert asked == ["events_after"]


def test_one_that_fails_holds_up_neither_another_one_nor_the_engine(lab: Lab) -> None:
    failing = Listener("failing", trouble={})
    failing.told = lambda event: (_ for _ in ()).throw(Unavailable("away"))  # type: ignore[method-assign]
    listener = Listener()
    deliveries = [Delivery(lab.world, failing), Delivery(lab.world, listener)]
    lab.register("1")
    lab.desk.deploy(ref=f"{MODEL}@1", spec=None, actor=ADA)
    for _ in range(5):
        lab.run(8)
        for delivery in deliveries:
            delivery.deliver()
    assert lab.champion == "1"
    assert any("is champion" in text for text in listener.heard)
    report = Report(lab.world, dict, list, {}, lambda: [line for one in deliveries for line in one.warnings()])
    (line,) = report.status().warnings
    assert line.startswith("the subscriber failing has been behind with fraud since ")


def test_one_that_hangs_holds_up_nobody(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "LOOK_SECONDS", 0.01)
    hangs, goes_on, stop = threading.Event(), threading.Event(), threading.Event()
    hanging, listener = Listener("hanging"), Listener()

    def hang(event: Event) -> None:
        hangs.set()
        goes_on.wait(30)

    hanging.told = hang  # type: ignore[method-assign]
    threads = [
        threading.Thread(target=Delivery(lab.world, one).run, args=(stop,), daemon=True) for one in (hanging, listener)
    ]
    happened(lab, "one")
    for thread in threads:
        thread.start()
    try:
        assert hangs.wait(20)
        happened(lab, "two")
        wait_until(lambda: listener.heard == ["one", "two"], 20)
    finally:
        stop.set()
        goes_on.set()
        for thread in threads:
            thread.join(20)


# --- tags of versions in the registry ---------------------------------------------------------------------


@dataclass
class Tagged:
    lab: Lab
    delivery: Delivery

    def run(self, seconds: float = 600) -> None:
        self.lab.run(seconds, until=lambda: self.lab.phase.ended)
        self.delivery.deliver()

    def of(self, version: str) -> dict[str, str]:
        tags = self.lab.registry.tags.get((MODEL, version), {})
        return {name.removeprefix("serinus."): value for name, value in tags.items()}

    def deploy(self, version: str, why: str = "") -> None:
        self.lab.desk.deploy(ref=f"{MODEL}@{version}", spec=None, actor=ADA, why=why)


@pytest.fixture
def tagged(lab: Lab) -> Tagged:
    found = Tagged(lab, Delivery(lab.world, RegistryTags(lab.world, PAGE)))
    lab.register("1")
    found.deploy("1", "the first")
    found.run()
    lab.per_second = 500
    return found


def test_a_version_has_tags_of_what_became_of_it(tagged: Tagged) -> None:
    rollout = tagged.lab.rollout
    assert rollout.candidate is not None
    assert tagged.of("1") == {
        "state": "champion",
        "since": rollout.status.since.isoformat(timespec="seconds"),
        "rollout": "fraud-r1",
        "release": rollout.candidate.id,
        "reason": rollout.status.reason,
        "verdict": "",
        "requested_by": "ada",
        "approved_by": "",
        "link": f"{PAGE}/#fraud-r1",
    }


def test_tags_follow_a_rollout_and_the_champion_before_it(tagged: Tagged) -> None:
    tagged.lab.register("2")
    tagged.deploy("2", "more trees")
    tagged.lab.run(600, until=lambda: tagged.lab.phase is Phase.CANARY)
    tagged.delivery.deliver()
    assert (tagged.of("2")["state"], tagged.of("1")["state"]) == ("canary", "champion")
    tagged.run(3600)
    assert tagged.lab.champion == "2"
    assert (tagged.of("2")["state"], tagged.of("1")["state"]) == ("champion", "former champion")
    assert tagged.of("2")["verdict"].startswith("promote: ")
    assert tagged.of("1")["reason"] == "its place was taken by fraud@2, as ada has asked: more trees"
    tagged.lab.desk.rollback(MODEL, to=None, actor=ADA, why="alerts doubled")
    tagged.run()
    assert (tagged.of("2")["state"], tagged.of("1")["state"]) == ("former champion", "champion")
    assert tagged.of("2")["reason"] == "it was rolled back to fraud@1, as ada has asked: alerts doubled"
    tagged.lab.desk.retire(MODEL, abort=False, actor=ADA, why="the feed ends")
    tagged.run()
    assert tagged.of("1")["state"] == "retired"
    assert tagged.of("1")["reason"] == "it was retired by ada: the feed ends"


def test_a_version_that_is_aborted_says_why_in_a_line_of_bounded_length(tagged: Tagged) -> None:
    tagged.lab.register("2")
    tagged.deploy("2")
    tagged.lab.run(600, until=lambda: tagged.lab.phase is Phase.CANARY)
    why = "https://user:s3cret@host.example \x1b[2J\n" + "x" * 5000
    tagged.lab.desk.order(MODEL, "abort", actor=ADA, why=why)
    tagged.run()
    assert (tagged.of("2")["state"], tagged.of("1")["state"]) == ("aborted", "champion")
    reason = tagged.of("2")["reason"]
    assert reason.startswith("aborted by ada")
    assert len(reason) == LONGEST
    assert reason.isprintable()
    assert "s3cret" not in reason


def test_tags_are_written_once_the_registry_is_back(tagged: Tagged) -> None:
    tagged.lab.register("2")
    tagged.deploy("2")
    tagged.lab.run(600, until=lambda: tagged.lab.phase is Phase.CANARY)
    tagged.lab.registry.away = True
    tagged.delivery.deliver()
    assert tagged.of("2") == {}
    (line,) = tagged.delivery.warnings()
    assert line.startswith("the subscriber registry-tags has been behind with fraud since ")
    tagged.lab.registry.away = False
    tagged.lab.clock.time += LONGEST_RETRY
    tagged.delivery.deliver()
    assert tagged.of("2")["state"] == "canary"
    assert tagged.delivery.warnings() == []


def test_a_version_that_was_deleted_meanwhile_is_no_trouble(tagged: Tagged) -> None:
    tagged.lab.register("2")
    tagged.deploy("2")
    tagged.lab.run(600, until=lambda: tagged.lab.phase is Phase.CANARY)
    tagged.lab.registry.delete("2")
    tagged.delivery.deliver()
    assert tagged.of("2") == {}
    assert tagged.delivery.warnings() == []


def test_an_event_that_comes_late_does_not_bring_back_what_was(tagged: Tagged) -> None:
    """Of a version that is champion no more, told once more after a crash."""
    for version in ("2", "3"):
        tagged.lab.register(version)
        tagged.deploy(version)
        tagged.run(3600)
        assert tagged.lab.champion == version
    tags = RegistryTags(tagged.lab.world, PAGE)
    for event in tagged.lab.store.events(limit=1000):
        tags.told(event)
    states = {version: tagged.of(version)["state"] for version in ("1", "2", "3")}
    assert states == {"1": "former champion", "2": "former champion", "3": "champion"}
