"""Requests go to the pods of a release that are ready, as EndpointSlices say: with real Envoys."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from envoy_harness import release_of, routing
from gateway_harness import Gateways, slice_of
from waiting import free_port, wait_until

from serinus.core.errors import Unavailable
from serinus.core.routing import WHOLE, Arm, Role

RELEASE, NEXT = "fraud-7-aaaaaa", "fraud-8-bbbbbb"
PODS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


def arm(release: str, weight: int = WHOLE, role: Role = Role.CHAMPION) -> Arm:
    return Arm(release, weight, role, f"{release}.serinus.svc:8080")


class Fleet:
    """Pods of releases, all on one port, and the slices that say so."""

    def __init__(self, gateways: Gateways) -> None:
        self.gateways, self.port = gateways, free_port()
        self.ready: dict[str, list[str]] = {}

    def start(self, release: str, *addresses: str) -> None:
        for address in addresses:
            self.gateways.releases.start_pod(release, address, self.port)
        self.say(release, *addresses)

    def stop(self, release: str, address: str) -> None:
        self.gateways.releases.stop(f"{release}@{address}")

    def say(self, release: str, *addresses: str) -> None:
        self.ready[release] = list(addresses)
        self.gateways.board.put_slices(self.slices())

    def slices(self) -> list[dict[str, object]]:
        return [slice_of(release, *ready, port=self.port) for release, ready in self.ready.items()]

    def catch_up(self) -> None:
        """Agents whose watches were behind see the slices as they are."""
        for gateway in self.gateways.all:
            gateway.board.behind = None
            gateway.agent.wake()

    def all_know(self, release: str, addresses: set[str]) -> bool:
        wanted = {f"{address}:{self.port}" for address in addresses}
        return all(set(gateway.clusters().get(release, ())) == wanted for gateway in self.gateways.all)


@pytest.fixture
def fleet(gateways: Gateways) -> Fleet:
    fleet = Fleet(gateways)
    fleet.start(RELEASE, *PODS)
    gateways.router.apply(routing(arm(RELEASE)))
    return fleet


def asked(gateways: Gateways, number: int = 90) -> Counter[str]:
    """Who has answered, how often."""
    answers = [gateways.ask() for _ in range(number)]
    assert {answer.status_code for answer in answers} == {200}
    return Counter(answer.json()["release"].partition("@")[2] for answer in answers)


@contextmanager
def load(gateways: Gateways) -> Iterator[list[int]]:
    """Requests one after the other, of four callers; the statuses of all of them."""
    statuses: list[int] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            statuses.append(gateways.ask().status_code)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        yield statuses
    finally:
        stop.set()
        for caller in callers:
            caller.join(10)


def test_all_ready_pods_of_a_release_are_asked(fleet: Fleet) -> None:
    found = asked(fleet.gateways)
    assert found.keys() == set(PODS)
    assert min(found.values()) >= 10


def test_what_is_in_force_is_read_back_with_the_endpoint_of_the_release(fleet: Fleet) -> None:
    assert fleet.gateways.router.in_force("fraud") == routing(arm(RELEASE))


def unasked(fleet: Fleet, pod: str) -> bool:
    """Whether the pod gets no request for a while."""
    fleet.gateways.releases.served.clear()
    time.sleep(0.1)
    return f"{RELEASE}@{pod}" not in fleet.gateways.releases.served


def test_a_pod_that_goes_is_not_asked_any_more_and_no_request_fails(fleet: Fleet) -> None:
    with load(fleet.gateways) as statuses:
        for turn in range(6):
            leaving = PODS[turn % 3]
            fleet.say(RELEASE, *(pod for pod in PODS if pod != leaving))
            staying = set(PODS) - {leaving}
            wait_until(partial(fleet.all_know, RELEASE, staying), 10)
            # What was under way may still arrive, as pods that go answer for some seconds more.
            wait_until(partial(unasked, fleet, leaving), 3)
            fleet.say(RELEASE, *PODS)
            wait_until(partial(fleet.all_know, RELEASE, set(PODS)), 10)
    assert len(statuses) > 100
    assert set(statuses) == {200}


def test_a_pod_that_is_dead_before_anybody_says_so_costs_no_request(fleet: Fleet) -> None:
    fleet.stop(RELEASE, PODS[0])
    found = asked(fleet.gateways)
    assert found.keys() == set(PODS[1:])


def test_a_release_without_a_ready_pod_gets_no_traffic(fleet: Fleet) -> None:
    fleet.say(NEXT)
    with pytest.raises(Unavailable, match=f"No pod of {NEXT} is ready yet"):
        fleet.gateways.router.apply(routing(arm(RELEASE, 5_000), arm(NEXT, 5_000, Role.CANARY), split="s2"))
    assert fleet.gateways.router.in_force("fraud") == routing(arm(RELEASE))


def test_a_release_that_lost_its_pods_can_still_be_routed_as_before(fleet: Fleet) -> None:
    fleet.say(RELEASE)
    fleet.gateways.router.apply(routing(arm(RELEASE), split="s2"))
    assert fleet.gateways.ask().status_code == 503
    fleet.say(RELEASE, *PODS)
    wait_until(lambda: fleet.gateways.ask().status_code == 200, 10)


def test_a_gateway_waits_for_the_addresses_of_a_release_that_it_does_not_know_yet(fleet: Fleet) -> None:
    late = fleet.gateways.all[1]
    late.board.behind = fleet.slices()
    fleet.start(NEXT, "127.0.0.5")
    change = threading.Thread(target=fleet.gateways.router.apply, args=(routing(arm(NEXT), split="s2"),))
    change.start()
    wait_until(lambda: "is ready yet" in fleet.gateways.board.kept_reports["gateway-1"].trouble, 10)
    assert late.client.post("/v2/models/fraud/infer", json={}).json()["release"].startswith(RELEASE)
    fleet.catch_up()
    change.join(10)
    assert set(asked(fleet.gateways, 10)) == {"127.0.0.5"}


def test_a_probe_waits_for_a_ready_pod_as_traffic_does(fleet: Fleet) -> None:
    fleet.say(NEXT)
    with pytest.raises(Unavailable, match=f"No pod of {NEXT} is ready yet"):
        fleet.gateways.router.probe(release_of(NEXT), arm(NEXT).endpoint, 1_000)
    for one in fleet.gateways.all:
        one.board.behind = fleet.slices()
    fleet.start(NEXT, "127.0.0.5")
    threading.Timer(0.2, fleet.catch_up).start()
    address = fleet.gateways.router.probe(release_of(NEXT), arm(NEXT).endpoint, 1_000)
    with fleet.gateways.probing(address, NEXT) as client:
        assert client.post("/v2/models/fraud/infer", json={}).json()["release"] == f"{NEXT}@127.0.0.5"


def test_it_does_not_wait_for_ever(fleet: Fleet) -> None:
    for one in fleet.gateways.all:
        one.board.behind = fleet.slices()
    fleet.start(NEXT, "127.0.0.5")
    fleet.gateways.router.apply(routing(arm(NEXT), split="s2"))
    assert fleet.gateways.ask().status_code == 503


def test_the_addresses_of_before_are_served_after_a_restart_without_api_server(fleet: Fleet) -> None:
    for one in fleet.gateways.all:
        one.stop_agent()
        one.kill()
        one.connect = fleet.gateways.board.unknowing
        one.start_agent()
        one.start()
        wait_until(one.ready, 20)
    assert asked(fleet.gateways).keys() == set(PODS)


def test_a_release_that_is_no_longer_routed_is_forgotten_after_a_while(fleet: Fleet) -> None:
    fleet.start(NEXT, "127.0.0.5")
    fleet.gateways.router.apply(routing(arm(NEXT), split="s2"))
    wait_until(lambda: all(set(one.clusters()) == {NEXT} for one in fleet.gateways.all), 10)


def test_the_file_of_requests_that_envoy_answered_itself_does_not_grow_for_ever(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.say(RELEASE)
    [first, _] = fleet.gateways.all
    file = first.home.envoy / "local.jsonl"
    wait_until(lambda: first.client.post("/v2/models/fraud/infer", json={}).status_code == 503, 10)
    wait_until(lambda: file.exists() and file.stat().st_size, 10)
    monkeypatch.setattr(first.agent, "_largest_log", 10)
    first.agent.wake()
    wait_until(lambda: file.with_name("local.jsonl.1").exists(), 10)

    def written_to_the_new_one() -> bool:
        """Envoy opens it a moment after the one before was moved."""
        first.client.post("/v2/models/fraud/infer", json={})
        return file.exists() and file.stat().st_size > 0

    wait_until(written_to_the_new_one, 20)
