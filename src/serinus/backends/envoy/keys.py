"""Keys of those who call models: who is let in, to which models, and what a release is told of it.

Two filters. The first knows the keys and writes the caller's name into a header, which nobody else can set
(`cleaning`). The second goes by that name and by the model of the route that was chosen in the end, whichever path or
message named it; it stands behind all filters that choose a route anew. Both are off until the route table turns them
on, so that callers who need no key pay next to nothing. The key reaches no release, no log and no record.

Envoy compares keys as they are, so they stand in the routes file, which only the home's user can read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serinus.backends.envoy.names import (
    API_KEY_FILTER,
    API_KEY_HEADER,
    CALLER_HEADER,
    METADATA,
    MODELS_FILTER,
    Json,
    typed,
)

_KEYS = "extensions.filters.http.api_key_auth.v3."
_RBAC = "extensions.filters.http.rbac.v3."
_FORWARDING = {"header": CALLER_HEADER, "hide_credentials": True}
_EVERYTHING = "*"
"""Name of the policy of keys that open all models; no caller has it."""


@dataclass(frozen=True, slots=True)
class Key:
    key: str
    models: tuple[str, ...] | None = None
    """That it opens; None: all."""


def who_filter(*, required: bool) -> Json:
    """`required`: on from the start, and nobody gets in until the route table names a key; else off until then."""
    config = typed(_KEYS + "ApiKeyAuth", key_sources=[{"header": API_KEY_HEADER}], forwarding=_FORWARDING)
    return {"name": API_KEY_FILTER, "typed_config": config, "disabled": not required}


def models_filter() -> Json:
    """Behind all filters after which a request is routed again."""
    return {"name": MODELS_FILTER, "typed_config": typed(_RBAC + "RBAC"), "disabled": True}


def asking(keys: Mapping[str, Key]) -> Json:
    """A route table's `typed_per_filter_config` that lets in these callers (name -> key), and nobody without one."""
    credentials = [{"key": keys[name].key, "client": name} for name in sorted(keys)]
    who = typed(_KEYS + "ApiKeyAuthPerRoute", credentials=credentials, forwarding=_FORWARDING)
    # Said as a filter's configuration, which turns it on also where it is empty: nobody has a key any more.
    found: Json = {API_KEY_FILTER: typed("config.route.v3.FilterConfig", config=who)}
    if any(key.models is not None for key in keys.values()):
        found[MODELS_FILTER] = typed(_RBAC + "RBACPerRoute", rbac={"rules": _rules(keys)})
    return found


def read(per_filter: Json) -> tuple[bool, dict[str, Key]]:
    """What `asking` was given, and whether it was asked at all."""
    if API_KEY_FILTER not in per_filter:
        return False, {}
    who = per_filter[API_KEY_FILTER]
    who = who.get("config", who)
    policies = per_filter.get(MODELS_FILTER, {}).get("rbac", {}).get("rules", {}).get("policies", {})
    named = {credential["client"]: credential["key"] for credential in who.get("credentials", ())}
    return True, {name: Key(key, _models(policies.get(name))) for name, key in named.items()}


def _rules(keys: Mapping[str, Key]) -> Json:
    """What is not allowed is refused. Keys of all models share a policy."""
    policies = {name: _policy([name], key.models) for name, key in sorted(keys.items()) if key.models is not None}
    unlimited = sorted(name for name, key in keys.items() if key.models is None)
    if unlimited:
        policies[_EVERYTHING] = _policy(unlimited, None)
    return {"action": "ALLOW", "policies": policies}


def _policy(callers: Sequence[str], models: Sequence[str] | None) -> Json:
    named = [{"header": {"name": CALLER_HEADER, "string_match": {"exact": name}}} for name in callers]
    permissions = [{"any": True}] if models is None else [_of_model(model) for model in models]
    # A policy without a permission is malformed: a key that opens no model matches none.
    return {"principals": named, "permissions": permissions or [{"not_rule": {"any": True}}]}


def _of_model(model: str) -> Json:
    matcher = {"filter": METADATA, "path": [{"key": "model"}], "value": {"string_match": {"exact": model}}}
    return {"sourced_metadata": {"metadata_matcher": matcher, "metadata_source": "ROUTE"}}


def _models(policy: Json | None) -> tuple[str, ...] | None:
    if policy is None:
        return None
    matchers = [
        one["sourced_metadata"]["metadata_matcher"] for one in policy["permissions"] if "sourced_metadata" in one
    ]
    return tuple(matcher["value"]["string_match"]["exact"] for matcher in matchers)
