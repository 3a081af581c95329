"""What is known of the routing of a cluster where there is no Secret with it: it is the first time that the home is
started on this cluster, or the Secret was deleted while no control plane ran."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from serinus.backends.envoy.keys import Key
from serinus.backends.envoy.names import routes_file
from serinus.backends.envoy.xds import Routes, read_routes
from serinus.core.home import Home
from serinus.core.ports import Store
from serinus.delivery import routing_of
from serinus.engine import is_taken_over
from serinus.targets.kubernetes.gateway.names import SECRET_NAME
from serinus.targets.kubernetes.gateway.publication import Wanted
from serinus.targets.kubernetes.manifests import endpoint

_KEYS = "data"
"""The plane of tokens that are API keys of callers."""
_ISSUING = timedelta(minutes=1)
"""The time within which a key that was issued is published, or is revoked."""


def known_routing(store: Store, home: Home, namespace: str) -> Wanted | None:
    """Returns the routing by the store, with the keys of callers by `home`. `namespace`: of releases. None: the store
    may be one that was lost, and its champions are not taken over yet.

    Each model is routed to its champion alone: the engine divides the traffic of a rollout in flight anew once the
    candidate is ready. Where a key of callers was ever issued, callers without one are refused, also where the keys
    themselves are lost.
    """
    if not is_taken_over(store):
        return None
    routings, retired = {}, set()
    for state in store.models():
        if state.champion is None:
            retired |= {state.model} if state.retired is not None else set()
            continue
        routing = routing_of(state, None, {state.champion.id: endpoint(state.champion.id, namespace)})
        if routing is not None:
            routings[state.model] = routing
    asked = any(token["plane"] == _KEYS for token in store.tokens())
    return Wanted(Routes(routings, _keys_of(home, store), frozenset(retired), asked))


def _keys_of(home: Home, store: Store) -> Mapping[str, Key]:
    """Returns the keys of callers that the home's own Envoy has let in, as far as the store says that they are valid.
    Those that were issued on a cluster are not among them."""
    kept = {}
    for name, key in read_routes(routes_file(home)).callers.items():
        caller = store.whose_token(key.key, plane=_KEYS)
        if caller is not None and caller.name == name:
            kept[name] = key
    return kept


def lost_keys(store: Store, published: Collection[str], now: datetime) -> Sequence[str]:
    """Returns a sentence where API keys that are valid open nothing, and one where keys open models and the store does
    not know them. `published`: the callers that gateways let in."""
    valid = {
        str(token["name"]): datetime.fromisoformat(token["issued_at"])
        for token in store.tokens()
        if token["plane"] == _KEYS and token["revoked_at"] is None
    }
    said = []
    lost = sorted(name for name in valid.keys() - set(published) if now - valid[name] > _ISSUING)
    if lost:
        said.append(
            f"gateways do not have these API keys, and refuse callers with them: {', '.join(lost)}. Either the Secret "
            f"{SECRET_NAME} was deleted, or it never had them. Revoke each (`serinus key revoke NAME`), and create it "
            "anew (`serinus key create NAME`)"
        )
    if unknown := sorted(set(published) - valid.keys()):
        said.append(
            "gateways let in callers with keys that are not in the store, which was lost: "
            f"{', '.join(unknown)}. `serinus key create NAME` replaces such a key"
        )
    return said
