"""The services that routes use. They come with each request, because routes are built once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from serinus.api.ports import Callers, Desk, Disk, Report, World
from serinus.api.sessions import Sessions
from serinus.core.home import Home


@dataclass(frozen=True, slots=True)
class Services:
    """The services."""

    home: Home
    world: World
    desk: Desk
    report: Report
    sessions: Sessions
    disk: Disk
    callers: Callers | None
    """None: Envoy requires no API keys."""
    token_name: str
    """The name of the home's own token."""
    hosts: frozenset[str]
    """The names that are accepted in the Host header, in lower case and without a port."""


def services_of(request: Request) -> Services:
    """Returns the services of the application that was asked."""
    services: Services = request.state.services
    return services


Given = Annotated[Services, Depends(services_of)]
