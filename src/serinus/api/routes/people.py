"""Tokens, and the page's session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from serinus.api import home_token
from serinus.api.auth import Admin, HomeOwner, Unauthenticated, Viewer
from serinus.api.record import audited
from serinus.api.routes import keys
from serinus.api.services import Given
from serinus.api.sessions import LASTS
from serinus.core.people import Access

router = APIRouter(tags=["people"])


class NewToken(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=64)]
    access: Access = Access.VIEW
    owner: Annotated[str, Field(max_length=128)] = ""
    """The person or service that it is for; without one, the name itself."""
    plane: Literal["control", "data"] = "control"
    """`control`: this API. `data`: callers of models; `/v1/keys` can limit such a key to models."""


class Login(BaseModel):
    """A token, or the code of a link."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(max_length=200)] = ""
    code: Annotated[str, Field(max_length=200)] = ""


@router.get("/me")
def me(actor: Viewer) -> Mapping[str, str]:
    return {"name": actor.name, "owner": actor.owner, "access": actor.access.value}


@router.post("/session")
def login(sent: Login, request: Request, response: Response, services: Given) -> Mapping[str, bool]:
    """Exchanges a token, or a link's code, for a cookie that only the browser's requests to this server carry."""
    value = services.sessions.follow(sent.code) if sent.code else services.sessions.open(sent.token)
    if value is None:
        what = "that link has already been used, or has expired" if sent.code else "that token is unknown or revoked"
        raise Unauthenticated(what, hint="`serinus login` prints a link that signs in once.")
    response.set_cookie(
        services.sessions.cookie,
        value,
        max_age=int(LASTS.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return {"ok": True}


@router.post("/session/links", status_code=201)
def link(services: Given, actor: Viewer) -> Mapping[str, str]:
    """A code for `/login#code=...`, which signs a browser in as who asks: once, and within an hour."""
    with audited(services.world, actor, "make-login-link", actor.name, ""):
        code = services.sessions.link(actor)
        if code is None:
            raise Unauthenticated("that token was revoked", hint="Ask an admin for another token.")
    return {"code": code}


@router.post("/home/token", status_code=201)
def reset(services: Given, owner: HomeOwner) -> Mapping[str, str]:
    """Another token in the home's file, in place of the one before, which is revoked: for whoever owns the home, shown
    by the home's secret on its socket. The token is not in this answer."""
    now = services.world.clock.now()
    with audited(services.world, owner, "reset-token", home_token.NAME, ""):
        home_token.renew(services.home, services.world.store, owner, "the home's owner has reset it", now)
    return {"message": f"{services.home.token} holds a new token of the role admin; the one before is revoked"}


@router.delete("/session")
def logout(response: Response, services: Given) -> Mapping[str, bool]:
    response.delete_cookie(services.sessions.cookie, httponly=True, samesite="strict")
    return {"ok": True}


@router.get("/tokens")
def tokens(services: Given, _actor: Admin) -> Sequence[Mapping[str, Any]]:
    return services.world.store.tokens()


@router.post("/tokens", status_code=201)
def issue(sent: NewToken, services: Given, actor: Admin) -> Mapping[str, str]:
    """The token itself is in this answer and nowhere else: only its hash is kept. Its owner stays for ever."""
    store, owner = services.world.store, sent.owner.strip() or sent.name
    details = {"access": sent.access.value, "plane": sent.plane, "for": owner}
    with audited(services.world, actor, "issue-token", sent.name, "", details):
        if sent.plane == keys.PLANE:
            token = keys.admit(services, sent.name, owner, None)
        else:
            token = store.issue_token(sent.name, sent.access, services.world.clock.now(), owner=owner)
    return {"name": sent.name, "owner": owner, "access": sent.access.value, "plane": sent.plane, "token": token}


@router.delete("/tokens/{name}")
def revoke(name: str, services: Given, actor: Admin) -> Mapping[str, str]:
    """At once, sessions that were opened with it included."""
    with audited(services.world, actor, "revoke-token", name, ""):
        keys.dismiss(services, name)
        services.world.store.revoke_token(name, services.world.clock.now())
    return {"name": name, "message": f"the token {name} is revoked"}
