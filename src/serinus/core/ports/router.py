"""What sends each request to a release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from serinus.core.release import Release
from serinus.core.routing import Routing


class Router(Protocol):
    """Sends each request to a release. Implementations: backends/envoy."""

    def apply(self, routing: Routing) -> None:
        """Makes `routing` the one in force for new requests; returns once it is. Idempotent; no request in flight
        fails. Raises Unavailable: the old one stays in force."""
        ...

    def in_force(self, model: str) -> Routing | None:
        """Read back from the router, not remembered; None: the model is not routed. Raises Unavailable."""
        ...

    def all_in_force(self) -> Mapping[str, Routing]:
        """By model, of every model that is routed. One call, read back like `in_force`. Raises Unavailable."""
        ...

    def remove(self, model: str) -> None:
        """Stops routing the model: callers are told that no such model is served."""
        ...

    def retire(self, model: str) -> None:
        """Stops routing the model: callers get 410, and are told that it is retired, until the next `apply` or
        `remove`. Idempotent. Raises Unavailable: what was in force stays in force."""
        ...

    def probe(self, release: Release, endpoint: str, timeout_ms: int) -> str:
        """Makes `release` reachable, by the routes that its callers would use, at the endpoint that is returned:
        to the control plane alone, whatever is in force for callers. Nothing that is asked so is counted or
        kept. Returns once it is reachable; another release of the same model takes its place. Raises Unavailable."""
        ...

    def end_probe(self, model: str) -> None:
        """Ends what `probe` began. Nothing happens where there is none."""
        ...
