"""How a change reaches gateways, which of them are waited for, and what survives: with real Envoys."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from envoy_harness import release_of, routing
from gateway_harness import Gateways, key_of
from waiting import wait_until

from serinus.core.errors import Unavailable
from serinus.core.keys import ROUTER_HEADER
from serinus.core.routing import Role, Routing
from serinus.targets.kubernetes.gateway.counting import Pod, Standing
from serinus.targets.kubernetes.gateway.publication import Wanted, parse, render

CHAMPION = "fraud-1-aaaaaa"
CANARY = "fraud-2-bbbbbb"


def published(gateways: Gateways) -> Wanted:
    assert gateways.board.stored is not None
    return parse(gateways.board.stored.publication.document).wanted


def splits(gateways: Gateways) -> set[str]:
    """That requests are told, by any gateway."""
    answers = [gateways.ask() for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4, [answer.text for answer in answers]
    return {answer.json()["headers"]["x-serinus-split"] for answer in answers}


def next_split(gateways: Gateways, split: str = "s2") -> Routing:
    return routing(gateways.arm(CHAMPION, 10_000), split=split)


# --- a change -----------------------------------------------------------------------------------------------


def test_every_gateway_runs_a_change_when_apply_returns(served: Gateways) -> None:
    for turn in range(20):
        served.router.apply(next_split(served, f"t{turn}"))
        assert splits(served) == {f"t{turn}"}


def test_gateways_know_the_keys_of_what_they_route_and_no_secret(served: Gateways) -> None:
    assert served.ask().json()["headers"][ROUTER_HEADER] == key_of(CHAMPION)
    assert not any(one.home.secret.exists() for one in served.all)
    files = [file for one in served.all for file in one.home.path.rglob("*") if file.is_file()]
    assert files
    assert not any(b"secret of the control plane" in file.read_bytes() for file in files)


def test_a_gateway_that_does_not_report_is_left_out_with_the_reason_until_it_does(served: Gateways) -> None:
    router = served.control_plane(patience=3.0)
    silent = served.all[1]
    silent.board.mute = True
    asked = next_split(served)
    router.apply(asked)
    assert router.in_force("fraud") == asked
    found = {one.pod: one for one in router.gateways()}
    assert found["gateway-0"].standing is Standing.COUNTED
    assert found["gateway-1"].standing is Standing.LEFT_OUT
    assert "did not report the new routing within 3 s" in found["gateway-1"].reason

    began = time.monotonic()
    router.apply(next_split(served, "s3"))
    assert time.monotonic() - began < 3, "it is not waited for again"
    silent.board.mute = False
    silent.agent.wake()
    wait_until(lambda: {one.standing for one in router.gateways()} == {Standing.COUNTED}, 20)


def test_what_is_in_force_is_what_the_slowest_gateway_runs(served: Gateways) -> None:
    before = served.router.in_force("fraud")
    router = served.control_plane(patience=3.0)
    served.all[1].board.away = True
    change = threading.Thread(target=router.apply, args=(next_split(served),))
    change.start()
    wait_until(lambda: "s2" in splits(served), 20)
    assert served.control_plane().in_force("fraud") == before
    change.join(20)
    assert router.in_force("fraud") == next_split(served)


def test_a_change_that_no_gateway_takes_is_taken_back(served: Gateways) -> None:
    before = published(served)
    for one in served.all:
        one.board.mute = True
    with pytest.raises(Unavailable, match="No gateway took the new routing within 1 s"):
        served.control_plane(patience=1.0).apply(next_split(served))
    assert published(served) == before
    for one in served.all:
        one.board.mute = False
        one.agent.wake()
    wait_until(lambda: splits(served) == {"s1"}, 20)
    wait_until(lambda: served.router.in_force("fraud") == before.routes.routings["fraud"], 20)


def test_a_change_that_envoy_refuses_is_taken_back_and_others_go_on(served: Gateways) -> None:
    before = served.router.in_force("fraud")
    with pytest.raises(Unavailable, match="Envoy refused the new routing in gateway gateway-"):
        served.router.apply(routing(served.arm(CHAMPION, 10_000), timeout_ms=10**16, split="s2"))
    assert published(served).routes.routings["fraud"] == before
    wait_until(lambda: served.router.in_force("fraud") == before, 10)
    assert splits(served) == {"s1"}
    served.router.apply(next_split(served, "s3"))
    assert splits(served) == {"s3"}


def test_a_refused_change_does_not_keep_addresses_from_changing(served: Gateways) -> None:
    assert served.board.stored is not None
    bad = published(served).with_routing(
        "other", routing(served.arm(CHAMPION, 10_000), model="other", timeout_ms=10**16)
    )
    version, document = render(bad, key_of)
    served.board.publish(
        served.board.stored.publication.superseded(version, document, ()), served.board.stored.revision
    )
    wait_until(lambda: {one.refused for one in served.router.gateways()} == {version}, 10)
    assert all(one.reason for one in served.router.gateways())
    assert served.ask().status_code == 200
    assert served.router.in_force("fraud") == routing(served.arm(CHAMPION, 10_000))


def test_without_a_ready_gateway_nothing_is_published(served: Gateways) -> None:
    before = served.board.stored
    for one in served.all:
        one.going = True
    for act in (lambda: served.router.apply(next_split(served)), lambda: served.router.in_force("fraud")):
        with pytest.raises(Unavailable, match="gateway-0: it is being deleted"):
            act()
    assert served.board.stored == before


def test_pods_that_are_no_gateways_of_ours_are_not_waited_for_and_not_believed(served: Gateways) -> None:
    stranger = Pod("stranger", "uid-of-stranger", ready=True, going=False, ours=False)
    served.board.kept_pods = lambda: [*served.pods(), stranger]
    served.router.apply(next_split(served))
    assert [one.standing for one in served.router.gateways()][-1] is Standing.NOT_BELIEVED


# --- several control planes, and their ends -----------------------------------------------------------------


def test_two_control_planes_lose_none_of_each_others_changes(served: Gateways) -> None:
    planes = [served.control_plane(), served.control_plane()]
    models = [f"other-{number}" for number in range(12)]

    def apply(number: int) -> None:
        planes[number % 2].apply(routing(served.arm(CHAMPION, 10_000), model=models[number]))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(apply, range(12)))
    assert set(served.router.all_in_force()) == {"fraud", *models}


def test_what_a_control_plane_published_before_it_died_is_read_back_by_the_next(served: Gateways) -> None:
    assert served.board.stored is not None
    version, document = render(published(served).with_routing("fraud", next_split(served)), key_of)
    served.board.publish(
        served.board.stored.publication.superseded(version, document, ()), served.board.stored.revision
    )
    wait_until(lambda: served.control_plane().in_force("fraud") == next_split(served), 10)
    served.control_plane().apply(next_split(served))


def test_a_publication_that_somebody_deletes_changes_no_routing_and_is_made_again(served: Gateways) -> None:
    before = published(served)
    served.board.stored = None
    served.board.tell()
    assert splits(served) == {"s1"}
    assert served.router.in_force("fraud") == before.routes.routings["fraud"]
    assert published(served) == before


def test_a_publication_that_cannot_be_read_is_said_and_changes_no_routing(served: Gateways) -> None:
    assert served.board.stored is not None
    odd = replace(served.board.stored.publication, version="odd", documents={"odd": b"no document"})
    served.board.publish(odd, served.board.stored.revision)
    with pytest.raises(Unavailable, match="cannot be read"):
        served.control_plane().in_force("fraud")
    wait_until(lambda: "damaged" in served.board.kept_reports["gateway-0"].trouble, 10)
    assert splits(served) == {"s1"}


# --- survival -----------------------------------------------------------------------------------------------


def test_routing_stays_without_api_server_and_after_a_restart_of_agent_and_envoy(served: Gateways) -> None:
    entities = [f"card-{number}" for number in range(40)]
    served.releases.start(CANARY)
    served.router.apply(routing(served.arm(CHAMPION, 5_000), served.arm(CANARY, 5_000, Role.CANARY), split="s2"))
    before = served.sides(entities)
    for one in served.all:
        one.stop_agent()
        one.kill()
        one.connect = served.board.unknowing
        one.start_agent()
        one.start()
        wait_until(one.ready, 20)
        assert one.agent.standing().running == served.board.stored.publication.version
    assert served.sides(entities) == before


def test_a_gateway_that_knows_nothing_yet_is_not_ready(tmp_path: Path) -> None:
    gateways = Gateways(tmp_path, number=1)
    try:
        [one] = gateways.all
        one.start()
        wait_until(lambda: listens(one.client), 20)
        assert one.agent.ready() == "nothing was published for this gateway yet"
        gateways.router.gateways()
        wait_until(one.ready, 20)
    finally:
        gateways.close()


def listens(client: httpx.Client) -> bool:
    try:
        return client.get("/v2/health/live").is_success
    except httpx.TransportError:
        return False


def test_entities_meet_the_same_release_at_every_gateway(served: Gateways) -> None:
    served.releases.start(CANARY)
    served.router.apply(routing(served.arm(CHAMPION, 7_000), served.arm(CANARY, 3_000, Role.CANARY), split="s2"))
    entities = [f"card-{number}" for number in range(100)]
    first = {entity: one_of(served, 0, entity) for entity in entities}
    assert first == {entity: one_of(served, 1, entity) for entity in entities}
    assert set(first.values()) == {CHAMPION, CANARY}


def one_of(served: Gateways, gateway: int, entity: str) -> str:
    client = served.all[gateway].client
    answer = client.post("/v2/models/fraud/infer", json={}, headers={"x-entity-id": entity})
    return str(answer.json()["release"])


# --- callers' keys and probes -------------------------------------------------------------------------------


def test_callers_keys_hold_at_every_gateway_once_admit_returns_and_none_once_dismiss_does(served: Gateways) -> None:
    served.router.admit("payments", "k1", ["fraud"])
    assert {served.ask().status_code for _ in range(4)} == {401}
    assert {served.ask(x_api_key="k1").status_code for _ in range(4)} == {200}
    served.router.dismiss("payments")
    assert {served.ask(x_api_key="k1").status_code for _ in range(4)} == {401}


def test_probes_are_answered_to_whoever_shows_the_releases_key_alone(served: Gateways) -> None:
    served.releases.start(CANARY)
    address = served.router.probe(release_of(CANARY), str(served.home.release_socket(CANARY)), 1_000)
    url = f"http://{address}/v2/models/fraud/infer"
    with served.probing(address, CANARY) as client:
        answer = client.post(url, json={})
    assert answer.json()["release"] == CANARY
    assert "x-shown-key" not in answer.json()["headers"]
    for headers in ({}, {ROUTER_HEADER: key_of(CHAMPION)}, {ROUTER_HEADER: ""}):
        assert httpx.post(url, json={}, headers=headers).status_code == 404
    served.router.end_probe("fraud")
    with served.probing(address, CANARY) as client:
        wait_until(lambda: client.post(url, json={}).status_code == 404, 10)


def test_a_probe_that_begins_where_the_same_one_has_just_ended_is_there_when_it_returns(served: Gateways) -> None:
    served.releases.start(CANARY)
    endpoint = str(served.home.release_socket(CANARY))
    for _ in range(10):
        address = served.router.probe(release_of(CANARY), endpoint, 1_000)
        with served.probing(address, CANARY) as client:
            assert client.post("/v2/models/fraud/infer", json={}).status_code == 200
        served.router.end_probe("fraud")
