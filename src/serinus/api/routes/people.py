"""Routes for tokens, and for the session of the status page."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from serinus.api import home_token
from serinus.api.auth import Admin, HomeOwner, Unauthenticated, Viewer
from serinus.api.failures import NOT_FOUND, REFUSED, UNAVAILABLE
from serinus.api.record import audited
from serinus.api.routes import keys
from serinus.api.services import Given
from serinus.api.sessions import LASTS
from serinus.resources import (
    Done,
    IssuedToken,
    LoginCode,
    LoginRequest,
    Me,
    Message,
    NewToken,
    Revoked,
    Token,
)

router = APIRouter(tags=["people"])


@router.get("/me")
def me(actor: Viewer) -> Me:
    """Returns the owner of the token."""
    return Me(name=actor.name, owner=actor.owner, access=actor.access)


@router.post("/session")
def sign_in(sent: LoginRequest, request: Request, response: Response, services: Given) -> Done:
    """Exchanges a token, or the code of a link, for a cookie that browsers send to this server only."""
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
    return Done(ok=True)


@router.post("/session/links", status_code=201)
def make_link(services: Given, actor: Viewer) -> LoginCode:
    """Returns a code for `/login#code=...`, which signs a browser in as the requester, once and within an hour."""
    with audited(services.world, actor, "make-login-link", actor.name, ""):
        code = services.sessions.link(actor)
        if code is None:
            raise Unauthenticated("that token was revoked", hint="Ask an admin for another token.")
    return LoginCode(code=code)


@router.post("/home/token", status_code=201)
def reset_home_token(services: Given, owner: HomeOwner) -> Message:
    """Replaces the token in the home's file and revokes the old one. The owner of the home proves their identity by the
    home's secret on its socket. The token is not in this answer."""
    now = services.world.clock.now()
    with audited(services.world, owner, "reset-token", services.token_name, ""):
        why = "the home's owner has reset it"
        home_token.renew(services.home, services.world.store, owner, why, now, services.token_name)
    return Message(message=f"{services.home.token} holds a new token of the role admin; the one before is revoked")


@router.delete("/session")
def sign_out(response: Response, services: Given) -> Done:
    """Deletes the cookie of the client."""
    response.delete_cookie(services.sessions.cookie, httponly=True, samesite="strict")
    return Done(ok=True)


@router.get("/tokens")
def tokens(services: Given, _actor: Admin) -> Sequence[Token]:
    """Returns all tokens and keys, including revoked ones."""
    return [Token.model_validate(row) for row in services.world.store.tokens()]


@router.post("/tokens", status_code=201, responses={**REFUSED, **UNAVAILABLE})
def issue_token(sent: NewToken, services: Given, actor: Admin) -> IssuedToken:
    """Issues a token. The token is in this answer only, and its hash is stored. Its owner cannot be changed."""
    store, owner = services.world.store, sent.owner.strip() or sent.name
    details = {"access": sent.access.value, "plane": sent.plane, "for": owner}
    with audited(services.world, actor, "issue-token", sent.name, "", details):
        if sent.plane == keys.PLANE:
            token = keys.admit(services, sent.name, owner, None)
        else:
            token = store.issue_token(sent.name, sent.access, services.world.clock.now(), owner=owner)
    return IssuedToken(name=sent.name, owner=owner, access=sent.access, plane=sent.plane, token=token)


@router.delete("/tokens/{name}", responses={**NOT_FOUND, **UNAVAILABLE})
def revoke_token(name: str, services: Given, actor: Admin) -> Revoked:
    """Revokes the token at once, with the sessions that were opened with it."""
    with audited(services.world, actor, "revoke-token", name, ""):
        keys.dismiss(services, name)
        services.world.store.revoke_token(name, services.world.clock.now())
    return Revoked(name=name, message=f"the token {name} is revoked")
