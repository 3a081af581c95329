"""Authentication and authorization."""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer
from fastapi.security.http import HTTPBase

from serinus.api import home_token
from serinus.api.services import Services, services_of
from serinus.core.errors import Forbidden
from serinus.core.people import Access, Actor

LADDER = tuple(Access)
"""The roles. Each includes the ones before it."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

OPEN_TO_ALL = frozenset({"/v1/session", "/v1/home/token"})
"""Paths that need no token."""


_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="A token that `serinus token create` prints.")
_COOKIE = APIKeyCookie(
    name="serinus-<home>",
    auto_error=False,
    scheme_name="session",
    description="The status page's cookie, which `POST /v1/session` sets. Its name is of one home. A request that "
    "changes something must name its `Origin`.",
)
_HOME = HTTPBase(
    scheme="home",
    auto_error=False,
    scheme_name="home",
    description="The home's secret, by its owner and over its socket alone.",
)
"""These describe what `whoever` and `home_owner` read, for the OpenAPI document. They decide nothing."""


class Unauthenticated(Forbidden):
    """The client is unknown (401)."""


def allows(actor: Actor, access: Access) -> bool:
    """Whether the actor's role includes `access`."""
    return LADDER.index(actor.access) >= LADDER.index(access)


def origin_of(request: Request) -> str:
    """Returns the address of the client, or `local socket`."""
    return request.client.host if request.client else "local socket"


def whoever(request: Request) -> Actor:
    """Returns the actor of a bearer token or of the status page's cookie. Its origin is the address of the client."""
    services = services_of(request)
    actor = _by_token(services, request) or _by_cookie(services, request)
    if actor is None:
        raise Unauthenticated(
            "this request needs a valid token",
            hint="Send `Authorization: Bearer TOKEN`, or open the link that `serinus login` prints.",
        )
    return replace(actor, origin=origin_of(request))


def _by_token(services: Services, request: Request) -> Actor | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return services.world.store.whose_token(token.strip()) if scheme.lower() == "bearer" else None


def _by_cookie(services: Services, request: Request) -> Actor | None:
    value = request.cookies.get(services.sessions.cookie)
    if value is None or "authorization" in request.headers:
        return None
    # The guard refuses a wrong Origin. A browser that sends a cookie with a change also sends its Origin.
    if request.method not in SAFE_METHODS and "origin" not in request.headers:
        raise Forbidden(
            "a request that is signed in by a cookie must send the Origin header",
            hint="Use the status page, or a bearer token.",
        )
    return services.sessions.whose(value)


def home_owner(request: Request, _by_secret: Annotated[object, Security(_HOME)]) -> Actor:
    """Returns the owner of the home, who can read its secret and connects to its socket."""
    services = services_of(request)
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    kept = services.home.secret.read_bytes().strip()
    shown = scheme.lower() == "home" and hmac.compare_digest(secret.strip().encode(), kept)
    if request.client is not None or not shown:  # The client of a Unix socket has no address.
        raise Unauthenticated(
            "only the owner of the home may do this", hint="Run `serinus token reset` as the user that owns the home."
        )
    name = home_token.login()
    return Actor(name, Access.ADMIN, origin_of(request), owner=name)


def check(request: Request, actor: Actor, access: Access) -> None:
    """Raises Forbidden, and records a refused change in the audit record."""
    if allows(actor, access):
        return
    reason = f"the token {actor.name} has the role {actor.access.value}; this needs {access.value}"
    note_refused(request, reason, actor)
    raise Forbidden(reason, hint="Ask a person with that role, or ask an admin for another token.")


def note_refused(request: Request, reason: str, actor: Actor | None = None) -> None:
    """Records a change that was refused before its route was reached.

    Only known clients are recorded, because others could fill the record. Raises Unauthenticated where an unknown
    client requests something that needs authentication.
    """
    if request.method in SAFE_METHODS or request.url.path in OPEN_TO_ALL:
        return
    world = services_of(request).world
    details = {"method": request.method, "reason": reason}
    world.store.audit(actor or whoever(request), "refused", request.url.path, "", details, world.clock.now())


def known(
    request: Request,
    _by_token: Annotated[object, Security(_BEARER)],
    _by_cookie: Annotated[object, Security(_COOKIE)],
) -> Actor:
    """A dependency: the actor, by one of the methods that the OpenAPI document names."""
    return whoever(request)


class Needs:
    """A dependency: the actor, whose role must include `access`."""

    def __init__(self, access: Access) -> None:
        self.access = access

    def __call__(self, request: Request, actor: Annotated[Actor, Depends(known)]) -> Actor:
        check(request, actor, self.access)
        return actor


HomeOwner = Annotated[Actor, Depends(home_owner)]
Viewer = Annotated[Actor, Depends(Needs(Access.VIEW))]
Deployer = Annotated[Actor, Depends(Needs(Access.DEPLOY))]
Admin = Annotated[Actor, Depends(Needs(Access.ADMIN))]
