"""Control planes that wait answer people from the store, and take what they order for the one that decides."""

from __future__ import annotations

import secrets
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from lab import MODEL, Lab
from leaders import Leader
from leases import MemoryLeases
from waiting import wait_until

with warnings.catch_warnings():  # it would rather use a successor of httpx that is not needed otherwise
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

from serinus.api import create_app
from serinus.backends.git import GitFleet
from serinus.backends.sql import SqlStore
from serinus.core.errors import Superseded, Unavailable
from serinus.core.home import Home
from serinus.core.people import Access
from serinus.engine import Desk, Report, Told, World, last_told, tell
from serinus.targets.kubernetes.leading import LeaseLeadership, Timing
from serinus.wiring.deciding import Deciders
from serinus.wiring.office import Office, deciding

HOST = "serinus.test"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Of the one that decides."""
    made = Lab(tmp_path / "first")
    made.store.begin_term(1, "first")
    made.restart(deciding(made.world, Leader(1)))
    yield made
    made.store.close()


@pytest.fixture
def waiting(lab: Lab) -> Iterator[World]:
    """As another process sees it."""
    with closing(SqlStore(f"sqlite:///{lab.directory / 'store.db'}")) as store:
        yield replace(lab.world, store=store)


class Deciding:
    """Stands for the threads of `Deciders`, which say `said`."""

    def __init__(self) -> None:
        self.said = Told()
        self.stop: threading.Event | None = None
        self.joined = False

    def start(self, stop: threading.Event) -> None:
        self.stop = stop

    def join(self, _: float) -> None:
        assert self.stop is not None
        assert self.stop.is_set()
        self.joined = True

    def told(self) -> Told:
        return self.said


class Desks:
    """An office that runs in a thread. `ended`: it is over."""

    def __init__(self, world: World, leases: MemoryLeases, name: str) -> None:
        timing = Timing(duration=1, deadline=0.7, retry=0.02)
        self.leadership = LeaseLeadership(leases, "serinus", name, world.store, timing=timing)
        self.deciders = Deciding()
        self.worlds: list[World] = []
        self.announced: Callable[[], None] = lambda: None
        self.ended, self.stop = threading.Event(), threading.Event()
        self.office = Office(world, self.leadership, self.begin, lambda: self.announced(), self.ended.set)
        self._thread = threading.Thread(target=self.office.run, args=(self.stop,), daemon=True)

    def begin(self, world: World) -> Deciders:
        self.worlds.append(world)
        return cast("Deciders", self.deciders)

    def start(self) -> Desks:
        self._thread.start()
        return self

    def decides(self) -> None:
        wait_until(lambda: self.deciders.stop, what="the beginning")

    def end(self) -> None:
        self.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def leases() -> MemoryLeases:
    return MemoryLeases()


@pytest.fixture
def desks(waiting: World, leases: MemoryLeases) -> Iterator[Callable[[str], Desks]]:
    made: list[Desks] = []

    def make(name: str) -> Desks:
        made.append(Desks(waiting, leases, name))
        return made[-1]

    yield make
    for one in made:
        if one._thread.ident is not None:
            one.end()


@pytest.fixture
def client(waiting: World, desks: Callable[[str], Desks], tmp_path: Path) -> Iterator[TestClient]:
    """Of a control plane that waits."""
    home = Home(tmp_path / "second")
    home.path.mkdir()
    home.secret.write_text(secrets.token_hex(32))
    told = desks("second").office.told
    report = Report(
        waiting,
        trouble=lambda: told().trouble,
        processes=tuple,
        addresses={},
        warnings=lambda: told().warnings,
        registry_answers=lambda: told().registry_answers,
    )
    app = create_app(
        home=home, world=waiting, desk=Desk(waiting), report=report, disk=cast("Any", None), allowed_hosts=[HOST]
    )
    token = waiting.store.issue_token("anna", Access.ADMIN, waiting.clock.now())
    headers = {"Authorization": f"Bearer {token}"}
    with TestClient(app, base_url=f"http://{HOST}", headers=headers) as made:
        yield made


def test_what_is_ordered_from_one_that_waits_is_carried_out_by_the_one_that_decides(
    lab: Lab, client: TestClient
) -> None:
    lab.register("5")
    assert client.post("/v1/deployments", json={"ref": f"{MODEL}@5"}).status_code == 202
    lab.run(10)
    assert lab.champion == "5"
    (shown,) = client.get("/v1/status").json()["models"]
    assert shown["champion"]["version"] == "5"
    lab.register("6")
    lab.per_second = 1000
    assert client.post("/v1/deployments", json={"ref": f"{MODEL}@6"}).status_code == 202
    lab.run(20)
    assert client.post(f"/v1/rollouts/{MODEL}/orders", json={"kind": "abort"}).status_code == 202
    lab.run(10)
    assert client.get("/v1/rollouts").json()[0]["status"]["phase"] == "aborted"
    lab.everything_agrees_on("5")


def test_one_that_waits_shows_what_is_wrong_where_it_is_decided(lab: Lab, client: TestClient) -> None:
    told = Told({"registry": ("MLflow is away",)}, ("the subscriber is behind",), registry_answers=False)
    tell(lab.store, told, lab.clock.now())
    warned = client.get("/v1/status").json()["warnings"]
    assert {"MLflow is away", "the subscriber is behind"} <= set(warned)
    lab.clock.time += timedelta(minutes=1)
    assert any(
        "no control plane has decided since 2026-" in line for line in client.get("/v1/status").json()["warnings"]
    )


def test_where_no_control_plane_has_decided_people_are_told(waiting: World) -> None:
    assert last_told(waiting.store, waiting.clock.now()).warnings == (
        "no control plane has decided yet: rollouts wait",
    )


def test_the_office_decides_tells_and_gives_the_lease_back(
    waiting: World, desks: Callable[[str], Desks], leases: MemoryLeases
) -> None:
    first, second = desks("a").start(), desks("b")
    first.deciders.said = Told({"fraud": ("the host is away",)})
    first.decides()
    second.start()
    wait_until(lambda: second.office.told() == first.deciders.said, what="what is wrong")
    assert first.office.told() is first.deciders.said
    first.worlds[0].store.set_setting("decided", "by a")
    first.end()
    assert (first.ended.is_set(), first.deciders.joined) == (True, True)
    second.decides()
    with pytest.raises(Superseded):
        first.worlds[0].store.set_setting("decided", "by a, later")
    for act in (
        lambda: first.worlds[0].registry.set_alias(MODEL, "champion", "5"),
        lambda: first.worlds[0].fleet.write(MODEL, "", who="a", why="later"),
        lambda: first.worlds[0].fleet.publish(MODEL, {}, who="a", why="later"),
    ):
        with pytest.raises(Superseded):
            act()
    assert first.worlds[0].fleet.read(MODEL) == waiting.fleet.read(MODEL)
    assert waiting.store.setting("decided") == "by a"


def test_a_term_that_ends_within_a_write_to_the_fleet_repository_ends_the_write(lab: Lab, tmp_path: Path) -> None:
    class Ending(Leader):
        asked = 0

        def term(self) -> int:
            self.asked += 1
            if self.asked > 1:
                self.end("the Lease has run out")
            return super().term()

    fleet = GitFleet(tmp_path / "fleet")
    with pytest.raises(Superseded):
        deciding(replace(lab.world, fleet=fleet), Ending(1)).fleet.publish(MODEL, {"version": "7"}, who="a", why="")
    assert fleet.live(MODEL) is None


def test_nothing_is_decided_before_the_term_is_known_everywhere(desks: Callable[[str], Desks]) -> None:
    one, tries = desks("a"), threading.Semaphore(0)

    def refused() -> None:
        tries.release()
        raise Unavailable("the gateways are away")

    one.announced = refused
    one.start()
    assert tries.acquire(timeout=30)
    assert tries.acquire(timeout=30)
    assert one.worlds == []
    said = "the term of this control plane cannot begin yet: the gateways are away"
    assert one.office.told().warnings[-1] == said
    one.announced = lambda: None
    one.decides()


def test_the_office_ends_when_its_term_does(desks: Callable[[str], Desks], leases: MemoryLeases) -> None:
    one = desks("a").start()
    one.decides()
    leases.away = True
    assert one.ended.wait(30)
    assert one.deciders.joined
    assert one.leadership.ended.is_set()
    leases.away = False
    two = desks("b").start()
    two.decides()


def test_why_the_lease_cannot_be_used_is_said(desks: Callable[[str], Desks], leases: MemoryLeases) -> None:
    leases.away = True
    one = desks("a").start()
    said = "this control plane cannot use the Lease: the API server does not answer"
    wait_until(lambda: one.office.told().warnings[-1] == said, what="the warning")
    leases.away = False
    one.decides()
    wait_until(lambda: one.office.told() is one.deciders.said, what="its end")
