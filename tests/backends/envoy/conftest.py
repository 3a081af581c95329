from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy_harness import Proxy, routing

CHAMPION = "fraud-1-aaaaaa"


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """A running Envoy that routes nothing yet."""
    proxy = Proxy(tmp_path / "home")
    yield proxy.start()
    proxy.close()


def serve(proxy: Proxy) -> Proxy:
    proxy.releases.start(CHAMPION)
    proxy.router.apply(routing(proxy.arm(CHAMPION, 10_000)))
    return proxy


@pytest.fixture
def served(proxy: Proxy) -> Proxy:
    """One release has all of the traffic of the model `fraud`."""
    return serve(proxy)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """As `served`, one for all tests of a module that only ask: they change no routing, and read no log."""
    proxy = Proxy(tmp_path_factory.mktemp("shared") / "home")
    yield serve(proxy.start())
    proxy.close()
