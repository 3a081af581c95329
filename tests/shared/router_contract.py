"""What every Router must do, see `core.ports.Router`. A test class that derives from it has the fixture `proxy`: a
router with real Envoys, and the releases `a`, `b` and `c`, of which none has traffic yet."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import pairwise
from typing import Protocol

import httpx
import pytest
from envoy_harness import Releases, release_of, routing

from serinus.core.errors import InvalidInput
from serinus.core.home import Home
from serinus.core.ports import Router
from serinus.core.routing import Arm, Role


class Routed(Protocol):
    """A router and what stands behind it."""

    @property
    def router(self) -> Router: ...
    @property
    def releases(self) -> Releases: ...
    @property
    def home(self) -> Home:
        """Of the releases."""
        ...

    def arm(self, release: str, weight: int, role: Role = Role.CHAMPION) -> Arm: ...
    def ask(self, model: str = "fraud", path: str = "infer", **headers: str) -> httpx.Response:
        """A request of a caller."""
        ...

    def sides(self, entities: Sequence[str]) -> dict[str, str]:
        """Entity -> the release that answered it."""
        ...

    def trace(self) -> object:
        """What is another one whenever something was written for an Envoy."""
        ...

    def probing(self, address: str, release: str) -> AbstractContextManager[httpx.Client]:
        """A client of what `Router.probe` has returned for `release`."""
        ...


def probed(proxy: Routed, release: str, model: str = "fraud", path: str = "") -> httpx.Response:
    """What the control plane is answered by `release`, which has no traffic."""
    address = proxy.router.probe(release_of(release, model), str(proxy.home.release_socket(release)), 5_000)
    with proxy.probing(address, release) as client:
        return client.post(path or f"/v2/models/{model}/infer", json={"inputs": []})


class RouterContract:
    @pytest.fixture(autouse=True)
    def nothing_routed(self, proxy: Routed) -> None:
        proxy.router.remove("fraud")
        proxy.router.remove("other")

    def test_a_model_that_was_never_routed_has_no_routing(self, proxy: Routed) -> None:
        assert proxy.router.in_force("fraud") is None
        assert proxy.ask().status_code == 404

    def test_what_is_in_force_is_read_back_exactly(self, proxy: Routed) -> None:
        canary = proxy.arm("b", 1_234, Role.CANARY)
        asked = routing(canary, proxy.arm("a", 8_766), salt=r"\1 odd", fallback_score=0.125, timeout_ms=321)
        proxy.router.apply(asked)
        assert proxy.router.in_force("fraud") == asked

    def test_all_that_is_in_force_is_read_back_in_one_call(self, proxy: Routed) -> None:
        fraud, other = routing(proxy.arm("a", 10_000)), routing(proxy.arm("b", 10_000), model="other")
        proxy.router.apply(fraud)
        proxy.router.apply(other)
        assert proxy.router.all_in_force() == {"fraud": fraud, "other": other}

    def test_requests_are_answered_by_the_new_release_once_apply_returns(self, proxy: Routed) -> None:
        for turn in range(20):
            release = "ab"[turn % 2]
            proxy.router.apply(routing(proxy.arm(release, 10_000), split=f"s{turn}"))
            answer = proxy.ask().json()
            assert (answer["release"], answer["headers"]["x-serinus-split"]) == (release, f"s{turn}")

    def test_applying_the_same_again_changes_nothing(self, proxy: Routed) -> None:
        asked = routing(proxy.arm("a", 10_000))
        proxy.router.apply(asked)
        before = proxy.trace()
        proxy.router.apply(asked)
        assert proxy.trace() == before

    def test_models_do_not_disturb_each_other(self, proxy: Routed) -> None:
        proxy.router.apply(routing(proxy.arm("a", 10_000)))
        proxy.router.apply(routing(proxy.arm("b", 10_000), model="other"))
        assert proxy.ask("fraud").json()["release"] == "a"
        assert proxy.ask("other").json()["release"] == "b"
        proxy.router.remove("fraud")
        assert proxy.ask("fraud").status_code == 404
        assert proxy.ask("other").json()["release"] == "b"
        assert proxy.router.in_force("fraud") is None

    def test_callers_of_a_retired_model_are_told_so_until_it_is_served_again(self, proxy: Routed) -> None:
        proxy.router.apply(routing(proxy.arm("a", 10_000)))
        for _ in range(2):
            proxy.router.retire("fraud")
            assert proxy.router.in_force("fraud") is None
            answer = proxy.ask()
            assert answer.status_code == 410
            assert answer.json() == {"error": "the model fraud is retired and is not served"}
        proxy.router.apply(routing(proxy.arm("b", 10_000), model="other"))
        assert proxy.ask().status_code == 410, "another model's change leaves it as it is"
        proxy.router.apply(routing(proxy.arm("a", 10_000)))
        assert proxy.ask().json()["release"] == "a"
        proxy.router.retire("fraud")
        proxy.router.remove("fraud")
        assert proxy.ask().status_code == 404

    def test_several_threads_lose_none_of_each_others_changes(self, proxy: Routed) -> None:
        models = [f"other-{number}" for number in range(8)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda model: proxy.router.apply(routing(proxy.arm("a", 10_000), model=model)), models))
            assert [proxy.ask(model).status_code for model in models] == [200] * 8
            list(threads.map(proxy.router.remove, models))
        assert [proxy.router.in_force(model) for model in models] == [None] * 8

    def test_removing_what_is_not_routed_does_nothing(self, proxy: Routed) -> None:
        proxy.router.remove("fraud")
        proxy.router.remove("fraud")
        assert proxy.router.in_force("fraud") is None
        assert proxy.ask("fraud").status_code == 404

    def test_an_entity_stays_with_one_release(self, proxy: Routed) -> None:
        proxy.router.apply(routing(proxy.arm("a", 9_000), proxy.arm("b", 1_000, Role.CANARY)))
        entities = [f"card-{number}" for number in range(1_000)]
        first, second, third = (proxy.sides(entities) for _ in range(3))
        assert first == second == third
        assert 60 <= list(first.values()).count("b") <= 140

    def test_a_growing_canary_keeps_those_that_were_in_it(self, proxy: Routed) -> None:
        entities = [f"card-{number}" for number in range(400)]
        met: list[set[str]] = []
        for weight in (0, 500, 2_500, 5_000, 10_000):
            arms = [proxy.arm("b", weight, Role.CANARY), proxy.arm("a", 10_000 - weight)]
            # The order in which the arms are named does not matter.
            proxy.router.apply(routing(*(arms if weight == 2_500 else arms[::-1]), split=f"s{weight}"))
            met.append({entity for entity, release in proxy.sides(entities).items() if release == "b"})
        assert all(smaller < larger for smaller, larger in pairwise(met))
        assert met[0] == set()
        assert met[-1] == set(entities)

    def test_another_salt_sends_other_entities_to_the_canary(self, proxy: Routed) -> None:
        entities = [f"card-{number}" for number in range(400)]
        met = []
        for salt in ("rollout-1", "rollout-2"):
            arms = (proxy.arm("a", 7_500), proxy.arm("b", 2_500, Role.CANARY))
            proxy.router.apply(routing(*arms, salt=salt, split=salt))
            met.append({entity for entity, release in proxy.sides(entities).items() if release == "b"})
        both = len(met[0] & met[1])
        assert both / len(met[0]) < 0.4  # 0.25 if independent

    def test_requests_without_an_entity_are_split_at_random(self, proxy: Routed) -> None:
        proxy.router.apply(routing(proxy.arm("a", 5_000), proxy.arm("b", 5_000, Role.CANARY)))
        without = [proxy.ask().json()["release"] for _ in range(200)]
        empty = [proxy.ask(x_entity_id="").json()["release"] for _ in range(200)]
        assert 60 <= without.count("a") <= 140
        assert 60 <= empty.count("a") <= 140

    def test_more_than_two_arms_work(self, proxy: Routed) -> None:
        arms = (proxy.arm("a", 5_000), proxy.arm("b", 3_000, Role.CANARY), proxy.arm("c", 2_000, Role.CANARY))
        proxy.router.apply(routing(*arms))
        sides = list(proxy.sides([f"card-{number}" for number in range(600)]).values())
        assert 240 <= sides.count("a") <= 360
        assert 130 <= sides.count("b") <= 230
        assert 75 <= sides.count("c") <= 165

    def test_a_probe_reaches_a_release_without_traffic_and_its_callers_the_one_in_force(self, proxy: Routed) -> None:
        proxy.router.apply(routing(proxy.arm("a", 10_000)))
        for path in ("/v2/models/fraud/infer", "/models/fraud/invocations"):
            assert probed(proxy, "b", path=path).json()["release"] == "b"
        assert proxy.ask().json()["release"] == "a"
        assert proxy.router.in_force("fraud") == routing(proxy.arm("a", 10_000))
        proxy.router.end_probe("fraud")
        assert proxy.ask().json()["release"] == "a"

    def test_a_model_that_only_a_probe_reaches_is_not_there_for_callers(self, proxy: Routed) -> None:
        assert probed(proxy, "b").status_code == 200
        assert proxy.router.in_force("fraud") is None
        assert proxy.ask().status_code == 404

    def test_a_probe_that_has_ended_leads_nowhere(self, proxy: Routed) -> None:
        assert probed(proxy, "b", "other").status_code == 200
        address = proxy.router.probe(release_of("c"), str(proxy.home.release_socket("c")), 5_000)
        proxy.router.end_probe("other")
        proxy.router.end_probe("other")
        with proxy.probing(address, "c") as client:
            assert client.post("/v2/models/other/infer", json={}).status_code == 404
            assert client.post("/v2/models/fraud/infer", json={}).json()["release"] == "c"
        proxy.router.end_probe("fraud")

    def test_another_release_of_the_model_takes_the_place_of_the_one_that_was_probed(self, proxy: Routed) -> None:
        assert [probed(proxy, release).json()["release"] for release in ("b", "c", "b")] == ["b", "c", "b"]
        proxy.router.end_probe("fraud")

    def test_what_is_probed_is_told_its_time_but_no_split_by_which_it_would_be_recorded(self, proxy: Routed) -> None:
        headers = probed(proxy, "b").json()["headers"]
        assert headers["x-envoy-expected-rq-timeout-ms"] == "5000"
        assert "x-serinus-start" in headers
        assert not {"x-serinus-split", "x-serinus-role"} & headers.keys()
        proxy.router.end_probe("fraud")

    @pytest.mark.parametrize(
        "change",
        [
            {"split": "with space"},
            {"arms": ()},
            {"timeout_ms": 0},
        ],
    )
    def test_a_routing_that_contradicts_itself_is_invalid(self, proxy: Routed, change: dict[str, object]) -> None:
        valid = routing(proxy.arm("a", 10_000))
        proxy.router.apply(valid)
        with pytest.raises(InvalidInput):
            proxy.router.apply(replace(valid, **change))
        assert proxy.router.in_force("fraud") == valid

    def test_weights_that_are_not_the_whole_are_invalid(self, proxy: Routed) -> None:
        with pytest.raises(InvalidInput, match="10000"):
            proxy.router.apply(routing(proxy.arm("a", 9_999)))
