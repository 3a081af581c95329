"""Asks the releases of a cluster through their Services, and the candidates of rollouts through gateways."""

from __future__ import annotations

import http.client
from collections.abc import Callable

from serinus.core.release import Release
from serinus.targets.asking import ReleaseScorer
from serinus.targets.kubernetes.services import Services


class ClusterScorer(ReleaseScorer):
    """Implements `core.ports.Scorer`. `release_at` and `key_of` are those of `ReleaseScorer`."""

    def __init__(self, services: Services, release_at: Callable[[str], Release], key_of: Callable[[str], str]) -> None:
        self._services = services
        super().__init__(self._to, release_at, key_of)

    def _to(self, endpoint: str, timeout: float) -> http.client.HTTPConnection:
        host, port = self._services.address(endpoint)
        return http.client.HTTPConnection(host, port, timeout=timeout)
