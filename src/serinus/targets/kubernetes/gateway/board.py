"""Where the control plane and the gateways meet: what is published for them, and what they report.

`cluster_board` keeps it in the API server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from serinus.targets.kubernetes.gateway.counting import Pod, Report
from serinus.targets.kubernetes.gateway.publication import Publication


class Stale(Exception):
    """Somebody else has published since it was read."""


@dataclass(frozen=True, slots=True)
class Stored:
    """`revision`: of the object in which it is kept, opaque."""

    publication: Publication
    revision: str


class Board(Protocol):
    """The control plane's side. Every method raises Unavailable: the API server does not answer, or refuses."""

    def read(self) -> Stored | None:
        """None: nothing was ever published."""
        ...

    def publish(self, publication: Publication, revision: str | None) -> Stored:
        """In the place of what was read with `revision`; None: for the first time. Raises Stale."""
        ...

    def pods(self) -> Sequence[Pod]:
        """Of gateways."""
        ...

    def reports(self) -> Sequence[Report]: ...

    def members(self, endpoints: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Endpoint -> the addresses that answer there, for each that is of a Service."""
        ...


class GatewayBoard(Protocol):
    """A gateway's side: what was seen last is kept while the API server does not answer."""

    def start(self, changed: Callable[[], None]) -> None:
        """Begins to follow. `changed` is called whenever one of the next two may have changed, from another thread."""
        ...

    def publication(self) -> Publication | None:
        """None: it has not been read yet, or nothing is published. Raises Unreadable."""
        ...

    def slices(self) -> Sequence[Mapping[str, Any]] | None:
        """All EndpointSlices of releases. None: they have not been read yet."""
        ...

    def report(self, report: Report) -> None:
        """Raises SerinusError: it could not be written."""
        ...

    def close(self) -> None: ...
