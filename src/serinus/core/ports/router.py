"""The router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from serinus.core.release import Release
from serinus.core.routing import Routing


class Router(Protocol):
    """Sends each request to a release. Implementations: backends/envoy."""

    def apply(self, routing: Routing) -> None:
        """Puts `routing` in force for new requests, and returns when it is. No request in flight fails.

        Idempotent. After Unavailable, the former routing stays in force.
        """
        ...

    def in_force(self, model: str) -> Routing | None:
        """Returns the routing of the model as the router reports it. None: the model is not routed."""
        ...

    def all_in_force(self) -> Mapping[str, Routing]:
        """Returns the routing of every model, as the router reports it, in one call."""
        ...

    def remove(self, model: str) -> None:
        """Stops routing the model. Callers get the error that no such model is served."""
        ...

    def retire(self, model: str) -> None:
        """Stops routing the model. Callers get HTTP 410 until the next `apply` or `remove`.

        Idempotent. After Unavailable, the former routing stays in force.
        """
        ...

    def probe(self, release: Release, endpoint: str, timeout_ms: int) -> str:
        """Makes `release` reachable for the control plane alone, by the routes that its callers would use.

        Returns the endpoint once it is reachable. Requests to it are neither counted nor logged. A probe of another
        release of the same model replaces it.
        """
        ...

    def end_probe(self, model: str) -> None:
        """Ends the probe of the model. Does nothing where there is none."""
        ...
