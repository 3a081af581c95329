"""The routes of one model: the release of each request, its timeout, and the headers that the release gets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from urllib.parse import quote

from serinus.backends.envoy.names import ENTITY_HEADER, METADATA, Json, overwrite, typed
from serinus.core.keys import ROUTER_HEADER
from serinus.core.routing import Arm, Role, Routing

KeyOf = Callable[[str], str]
"""Returns the router key of a release."""


def over_http(routing: Routing, key_of: KeyOf) -> Iterable[tuple[str, Json]]:
    """Yields the routes of the model over HTTP, each with its path prefix."""
    for prefix in _prefixes(routing.model):
        yield prefix, {"match": {"path_separated_prefix": prefix}, **_to_releases(routing, _fallbacks(routing), key_of)}


def over_grpc(routing: Routing, key_of: KeyOf) -> Json:
    """Returns a route without its `match`.

    It also holds the whole routing, to be read back. It is stored as a string, because a protobuf structure would turn
    its integers into floats.
    """
    return _to_releases(routing, {"routing": json.dumps(asdict(routing), sort_keys=True)}, key_of)


def retired_over_http(model: str) -> Iterable[tuple[str, Json]]:
    """Yields the routes of a retired model over HTTP, each with its path prefix."""
    for prefix in _prefixes(model):
        yield prefix, {"match": {"path_separated_prefix": prefix}, **retired(model)}


def retired(model: str, grpc_status: str = "") -> Json:
    """Returns a route without its `match`, which answers that the model is retired. `grpc_status` is used for gRPC."""
    headers = [overwrite("grpc-status", grpc_status)] if grpc_status else []
    return {
        "metadata": {"filter_metadata": {METADATA: {"model": model, "retired": "yes"}}},
        "direct_response": {
            "status": 410,
            "body": {"inline_string": f"the model {model} is retired and is not served"},
        },
        "response_headers_to_add": headers,
    }


def _prefixes(model: str) -> Iterable[str]:
    name = quote(model, safe="")
    return f"/v2/models/{name}", f"/models/{name}"


def of_probe(routing: Routing, key_of: KeyOf, shown: str = "") -> tuple[Iterable[tuple[str, Json]], Json]:
    """Returns both kinds of routes to a release for the control plane alone.

    They have no split, without which a worker does not log a request, no fallback and no retries. `shown` is the header
    that must hold the release's router key. Empty: none is required.
    """
    [arm] = routing.arms
    key = {"name": shown, "string_match": {"exact": key_of(arm.release)}} if shown else None
    found = {prefix: _asked(route, key) for prefix, route in over_http(replace(routing, fallback_score=None), key_of)}
    return found.items(), _asked(over_grpc(routing, key_of), key)


def _asked(route: Json, key: Json | None) -> Json:
    told = [item for item in route["request_headers_to_add"] if item["header"]["key"] in _TOLD_TO_PROBED]
    forwarded = {name: value for name, value in route["route"].items() if name != "retry_policy"}
    asked: Json = {**route, "request_headers_to_add": told, "route": forwarded}
    if key is not None:
        asked["match"] = {**route.get("match", {}), "headers": [key]}
        asked["request_headers_to_remove"] = [key["name"]]
    return asked


_TOLD_TO_PROBED = ("x-envoy-expected-rq-timeout-ms", ROUTER_HEADER)
_ELSEWHERE: Json = {
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": typed("extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
        }
    ],
    "host_selection_retry_max_attempts": 20,
}
"""Where a release has several addresses, the second try goes to another one. With one it goes there again. Addresses
are drawn at random: of two, the dead one is drawn so often in a row once in two million times, with three draws once in
16."""
_NEVER_SENT = "connect-failure,refused-stream,reset-before-request"


def only_what_was_never_sent() -> Json:
    """Returns the retry policy where releases are compared: a request is never sent twice, so that failures are
    counted."""
    return _once_more(_NEVER_SENT)


def also_what_was_cut_off() -> Json:
    """Returns the retry policy where one release has all traffic: a request is sent again where a worker crashed.

    A prediction changes nothing, so repeating it is safe. The next worker takes it from the release's socket.
    """
    return _once_more(f"{_NEVER_SENT},reset")


def _once_more(retry_on: str) -> Json:
    back_off = {"base_interval": "0.005s", "max_interval": "0.020s"}
    return {"retry_on": retry_on, "num_retries": 1, "retry_back_off": back_off, **_ELSEWHERE}


def _to_releases(routing: Routing, kept: dict[str, str], key_of: KeyOf) -> Json:
    told = {"x-serinus-split": routing.split, "x-envoy-expected-rq-timeout-ms": str(routing.timeout_ms)}
    route: Json = {"timeout": f"{routing.timeout_ms / 1000:.3f}s"}
    asked = [arm for arm in routing.arms if arm.weight]
    if len(asked) == 1:  # The usual case has nothing to hash.
        told |= _told_to(asked[0], key_of)
        route["cluster"] = asked[0].release
        route["retry_policy"] = also_what_was_cut_off()
    else:
        route["weighted_clusters"] = {"clusters": _split(asked, key_of), "use_hash_policy": True}
        route["hash_policy"] = [{"header": {"header_name": ENTITY_HEADER, "regex_rewrite": _salted(routing.salt)}}]
    return {
        "metadata": {"filter_metadata": {METADATA: {"model": routing.model, "split": routing.split, **kept}}},
        "request_headers_to_add": [overwrite(name, value) for name, value in told.items()],
        "route": route,
    }


def _split(arms: Sequence[Arm], key_of: KeyOf) -> list[Json]:
    # The champion comes first. A canary at the end of the range grows downwards and keeps its entities.
    return [
        {
            "name": arm.release,
            "weight": arm.weight,
            "request_headers_to_add": [overwrite(name, value) for name, value in _told_to(arm, key_of).items()],
        }
        for arm in sorted(arms, key=lambda arm: arm.role is not Role.CHAMPION)
    ]


def _told_to(arm: Arm, key_of: KeyOf) -> dict[str, str]:
    return {"x-serinus-role": arm.role.value, ROUTER_HEADER: key_of(arm.release)}


def _salted(salt: str) -> Json:
    # The salt is hashed, so that it cannot be read as a reference to a group. `^` puts it before the entity.
    return {"pattern": {"regex": "^"}, "substitution": hashlib.sha256(salt.encode()).hexdigest()[:16] + ":"}


def _fallbacks(routing: Routing) -> dict[str, str]:
    """Returns complete response bodies."""
    if routing.fallback_score is None:
        return {}
    score, marks = [routing.fallback_score], {"fallback": True, "fallback_reason": "no-answer"}
    output = {"name": "output-0", "shape": [1], "datatype": "FP64", "data": score}
    infer = {"model_name": routing.model, "parameters": marks, "outputs": [output]}
    invocations = {"predictions": score, **marks}
    return {"fallback_infer": json.dumps(infer), "fallback_invocations": json.dumps(invocations)}
