from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy_harness import routing
from gateway_harness import Gateways

CHAMPION = "fraud-1-aaaaaa"


@pytest.fixture
def gateways(tmp_path: Path) -> Iterator[Gateways]:
    """Two of them, which route nothing yet. Nobody is left out: the machine may be busy."""
    gateways = Gateways(tmp_path, patience=60.0)
    try:
        yield gateways.start()
    finally:
        gateways.close()


@pytest.fixture
def served(gateways: Gateways) -> Gateways:
    """One release has all of the traffic of the model `fraud`."""
    gateways.releases.start(CHAMPION)
    gateways.router.apply(routing(gateways.arm(CHAMPION, 10_000)))
    return gateways
