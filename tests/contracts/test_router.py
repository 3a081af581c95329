"""The routers of one machine and of gateways do what every Router must do (`router_contract`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy_harness import Proxy, release_of, routing
from gateway_harness import Gateways
from router_contract import Routed, RouterContract

from serinus.core.errors import Unavailable


def running(routed: Proxy | Gateways) -> Iterator[Routed]:
    """With three releases that have no traffic yet."""
    for release in ("a", "b", "c"):
        routed.releases.start(release)
    yield routed.start()
    routed.close()


class TestOneMachine(RouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def proxy(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
        yield from running(Proxy(tmp_path_factory.mktemp("router")))


class TestGateways(RouterContract):
    """Two of them, which are asked in turns."""

    @pytest.fixture(scope="class")
    @classmethod
    def proxy(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
        yield from running(Gateways(tmp_path_factory.mktemp("gateways")))


@pytest.mark.parametrize("kind", [Proxy, Gateways], ids=["one-machine", "gateways"])
def test_a_router_that_is_away_is_unavailable(tmp_path: Path, kind: type[Proxy] | type[Gateways]) -> None:
    away = kind(tmp_path)
    try:
        with pytest.raises(Unavailable):
            away.router.in_force("fraud")
        with pytest.raises(Unavailable):
            away.router.apply(routing(away.arm("a", 10_000)))
        with pytest.raises(Unavailable):
            away.router.remove("fraud")
        with pytest.raises(Unavailable):
            away.router.probe(release_of("a"), str(away.home.release_socket("a")), 1_000)
    finally:
        away.close()
