"""Routes for the API keys of callers, and the models that these open. Envoy checks the keys."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from serinus.api.auth import Admin
from serinus.api.failures import NOT_FOUND, REFUSED, UNAVAILABLE
from serinus.api.record import audited
from serinus.api.services import Given, Services
from serinus.core.errors import NotFound, Refused, SerinusError
from serinus.core.names import checked
from serinus.core.people import Access
from serinus.resources import IssuedKey, Key, NewKey, Revoked

router = APIRouter(tags=["keys"])

PLANE = "data"


@router.get("/keys")
def keys(services: Given, _actor: Admin) -> Sequence[Key]:
    """Returns all keys, including revoked ones."""
    return [Key.model_validate(row) for row in services.world.store.tokens() if row["plane"] == PLANE]


@router.post("/keys", status_code=201, responses={**REFUSED, **UNAVAILABLE})
def create_key(sent: NewKey, services: Given, actor: Admin) -> IssuedKey:
    """Issues a key. The key is in this answer only. From the first key on, callers without one are refused."""
    with audited(services.world, actor, "issue-key", sent.name, "", {"models": sent.models}):
        models = None if sent.models is None else sorted({checked(model) for model in sent.models})
        key = admit(services, sent.name, sent.owner, models)
    served = {state.model for state in services.world.store.models() if state.champion is not None}
    unknown = [model for model in models or () if model not in served]
    said = "from now on, callers of models need a key"
    said += f"; these models are not served yet: {', '.join(unknown)}" if unknown else ""
    return IssuedKey(name=sent.name, models=models, key=key, message=said)


@router.delete("/keys/{name}", responses={**NOT_FOUND, **UNAVAILABLE})
def revoke_key(name: str, services: Given, actor: Admin) -> Revoked:
    """Revokes the key from the next request on, also for open connections."""
    with audited(services.world, actor, "revoke-key", name, ""):
        if not any(row["name"] == name and row["plane"] == PLANE for row in services.world.store.tokens()):
            raise NotFound(f"there is no key named {name}", hint="`serinus key list` lists them.")
        dismiss(services, name)
        services.world.store.revoke_token(name, services.world.clock.now())
    return Revoked(name=name, message=f"the key {name} is revoked")


def admit(services: Services, name: str, owner: str, models: Sequence[str] | None) -> str:
    """Issues a key. Raises Refused where keys are not required, and Unavailable where Envoy does not accept it. It is
    then revoked."""
    if services.callers is None:
        raise Refused(
            "callers of models do not need a key, because `serinus up` was started with `--keys none`",
            hint="`serinus down`, then `serinus up --keys required`.",
        )
    store, now = services.world.store, services.world.clock.now()
    key = store.issue_token(name, Access.VIEW, now, plane=PLANE, owner=owner, models=models)
    try:
        services.callers.admit(name, key, models)
    except SerinusError:
        store.revoke_token(name, now)
        raise
    return key


def dismiss(services: Services, name: str) -> None:
    """Removes the key from the proxy first. Where that fails, the key still counts as valid and can be revoked
    again."""
    if services.callers is not None:
        services.callers.dismiss(name)
