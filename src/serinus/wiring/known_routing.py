"""What the store knows of the routing of a cluster, where the Secret with it was deleted while no control plane ran."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from serinus.backends.envoy.xds import Routes
from serinus.core.ports import Store
from serinus.delivery import routing_of
from serinus.targets.kubernetes.gateway.publication import Wanted
from serinus.targets.kubernetes.manifests import endpoint

_KEYS = "data"
"""The plane of tokens that are API keys of callers."""
_ISSUING = timedelta(minutes=1)
"""The time within which a key that was issued is published, or is revoked."""


def known_routing(store: Store, namespace: str) -> Wanted:
    """Returns the routing by the store. `namespace`: of releases.

    Each model is routed to its champion alone: the engine divides the traffic of a rollout in flight anew once the
    candidate is ready. Where a key of callers was ever issued, callers without one are refused, although the keys
    themselves are lost.
    """
    routings, retired = {}, set()
    for state in store.models():
        if state.champion is None:
            retired |= {state.model} if state.retired is not None else set()
            continue
        routing = routing_of(state, None, {state.champion.id: endpoint(state.champion.id, namespace)})
        if routing is not None:
            routings[state.model] = routing
    asked = any(token["plane"] == _KEYS for token in store.tokens())
    return Wanted(Routes(routings, retired=frozenset(retired), keys_asked=asked))


def lost_keys(store: Store, published: Collection[str], now: datetime) -> Sequence[str]:
    """Returns a sentence where API keys that are valid open nothing. `published`: the callers that gateways let in."""
    lost = [
        str(token["name"])
        for token in store.tokens()
        if token["plane"] == _KEYS
        and token["revoked_at"] is None
        and token["name"] not in published
        and now - datetime.fromisoformat(token["issued_at"]) > _ISSUING
    ]
    if not lost:
        return ()
    return (
        f"API keys are lost, because the Secret that held them was deleted, and callers with them are refused: "
        f"{', '.join(sorted(lost))}. Revoke each (`serinus key revoke NAME`), and create it anew "
        "(`serinus key create NAME`)",
    )
