"""API keys of callers: who may call which models.

There are two filters. The first knows the keys and writes the caller's name to a header that nobody else can set
(`cleaning`). The second checks that name against the model of the final route, however the request named the model. It
comes after all filters that change the route. Both are off until the route table enables them, so that callers without
keys cost next to nothing. Keys do not reach releases, logs or records.

Envoy compares keys as they are, so the routes file contains them. Only the home's user can read it.
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
"""The name of the policy for keys that open all models. No caller has this name."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the models that it opens."""

    key: str
    models: tuple[str, ...] | None = None
    """None: all models."""


def who_filter(*, required: bool) -> Json:
    """Returns the first filter. `required`: it is on from the start, so that nobody gets in until the route table has a
    key."""
    config = typed(_KEYS + "ApiKeyAuth", key_sources=[{"header": API_KEY_HEADER}], forwarding=_FORWARDING)
    return {"name": API_KEY_FILTER, "typed_config": config, "disabled": not required}


def models_filter() -> Json:
    """Returns the second filter, which must come after all filters that have a request routed again."""
    return {"name": MODELS_FILTER, "typed_config": typed(_RBAC + "RBAC"), "disabled": True}


def asking(keys: Mapping[str, Key]) -> Json:
    """Returns a route table's `typed_per_filter_config` that lets in only these callers (name and key)."""
    credentials = [{"key": keys[name].key, "client": name} for name in sorted(keys)]
    who = typed(_KEYS + "ApiKeyAuthPerRoute", credentials=credentials, forwarding=_FORWARDING)
    # An empty configuration enables the filter as well, for the case that nobody has a key any more.
    found: Json = {API_KEY_FILTER: typed("config.route.v3.FilterConfig", config=who)}
    if any(key.models is not None for key in keys.values()):
        found[MODELS_FILTER] = typed(_RBAC + "RBACPerRoute", rbac={"rules": _rules(keys)})
    return found


def read(per_filter: Json) -> tuple[bool, dict[str, Key]]:
    """Returns whether keys are required, and the keys that `asking` was given."""
    if API_KEY_FILTER not in per_filter:
        return False, {}
    who = per_filter[API_KEY_FILTER]
    who = who.get("config", who)
    policies = per_filter.get(MODELS_FILTER, {}).get("rbac", {}).get("rules", {}).get("policies", {})
    named = {credential["client"]: credential["key"] for credential in who.get("credentials", ())}
    return True, {name: Key(key, _models(policies.get(name))) for name, key in named.items()}


def _rules(keys: Mapping[str, Key]) -> Json:
    """Returns the rules. What they do not allow is refused. Keys of all models share a policy."""
    policies = {name: _policy([name], key.models) for name, key in sorted(keys.items()) if key.models is not None}
    unlimited = sorted(name for name, key in keys.items() if key.models is None)
    if unlimited:
        policies[_EVERYTHING] = _policy(unlimited, None)
    return {"action": "ALLOW", "policies": policies}


def _policy(callers: Sequence[str], models: Sequence[str] | None) -> Json:
    named = [{"header": {"name": CALLER_HEADER, "string_match": {"exact": name}}} for name in callers]
    permissions = [{"any": True}] if models is None else [_of_model(model) for model in models]
    # A policy without a permission is malformed. A key that opens no model gets one that never matches.
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
